//! Networks of guests. They reach what they are given and nothing else: one server of the host, or
//! one other guest.

use std::ffi::OsString;
use std::io;
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

/// The variable with the addresses of the network cards, which the guest's first process reads.
pub(crate) const ADDRESSES: &str = "HELIX_GUEST_ADDRESSES";

/// The command that QEMU runs for each connection of a guest to a server.
pub(crate) const RELAY: &str = "relay";

/// The address that a guest finds its server at, and the port.
pub(crate) const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 100);
pub(crate) const SERVER_PORT: u16 = 8200;

/// The addresses of two guests that are joined.
pub(crate) const PAIR: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 77, 0, 1), Ipv4Addr::new(10, 77, 0, 2)];

/// A network card and what is at the other end.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    /// What QEMU is told, without the id.
    netdev: String,
    /// The guest's own address with the length of its net.
    address: String,
    /// The last byte of its hardware address.
    card: u8,
}

impl Link {
    /// A net of the guest alone, in which [`SERVER`] leads to a port of the host's loopback.
    pub(crate) fn to_server(port: u16) -> Self {
        // QEMU would carry one connection at a time by itself. This program may be built anew
        // while the guest runs, so its name does not do.
        let relay = format!("/proc/{}/exe {RELAY} {port}", std::process::id());
        Self {
            netdev: format!("user,restrict=on,guestfwd=tcp:{SERVER}:{SERVER_PORT}-cmd:{relay}"),
            address: "10.0.2.15/24".to_owned(),
            card: 1,
        }
    }

    /// A wire to another guest. Each end sends to the other's port of the host's loopback, as
    /// datagrams, so that one can be cut off and come back.
    pub(crate) fn to_guest(own: usize, ports: [u16; 2]) -> Option<Self> {
        let other = 1_usize.checked_sub(own)?;
        let (own_port, other_port) = (ports.get(own)?, ports.get(other)?);
        Some(Self {
            netdev: format!("socket,udp=127.0.0.1:{other_port},localaddr=127.0.0.1:{own_port}"),
            address: format!("{}/24", PAIR.get(own)?),
            card: if own == 0 { 2 } else { 3 },
        })
    }

    pub(crate) fn add_to(&self, command: &mut Command, index: usize) {
        let Self { netdev, card, .. } = self;
        command
            .arg("-netdev")
            .arg(format!("{netdev},id=net{index}"))
            .arg("-device")
            .arg(format!(
                "virtio-net-pci,netdev=net{index},mac=52:54:00:00:00:{card:02x},romfile="
            ));
    }
}

/// What [`ADDRESSES`] is for these cards.
pub(crate) fn addresses(links: &[Link]) -> OsString {
    let addresses: Vec<&str> = links.iter().map(|link| link.address.as_str()).collect();
    addresses.join(" ").into()
}

/// `relay PORT`: this process's input and output are a connection of the guest, which goes on to
/// the port of the host's loopback. Its errors go to the guest as well, so it tells none.
pub(crate) fn relay(mut arguments: lexopt::Parser) -> Result<ExitCode> {
    let port = arguments.value().context("relay takes a port")?;
    let port: u16 = port.to_string_lossy().parse()?;
    let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else {
        return Ok(ExitCode::FAILURE);
    };
    // Either side's end ends the process, and with it the connection.
    let mut to_server = server.try_clone()?;
    std::thread::spawn(move || {
        let _ = io::copy(&mut io::stdin().lock(), &mut to_server);
        let _ = to_server.shutdown(Shutdown::Write);
    });
    let _ = copy_at_once(server);
    Ok(ExitCode::SUCCESS)
}

/// Copies to standard output without waiting for the end of a line.
fn copy_at_once(mut from: impl io::Read) -> io::Result<()> {
    use std::os::fd::AsFd;
    let output = io::stdout().as_fd().try_clone_to_owned()?;
    io::copy(&mut from, &mut std::fs::File::from(output)).map(drop)
}

#[cfg(test)]
mod tests {
    use super::{Link, addresses};

    #[test]
    fn the_ends_of_a_wire_fit() {
        let [first, second] = [0, 1].map(|end| Link::to_guest(end, [7001, 7002]).unwrap());
        assert!(
            first
                .netdev
                .contains("udp=127.0.0.1:7002,localaddr=127.0.0.1:7001")
        );
        assert!(
            second
                .netdev
                .contains("udp=127.0.0.1:7001,localaddr=127.0.0.1:7002")
        );
        assert_ne!(first.card, second.card);
        assert!(Link::to_guest(2, [1, 2]).is_none());
        assert_eq!(
            addresses(&[Link::to_server(1), second]),
            "10.0.2.15/24 10.77.0.2/24"
        );
    }
}
