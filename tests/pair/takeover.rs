//! A replica of another machine that takes over from its source.

use crate::gate::OwnGate;
use crate::machine::{Machine, Role, content, run};
use helix_zfs::gate::{Capability, Operation};
use helix_zfs::replica::{Follower, Promotion, Site, SiteRole};
use helix_zfs::replicate::{Replicator, Source};
use helix_zfs::zfs_core::{CreateOptions, Dataset, DatasetName};
use std::path::PathBuf;

const SERVING: u16 = 7002;

/// One turn of a follower that finds something new: it asks, pulls, and asks again.
const TURN: usize = 3;

/// What a machine has of the group, and may do with it.
struct Own {
    site: Site,
    data: Dataset,
    gate: OwnGate,
}

impl Own {
    fn new(machine: &Machine) -> Self {
        let name = |short: &str| DatasetName::new(&format!("{}/{short}", machine.pool())).unwrap();
        let site = Site::new(&machine.zfs(), &name("taken"), &name("taken-copy")).unwrap();
        Self {
            data: machine.zfs().dataset(site.data().as_str()).unwrap(),
            site,
            gate: OwnGate::open(&machine.zfs()).unwrap(),
        }
    }

    fn may(&self, operation: Operation) -> Capability {
        let pool = DatasetName::new(self.site.data().pool()).unwrap();
        self.gate.capability(operation, &pool).unwrap()
    }

    /// Serves the other machine so many times.
    fn serve(&self, machine: &Machine, times: usize) {
        let source = Source::new(&machine.zfs()).offer(self.site.data());
        let send = self.may(Operation::Send);
        for _ in 0..times {
            source.serve(&send, machine.accept(SERVING)).unwrap();
        }
    }

    /// Follows the other machine once, and returns the digest of what it has then.
    fn follow(&self, machine: &Machine, source: &DatasetName) -> String {
        let follower = Follower::new(&self.site, source);
        let receive = self.may(Operation::Receive);
        let turn = follower.once(&receive, || Ok(machine.connect(SERVING)));
        let outcome = turn.unwrap().outcome.expect("something new");
        content(&outcome.snapshot).to_string()
    }

    /// Writes a file, takes a snapshot and returns the digest of what is in it.
    fn write(&self, short: &str) -> String {
        let folder = self.mount();
        std::fs::write(folder.join(short), short.repeat(50_000)).unwrap();
        run("umount", &[folder.to_str().unwrap()]);
        let snapshot = self.may(Operation::Snapshot);
        let mark = self.site.snapshot_if_changed(&snapshot, short).unwrap();
        let mark = mark.expect("something new");
        content(&self.data.snapshot(&mark.name).unwrap()).to_string()
    }

    fn mount(&self) -> PathBuf {
        let folder = std::env::temp_dir().join("taken");
        std::fs::create_dir_all(&folder).unwrap();
        let name = self.data.name().as_str();
        run("mount", &["-t", "zfs", name, folder.to_str().unwrap()]);
        folder
    }
}

/// The source loses its power with data that only it has. The replica takes over; the source comes
/// back as the source that it was, is read-only to us before anything else, and becomes a replica
/// by the snapshot that both have. What only it had is kept.
pub(crate) fn a_source_that_loses_its_power_returns_as_a_replica(machine: &mut Machine) {
    let own = Own::new(machine);
    let theirs = DatasetName::new(match machine.role {
        Role::First => "second/taken",
        Role::Second => "first/taken",
    })
    .unwrap();
    match machine.role {
        Role::First if machine.boot > 1 => {
            // As it was left: it takes itself for the source, which can be written to.
            let state = own.site.state().unwrap();
            assert_eq!((state.role, state.read_only), (SiteRole::Source, false));
            let rebuild = own.may(Operation::RebuildReplica);
            own.site.fence(&rebuild, &mut |_| {}).unwrap();
            let folder = own.mount();
            let error = std::fs::write(folder.join("late"), "x").unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
            run("umount", &[folder.to_str().unwrap()]);

            let guids: Vec<u64> = own
                .site
                .snapshots()
                .unwrap()
                .iter()
                .map(|it| it.guid)
                .collect();
            let survey = Replicator::survey(machine.connect(SERVING), &theirs, &guids).unwrap();
            assert!(survey.common.is_some());
            let epoch = survey.epoch.unwrap();
            assert_eq!(epoch, 2);
            let rebuilt = own
                .site
                .rebuild(&rebuild, survey.common, epoch, &mut |_| {});
            let kept = rebuilt.unwrap().diverged.expect("what only it had");
            let kept = machine.zfs().dataset(kept.as_str()).unwrap();
            assert!(kept.snapshot("never-arrived").unwrap().exists().unwrap());
            let digest = own.follow(machine, &theirs);
            assert_eq!(machine.told(), digest);
        }
        Role::First => {
            own.data.create(&CreateOptions::filesystem()).unwrap();
            let promote = own.may(Operation::PromoteReplica);
            own.site.open(&promote, 1, &mut |_| {}).unwrap();
            machine.tell(&own.write("one"));
            own.serve(machine, TURN);
            assert_eq!(machine.told(), "followed");
            own.write("never-arrived");
            run("zpool", &["sync", machine.pool()]);
            machine.power().cut();
        }
        Role::Second => {
            let expected = machine.told();
            assert_eq!(own.follow(machine, &theirs), expected);
            machine.tell("followed");
            let promote = own.may(Operation::PromoteReplica);
            own.site
                .promote(&promote, &Promotion::new(2), &mut |_| {})
                .unwrap();
            let digest = own.write("two");
            machine.meet();
            own.serve(machine, 1 + TURN);
            machine.tell(&digest);
        }
    }
}
