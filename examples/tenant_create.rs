//! Creates a tenant: a filesystem with a key and a quota of its own.
//!
//! ```text
//! head -c 32 /dev/urandom > acme.key
//! cargo run --example tenant_create -- tank/tenants acme 10240 acme.key
//! mount -t zfs tank/tenants/acme /srv/acme
//! ```
//!
//! The quota is in MiB. The key file holds 32 bytes, as `zfs` takes them with `keyformat=raw`. The
//! parent has to be mounted by hand (`mountpoint=legacy`) for the last line. It needs root, or the
//! delegated permissions `create`, `mount`, `userprop`, `encryption`, `keyformat`, `keylocation`,
//! `quota`, `snapshot_limit` and `sync`.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for people"
)]

#[path = "gate/mod.rs"]
mod gate;

use std::error::Error;
use std::process::ExitCode;

use helix_zfs::TenantSpec;
use helix_zfs::gate::Operation;
use helix_zfs::zfs_core::Zfs;
use helix_zfs::zfs_core::key::{Encryption, WrappingKey};
use helix_zfs::zfs_core::props::Sync;

/// The most snapshots that a tenant has: what is not removed in time is noticed.
const SNAPSHOTS: u64 = 10_000;

const USAGE: &str = "usage: tenant_create PARENT NAME QUOTA_MIB KEY_FILE";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tenant_create: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [parent, name, quota, key_file] = arguments.as_slice() else {
        return Err(USAGE.into());
    };
    let quota = quota
        .parse::<u64>()?
        .checked_mul(1 << 20)
        .ok_or("a quota of that size does not exist")?;
    let key = std::fs::read(key_file).map_err(|error| format!("{key_file}: {error}"))?;
    let key = key
        .try_into()
        .map_err(|_| format!("{key_file}: a key has 32 bytes"))?;
    let key = WrappingKey::raw(&key);

    let zfs = Zfs::open()?;
    let parent = zfs.dataset(parent)?;
    let gate = gate::OwnGate::open(&zfs)?;
    let create = gate.capability(Operation::CreateTenant, parent.name())?;
    let tenant = TenantSpec::new(name, Encryption::aes_256_gcm(&key)?)
        .quota(quota)
        .snapshot_limit(SNAPSHOTS)
        .sync(Sync::Always)
        .create(&create, &parent)?;

    let props = tenant.dataset().properties()?;
    println!("{}", tenant.dataset().name());
    println!(
        "  quota       {} MiB",
        props.quota().unwrap_or_default() >> 20
    );
    if let (Some(encryption), Some(format)) = (props.encryption(), props.key_format()) {
        println!("  encryption  {encryption}, {format} key");
    }
    println!("  available   {} MiB", tenant.headroom()?.available() >> 20);
    Ok(())
}
