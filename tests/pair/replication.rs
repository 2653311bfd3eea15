//! The replicator from one machine to the other.

use crate::gate::OwnGate;
use crate::machine::{Machine, Role, content, run};
use helix_zfs::gate::Operation;
use helix_zfs::replicate::{Job, Phase, Replicator, Source};
use helix_zfs::zfs_core::props::UserProps;
use helix_zfs::zfs_core::{CreateOptions, Dataset, DatasetName};
use std::path::PathBuf;
use std::time::Duration;

const REPLICATION: u16 = 7001;

/// A filesystem of the first machine, mounted.
struct Data {
    dataset: Dataset,
    folder: PathBuf,
}

impl Data {
    fn new(machine: &Machine, name: &str) -> Self {
        let dataset = machine
            .zfs()
            .dataset(&format!("{}/{name}", machine.pool()))
            .unwrap();
        dataset.create(&CreateOptions::filesystem()).unwrap();
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir(&folder).unwrap();
        run(
            "mount",
            &[
                "-t",
                "zfs",
                dataset.name().as_str(),
                folder.to_str().unwrap(),
            ],
        );
        Self { dataset, folder }
    }

    /// Writes a file, takes a snapshot and returns the digest of what is in it.
    fn snapshot(&self, short: &str, bytes: usize) -> String {
        let mut state = short
            .bytes()
            .fold(1_u64, |sum, byte| sum * 31 + u64::from(byte));
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        })
        .flatten()
        .take(bytes)
        .collect();
        std::fs::write(self.folder.join(short), noise).unwrap();
        let snapshot = self.dataset.snapshot(short).unwrap();
        snapshot.create(&UserProps::new()).unwrap();
        content(&snapshot).to_string()
    }
}

fn job(name: &str) -> Job {
    let source = DatasetName::new(&format!("first/{name}")).unwrap();
    let target = DatasetName::new(&format!("second/{name}")).unwrap();
    Job::new(&source, &target)
}

pub(crate) fn an_increment_over_the_wire(machine: &mut Machine) {
    const NAME: &str = "increment";
    match machine.role {
        Role::First => {
            let data = Data::new(machine, NAME);
            let source = Source::new(&machine.zfs()).offer(data.dataset.name());
            let gate = OwnGate::open(&machine.zfs()).unwrap();
            let send = gate.capability(Operation::Send, data.dataset.name());
            let send = send.unwrap();
            for short in ["one", "two"] {
                let digest = data.snapshot(short, 400_000);
                machine.tell(&digest);
                source.serve(&send, machine.accept(REPLICATION)).unwrap();
                assert_eq!(machine.told(), digest);
            }
        }
        Role::Second => {
            let gate = OwnGate::open(&machine.zfs()).unwrap();
            let receive = gate.capability(Operation::Receive, job(NAME).target());
            let receive = receive.unwrap();
            let replicator = Replicator::new(&machine.zfs());
            for short in ["one", "two"] {
                let expected = machine.told();
                let channel = machine.connect(REPLICATION);
                let outcome = replicator.pull(&receive, channel, &job(NAME)).unwrap();
                assert_eq!(outcome.snapshot.name().short(), short);
                assert!(outcome.replicated.iter().all(|it| it.bytes > 400_000));
                let digest = content(&outcome.snapshot).to_string();
                assert_eq!(digest, expected);
                machine.tell(&digest);
            }
        }
    }
}

/// The power of the target is cut while data arrive. What it had on disk is not sent again.
pub(crate) fn a_target_that_loses_its_power_goes_on(machine: &mut Machine) {
    const NAME: &str = "power";
    const BYTES: usize = 24 << 20;
    match machine.role {
        Role::First => {
            let data = Data::new(machine, NAME);
            let digest = data.snapshot("one", BYTES);
            let source = Source::new(&machine.zfs()).offer(data.dataset.name());
            let gate = OwnGate::open(&machine.zfs()).unwrap();
            let send = gate.capability(Operation::Send, data.dataset.name());
            let send = send.unwrap();
            machine.tell(&digest);
            // The other end is gone, and only its next boot says so.
            source
                .serve(&send, machine.accept(REPLICATION))
                .unwrap_err();
            machine.meet();
            machine.tell(&digest);
            source.serve(&send, machine.accept(REPLICATION)).unwrap();
            assert_eq!(machine.told(), digest);
        }
        Role::Second => {
            let expected = machine.told();
            let channel = machine.connect(REPLICATION);
            let power = machine.power();
            let gate = OwnGate::open(&machine.zfs()).unwrap();
            let receive = gate.capability(Operation::Receive, job(NAME).target());
            let receive = receive.unwrap();
            let mut replicator = Replicator::new(&machine.zfs());
            if machine.boot == 1 {
                replicator = replicator.on_progress(Duration::ZERO, move |progress| {
                    if progress.phase == Phase::Receiving && progress.bytes > 12 << 20 {
                        run("zpool", &["sync", "second"]);
                        power.cut();
                    }
                });
            }
            let outcome = replicator.pull(&receive, channel, &job(NAME)).unwrap();
            assert_eq!(machine.boot, 2, "it was not cut off");
            let [replicated] = outcome.replicated.as_slice() else {
                panic!("{outcome:?}");
            };
            assert!(replicated.resumed, "{replicated:?}");
            assert!(replicated.bytes < (BYTES as u64), "{replicated:?}");
            let digest = content(&outcome.snapshot).to_string();
            assert_eq!(digest, expected);
            machine.tell(&digest);
        }
    }
}
