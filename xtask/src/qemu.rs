//! One run of a guest in QEMU.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::guest::Guest;
use crate::link::Link;
use crate::progress;

/// Quiet, quick, and a machine that ends at once when its kernel fails. Without random addresses
/// (`norandmaps`), emulated code need not be translated anew for each process: a loop of `zfs list`
/// and `zfs get` takes half of the time.
const KERNEL: &str = "console=ttyS0 quiet loglevel=4 panic=-1 oops=panic reboot=t \
                      random.trust_cpu=on tsc=reliable mitigations=off nokaslr no_timer_check \
                      init_on_alloc=0 norandmaps cryptomgr.notests=1 i8042.nokbd i8042.noaux \
                      rdinit=/init";

/// QEMU 7.2 gets cmpxchg16b's flags wrong, which the kernel's allocator uses; the others are left
/// out because the module would measure more variants of its checksums when it is loaded.
const EMULATED_CPU: &str = "max,cx16=off,la57=off,avx=off,avx2=off,sha-ni=off";

/// A boot takes about three seconds under emulation, and more on a busy host.
pub(crate) const BOOT_TIMEOUT: Duration = Duration::from_secs(180);

/// An emulated processor now and then runs into an instruction that another one is just replacing,
/// as kernels do while they boot. A guest that dies before its program starts is booted again.
const BOOTS: u32 = 3;

/// What the partition table takes of a scratch disk.
const PARTITION_START: u64 = 1 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Accelerator {
    Kvm,
    Emulation,
}

/// The machine to run.
pub(crate) struct Machine<'a> {
    pub(crate) guest: &'a Guest,
    pub(crate) accelerator: Accelerator,
    pub(crate) cpus: u32,
    pub(crate) memory_mib: u32,
    /// The number of scratch disks, see [`make_disks`].
    pub(crate) disks: usize,
    pub(crate) links: &'a [Link],
    /// Whether /out of the guest is wanted as `out.tar`.
    pub(crate) out: bool,
    /// How long the guest may take until the program starts.
    pub(crate) boot_timeout: Duration,
    /// How long the program may take.
    pub(crate) timeout: Duration,
    /// Whether the machine is to lose its power, asked all the time.
    pub(crate) off: &'a (dyn Fn() -> bool + Sync),
}

/// How a run ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The program ended with this status (128 and the signal's number when one killed it).
    Exited(u8),
    TimedOut,
    /// The guest ended without telling a status: it crashed, or never came up.
    Died,
}

/// Takes what the program writes, as it comes.
pub(crate) type Sink<'a> = &'a mut (dyn FnMut(&[u8]) + Send);

/// Runs `dir/payload.tar` in a machine whose files are in `dir`.
pub(crate) fn run(
    dir: &Path,
    machine: &Machine<'_>,
    stdout: Sink<'_>,
    stderr: Sink<'_>,
) -> Result<Outcome> {
    let boots = match machine.accelerator {
        Accelerator::Emulation => BOOTS,
        Accelerator::Kvm => 1,
    };
    for boot in 1..boots {
        let outcome = boot_once(dir, machine, &mut *stdout, &mut *stderr)?;
        match (&outcome, status(dir)) {
            (Outcome::Died, Status::Booting) if !(machine.off)() => eprintln!(
                "the guest died while it booted (boot {boot} of {boots}):\n{}",
                last_words(dir)
            ),
            _ => return Ok(outcome),
        }
    }
    boot_once(dir, machine, stdout, stderr)
}

fn boot_once(
    dir: &Path,
    machine: &Machine<'_>,
    stdout: Sink<'_>,
    stderr: Sink<'_>,
) -> Result<Outcome> {
    // What an earlier boot told is not this one's.
    let _ = std::fs::remove_file(dir.join("status"));
    let mut command = command(dir, machine);
    for (index, name) in ["stdout", "stderr"].into_iter().enumerate() {
        // What QEMU itself has to say is in its log, see `command`.
        port(
            &mut command,
            name,
            &format!("/proc/self/fd/{}", if index == 0 { 1 } else { 3 }),
        );
    }
    port(&mut command, "status", "status");
    if machine.out {
        port(&mut command, "out", "out.tar");
    }
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot run QEMU")?;
    let out_pipe = child.stdout.take();
    let err_pipe = child.stderr.take();
    std::thread::scope(|scope| {
        scope.spawn(|| pump(out_pipe, stdout));
        scope.spawn(|| pump(err_pipe, stderr));
        watch(&mut child, dir, machine)
    })
}

/// Runs `dir/payload.tar` with the guest's shell on this terminal.
pub(crate) fn run_shell(dir: &Path, machine: &Machine<'_>) -> Result<Outcome> {
    let mut command = command(dir, machine);
    port(&mut command, "status", "status");
    command.args(["-chardev", "stdio,id=shell,signal=off"]);
    command.args(["-device", "virtconsole,chardev=shell"]);
    let mut child = command.spawn().context("cannot run QEMU")?;
    child.wait()?;
    Ok(match status(dir) {
        Status::Exited(status) => Outcome::Exited(status),
        Status::Booting | Status::Running => Outcome::Died,
    })
}

/// The end of what the guest's kernel and QEMU said, for a failure's message.
pub(crate) fn last_words(dir: &Path) -> String {
    let mut words = progress::tail(&dir.join("console"), 40);
    let qemu = progress::tail(&dir.join("qemu.log"), 10);
    if !qemu.is_empty() {
        words.push_str("\nQEMU: ");
        words.push_str(&qemu);
    }
    if words.is_empty() {
        words.push_str("(the console is empty)");
    }
    words
}

fn command(dir: &Path, machine: &Machine<'_>) -> Command {
    // Descriptor 3 is the guest's stderr, 2 a log of QEMU's own. setpriv lets the machine end when
    // the thread that started it ends, however that happens.
    let mut command = Command::new("sh");
    command
        .current_dir(dir)
        .args(["-c", r#"exec 3>&2 2>qemu.log; exec "$@""#, "sh"])
        .args(["setpriv", "--pdeathsig", "KILL", "qemu-system-x86_64"])
        .args([
            "-M",
            "q35",
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
            "-no-reboot",
        ])
        .args(["-smp", &machine.cpus.to_string()])
        .args(["-m", &machine.memory_mib.to_string()])
        .arg("-kernel")
        .arg(machine.guest.kernel())
        .arg("-initrd")
        .arg(machine.guest.initramfs())
        .args(["-append", KERNEL]);
    match machine.accelerator {
        Accelerator::Kvm => command.args(["-accel", "kvm", "-cpu", "host"]),
        Accelerator::Emulation => command.args([
            "-accel",
            "tcg,thread=multi,tb-size=256",
            "-cpu",
            EMULATED_CPU,
        ]),
    };
    command.args([
        "-drive",
        "file=payload.tar,if=none,id=payload,format=raw,readonly=on",
    ]);
    command.args(["-device", "virtio-blk-pci,drive=payload"]);
    for index in 0..machine.disks {
        command.arg("-drive").arg(format!(
            "file=disk{index},if=none,id=disk{index},format=raw,cache=unsafe,discard=unmap"
        ));
        command
            .arg("-device")
            .arg(format!("virtio-blk-pci,drive=disk{index}"));
    }
    for (index, link) in machine.links.iter().enumerate() {
        link.add_to(&mut command, index);
    }
    command.args(["-device", "virtio-rng-pci", "-device", "virtio-serial-pci"]);
    command.args([
        "-chardev",
        "file,id=console,path=console",
        "-serial",
        "chardev:console",
    ]);
    command
}

fn port(command: &mut Command, name: &str, path: &str) {
    command
        .arg("-chardev")
        .arg(format!("file,id={name},path={path}"))
        .arg("-device")
        .arg(format!("virtserialport,chardev={name},name=helix.{name}"));
}

/// Sparse files with one partition each: nobody in the guest would answer ZFS when it asks for a
/// whole disk to be partitioned.
pub(crate) fn make_disks(dir: &Path, sizes: &[u64]) -> Result<()> {
    for (index, size) in sizes.iter().enumerate() {
        let mut file = File::create(dir.join(format!("disk{index}")))?;
        file.write_all(&partition_table(*size)?)?;
        file.set_len(PARTITION_START + size)?;
    }
    Ok(())
}

fn partition_table(size: u64) -> Result<Vec<u8>> {
    let start = u32::try_from(PARTITION_START / 512)?;
    let sectors = u32::try_from(size / 512).context("a disk has at most 2 TiB")?;
    let mut table = vec![0; 446];
    // Not bootable, no cylinder addresses, type Linux.
    table.extend([0, 0, 0, 0, 0x83, 0, 0, 0]);
    table.extend(start.to_le_bytes());
    table.extend(sectors.to_le_bytes());
    table.resize(510, 0);
    table.extend([0x55, 0xaa]);
    Ok(table)
}

fn pump(pipe: Option<impl Read>, sink: Sink<'_>) {
    let Some(mut pipe) = pipe else { return };
    let mut buffer = [0; 16 << 10];
    loop {
        match pipe.read(&mut buffer) {
            Ok(0) => return,
            Ok(count) => sink(buffer.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

/// What the guest has told about itself.
enum Status {
    Booting,
    Running,
    Exited(u8),
}

fn status(dir: &Path) -> Status {
    let told = std::fs::read_to_string(dir.join("status")).unwrap_or_default();
    let mut lines = told.lines();
    match (lines.next(), lines.next().map(str::parse)) {
        (Some("started"), Some(Ok(status))) => Status::Exited(status),
        (Some("started"), _) => Status::Running,
        _ => Status::Booting,
    }
}

/// Waits for the machine's end, and ends it itself when it takes too long.
fn watch(child: &mut Child, dir: &Path, machine: &Machine<'_>) -> Result<Outcome> {
    let boot_deadline = Instant::now() + machine.boot_timeout;
    let mut deadline = None;
    loop {
        let ended = child.try_wait()?.is_some();
        let status = status(dir);
        if ended {
            return Ok(match status {
                Status::Exited(status) => Outcome::Exited(status),
                Status::Booting | Status::Running => Outcome::Died,
            });
        }
        let now = Instant::now();
        let too_late = match status {
            _ if (machine.off)() => Some(Outcome::Died),
            Status::Booting => (now >= boot_deadline).then_some(Outcome::Died),
            Status::Running | Status::Exited(_) => {
                let deadline = deadline.get_or_insert(now + machine.timeout);
                (now >= *deadline).then_some(Outcome::TimedOut)
            }
        };
        if let Some(outcome) = too_late {
            child.kill()?;
            child.wait()?;
            return Ok(outcome);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[cfg(test)]
mod tests {
    use super::partition_table;

    #[test]
    fn the_partition_covers_the_disk() {
        let table = partition_table(3 << 20).unwrap();
        assert_eq!(table.len(), 512);
        assert_eq!(table[450], 0x83);
        assert_eq!(table[454..458], 2048_u32.to_le_bytes());
        assert_eq!(table[458..462], 6144_u32.to_le_bytes());
        assert_eq!(table[510..], [0x55, 0xaa]);
        assert!(partition_table(1 << 42).is_err());
    }
}
