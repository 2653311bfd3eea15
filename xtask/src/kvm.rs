//! Whether KVM works here. That /dev/kvm opens proves nothing: in a nested machine a guest can
//! hang for ever, so one boot with a deadline decides, and the cache remembers the answer.

use std::ffi::OsStr;
use std::fs;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::cache::{self, Lock, RunDir};
use crate::guest::Guest;
use crate::payload::Payload;
use crate::qemu::{self, Accelerator, Machine, Outcome};

/// A working KVM needs about a second for this boot.
const DEADLINE: Duration = Duration::from_secs(15);

/// The accelerator to use on this host.
pub(crate) fn accelerator(guest: &Guest) -> Result<Accelerator> {
    match std::env::var("HELIX_ZFS_ACCEL").as_deref() {
        Ok("kvm") => return Ok(Accelerator::Kvm),
        Ok("tcg") => return Ok(Accelerator::Emulation),
        Ok(other) => bail!("HELIX_ZFS_ACCEL is kvm or tcg, and not {other:?}"),
        Err(_) => {}
    }
    let usable = fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/kvm")
        .is_ok();
    if !usable {
        return Ok(Accelerator::Emulation);
    }
    let root = cache::root()?;
    let _lock = Lock::exclusive(&root.join("kvm.lock"), "KVM probe")?;
    let path = root.join("kvm");
    let host = host_identity();
    let known = fs::read_to_string(&path).unwrap_or_default();
    let works = match known.strip_prefix(&host).map(str::trim) {
        Some("works") => true,
        Some("fails") => false,
        _ => {
            eprintln!(
                "probing KVM with a boot of at most {} s ...",
                DEADLINE.as_secs()
            );
            let works = boots(guest)?;
            let answer = if works { "works" } else { "fails" };
            eprintln!(
                "KVM {answer} here: this is remembered in {}",
                path.display()
            );
            fs::write(&path, format!("{host}{answer}\n"))?;
            works
        }
    };
    Ok(if works {
        Accelerator::Kvm
    } else {
        Accelerator::Emulation
    })
}

fn boots(guest: &Guest) -> Result<bool> {
    let run = RunDir::new()?;
    let payload = Payload::new(guest, &run.path().join("payload.tar"))?;
    payload.command(OsStr::new("true"), &[""; 0])?;
    let machine = Machine {
        guest,
        accelerator: Accelerator::Kvm,
        cpus: 1,
        memory_mib: 1024,
        disks: 0,
        links: &[],
        out: false,
        boot_timeout: DEADLINE,
        timeout: DEADLINE,
        off: &|| false,
    };
    let outcome = qemu::run(run.path(), &machine, &mut |_| {}, &mut |_| {})?;
    Ok(matches!(outcome, Outcome::Exited(0)))
}

/// The answer holds for this kernel on this processor only.
fn host_identity() -> String {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus
        .lines()
        .find(|line| line.starts_with("model name"))
        .unwrap_or_default();
    format!("{} {model}\n", kernel.trim())
}
