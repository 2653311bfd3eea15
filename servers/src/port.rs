//! Free ports.

use std::io;
use std::net::{IpAddr, Ipv4Addr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::{Context, Result};

/// Below the ports that the kernel gives to connections, so that a server that is started again
/// finds its port free.
const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

/// A port of this address that nobody listens on.
pub(crate) fn free(address: IpAddr) -> Result<u16> {
    find(|port| TcpListener::bind((address, port)).map(drop))
        .with_context(|| format!("no port of {address} is free"))
}

/// A port of loopback that nobody receives datagrams at.
///
/// # Errors
///
/// When none is free.
pub fn free_datagram() -> Result<u16> {
    find(|port| UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).map(drop))
        .context("no port for datagrams is free")
}

fn find(bind: impl Fn(u16) -> io::Result<()>) -> Option<u16> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Processes beside each other begin at different places.
    let start = std::process::id().wrapping_mul(97) % u32::from(COUNT);
    (0..COUNT).find_map(|_| {
        let next = u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = FIRST + u16::try_from((start + next) % u32::from(COUNT)).ok()?;
        bind(port).ok().map(|()| port)
    })
}
