//! This machine, and the wire to the other.

use helix_zfs::zfs_core::digest::{Digest, Digester};
use helix_zfs::zfs_core::send::SendOptions;
use helix_zfs::zfs_core::stream::PassThrough;
use helix_zfs::zfs_core::{Snapshot, Zfs};
use std::io::{self, BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    First,
    Second,
}

/// Where the two meet.
const PORT: u16 = 7000;

/// How long one waits for the other: it may have to boot first.
const PATIENCE: Duration = Duration::from_secs(300);

/// One of the two machines.
pub(crate) struct Machine {
    pub(crate) role: Role,
    /// The address of the other one.
    peer: IpAddr,
    /// How often this one has been booted: more than once after a power cut.
    pub(crate) boot: u32,
    test: &'static str,
    words: Option<BufReader<TcpStream>>,
}

impl Machine {
    /// Makes the pool of this machine, or imports it after a power cut.
    pub(crate) fn new() -> Self {
        let variable = |name| std::env::var(name).expect("cargo xtask pair sets it");
        let role = match variable("HELIX_PAIR").as_str() {
            "first" => Role::First,
            "second" => Role::Second,
            other => panic!("HELIX_PAIR is {other:?}"),
        };
        let machine = Self {
            role,
            peer: variable("HELIX_PAIR_PEER").parse().expect("an address"),
            boot: variable("HELIX_PAIR_BOOT").parse().expect("a number"),
            test: "",
            words: None,
        };
        let disks = variable("HELIX_ZFS_DISKS");
        let disk = disks.split(' ').next().expect("a disk");
        if machine.boot == 1 {
            run(
                "zpool",
                &["create", "-f", "-m", "none", machine.pool(), disk],
            );
        } else {
            run("zpool", &["import", "-N", "-d", disk, machine.pool()]);
        }
        machine
    }

    /// The pool of this machine alone. The names differ, as they do in life.
    pub(crate) fn pool(&self) -> &'static str {
        match self.role {
            Role::First => "first",
            Role::Second => "second",
        }
    }

    pub(crate) fn zfs(&self) -> Zfs {
        Zfs::open().expect("ZFS is loaded where these tests run")
    }

    pub(crate) fn begin(&mut self, test: &'static str) {
        self.test = test;
    }

    /// Waits until the other machine waits too, in the same test, and makes a new connection for
    /// [`tell`](Self::tell) and [`told`](Self::told): the one before may have been cut.
    pub(crate) fn meet(&mut self) {
        self.words = None;
        let channel = match self.role {
            Role::First => self.accept(PORT),
            Role::Second => self.connect(PORT),
        };
        self.words = Some(BufReader::new(channel));
        self.tell(self.test);
        assert_eq!(self.told(), self.test, "both are in the same test");
    }

    /// Sends a line to the other machine.
    pub(crate) fn tell(&mut self, line: &str) {
        let words = self.words.as_mut().expect("they have met").get_mut();
        writeln!(words, "{line}").expect("the other machine is there");
    }

    /// The line that the other machine sent.
    pub(crate) fn told(&mut self) -> String {
        let mut line = String::new();
        let words = self.words.as_mut().expect("they have met");
        words
            .read_line(&mut line)
            .expect("a line of the other machine");
        assert!(line.ends_with('\n'), "the other machine is gone");
        line.trim_end().to_owned()
    }

    /// Takes one connection of the other machine.
    pub(crate) fn accept(&self, port: u16) -> TcpStream {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).expect("a free port");
        let (channel, _) = listener.accept().expect("a connection");
        patient(channel)
    }

    /// Connects to the other machine, when it listens.
    pub(crate) fn connect(&self, port: u16) -> TcpStream {
        // A machine that is just booting does not answer at all.
        let pause = Duration::from_millis(100);
        for _ in 0..PATIENCE.as_millis() / pause.as_millis() {
            if let Ok(channel) = TcpStream::connect_timeout(&(self.peer, port).into(), pause * 20) {
                return patient(channel);
            }
            std::thread::sleep(pause);
        }
        panic!("the other machine does not listen on port {port}");
    }

    /// What has this machine lose its power.
    pub(crate) fn power(&self) -> Power {
        Power(self.test)
    }
}

/// The power of this machine. Any thread may cut it.
pub(crate) struct Power(&'static str);

impl Power {
    /// Has this machine lose its power: at once, whatever its other threads are doing. It boots
    /// again with the disks that it had, and this test begins anew, with a `boot` that is higher.
    pub(crate) fn cut(&self) -> ! {
        println!("POWER CUT {}", self.0);
        io::stdout().flush().expect("somebody reads");
        loop {
            std::thread::park();
        }
    }
}

fn patient(channel: TcpStream) -> TcpStream {
    channel
        .set_read_timeout(Some(PATIENCE))
        .expect("a time-out");
    channel
        .set_write_timeout(Some(PATIENCE))
        .expect("a time-out");
    channel.set_nodelay(true).expect("no delay");
    channel
}

/// Runs a command that must succeed, and returns what it printed.
pub(crate) fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// The digest of all that is in a snapshot.
pub(crate) fn content(snapshot: &Snapshot) -> Digest {
    let stream = snapshot
        .send(&SendOptions::full().raw().large_blocks())
        .unwrap();
    let mut pass = PassThrough::new(stream, Digester::new());
    io::copy(&mut pass, &mut io::sink()).unwrap();
    let digests = pass.into_parts().1.finish().unwrap();
    digests.content().expect("one snapshot").root()
}
