//! Two sites of one group, in one pool or in two, and what is in them.

use crate::support::{Mounted, Scratch, may, noise, zfs};
use helix_zfs::Step;
use helix_zfs::gate::{Capability, Operation};
use helix_zfs::replica::{
    Followed, Follower, Promotion, Rebuilt, ReplicaChange, ReplicaError, Site, SnapshotMark,
};
use helix_zfs::replicate::{Replicator, Source, Survey};
use helix_zfs::zfs_core::key::{Encryption, WrappingKey};
use helix_zfs::zfs_core::props::KeyStatus;
use helix_zfs::zfs_core::{CreateOptions, Dataset, DatasetName};
use std::collections::BTreeMap;
use std::io;
use std::os::unix::net::UnixStream;

const KEY: [u8; 32] = [0x37; 32];

pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// An observer that does nothing.
pub(crate) fn quiet(_: Step<'_, ReplicaChange>) {}

/// A source `a` and a replica `b` of it.
pub(crate) struct Sites {
    pub(crate) a: Site,
    pub(crate) b: Site,
    _above: Vec<Scratch>,
}

/// The site with all its datasets below `above`.
pub(crate) fn site(above: &str) -> Site {
    let name = |short: &str| DatasetName::new(&format!("{above}/{short}")).unwrap();
    Site::new(&zfs(), &name("data"), &name("copy")).unwrap()
}

pub(crate) fn key() -> WrappingKey {
    WrappingKey::raw(&KEY)
}

/// May do that with all of the site's pool.
pub(crate) fn cap(site: &Site, operation: Operation) -> &'static Capability {
    may(operation, site.data())
}

pub(crate) fn dataset(name: &DatasetName) -> Dataset {
    zfs().dataset(name.as_str()).unwrap()
}

impl Sites {
    pub(crate) fn encrypted(topic: &str) -> Self {
        let encryption = Encryption::aes_256_gcm(&key()).unwrap();
        Self::new(topic, &CreateOptions::filesystem().encryption(encryption))
    }

    pub(crate) fn plain(topic: &str) -> Self {
        Self::new(topic, &CreateOptions::filesystem())
    }

    pub(crate) fn new(topic: &str, options: &CreateOptions) -> Self {
        let above = ["a", "b"].map(|side| Scratch::new(&format!("{topic}-{side}")));
        let sites = Self::below(above[0].name(), above[1].name());
        sites.begin(options);
        Self {
            _above: above.into(),
            ..sites
        }
    }

    /// Sites that somebody else made.
    pub(crate) fn below(a: &str, b: &str) -> Self {
        Self {
            a: site(a),
            b: site(b),
            _above: Vec::new(),
        }
    }

    /// Makes `a` the source, in epoch 1.
    pub(crate) fn begin(&self, options: &CreateOptions) {
        dataset(self.a.data()).create(options).unwrap();
        open(&self.a, 1);
    }

    /// Whoever is the source now writes, and takes a snapshot.
    pub(crate) fn write(site: &Site, file: &str, short: &str) -> SnapshotMark {
        Mounted::new(&dataset(site.data())).write(file, noise(40_000, file.len() as u64));
        let capability = cap(site, Operation::Snapshot);
        site.snapshot_if_changed(capability, short)
            .unwrap()
            .expect("something new")
    }

    /// `a` writes, and `b` follows.
    pub(crate) fn one_behind_the_other(&self) -> SnapshotMark {
        let mark = Self::write(&self.a, "first", "first");
        assert_eq!(
            follow(&self.b, &self.a).unwrap().snapshot,
            Some(mark.clone())
        );
        mark
    }
}

pub(crate) fn open(site: &Site, epoch: u64) {
    site.open(cap(site, Operation::PromoteReplica), epoch, &mut quiet)
        .unwrap();
}

pub(crate) fn fence(site: &Site) {
    site.fence(cap(site, Operation::RebuildReplica), &mut quiet)
        .unwrap();
}

pub(crate) fn promote(site: &Site, epoch: u64) -> Result<SnapshotMark, ReplicaError> {
    let key = key();
    let promotion = Promotion::new(epoch).key(&key);
    site.promote(cap(site, Operation::PromoteReplica), &promotion, &mut quiet)
}

pub(crate) fn undo(site: &Site, epoch: u64) -> Result<(), ReplicaError> {
    site.undo(cap(site, Operation::PromoteReplica), epoch, &mut quiet)
}

/// Makes `site` a replica of `source`, which is at `epoch`.
pub(crate) fn rebuild(site: &Site, source: &Site, epoch: u64) -> Result<Rebuilt, ReplicaError> {
    let common = survey(site, source).common;
    let capability = cap(site, Operation::RebuildReplica);
    site.rebuild(capability, common, epoch, &mut quiet)
}

/// How `source` stands to what `site` has.
pub(crate) fn survey(site: &Site, source: &Site) -> Survey {
    let have = site.snapshots().unwrap();
    let guids: Vec<u64> = have.iter().map(|mark| mark.guid).collect();
    Replicator::survey(channel(source).unwrap(), source.data(), &guids).unwrap()
}

/// One turn of following.
pub(crate) fn follow(site: &Site, source: &Site) -> Result<Followed, ReplicaError> {
    let capability = cap(site, Operation::Receive);
    Follower::new(site, source.data()).once(capability, || channel(source))
}

/// A channel to a process that serves the data of `source`.
pub(crate) fn channel(source: &Site) -> io::Result<UnixStream> {
    let (ours, theirs) = UnixStream::pair()?;
    let serving = Source::new(&zfs()).offer(source.data());
    let capability = cap(source, Operation::Send);
    std::thread::spawn(move || serving.serve(capability, theirs));
    Ok(ours)
}

/// The files of a dataset, mounted for a moment. The key is loaded if need be.
pub(crate) fn files(name: &DatasetName) -> Files {
    let dataset = dataset(name);
    if let Some(encryption) = dataset.encryption().unwrap() {
        if encryption.key == KeyStatus::Unavailable {
            let root = zfs().dataset(encryption.root.as_str()).unwrap();
            root.load_key(&key()).unwrap();
        }
    }
    let mount = Mounted::new(&dataset);
    let entries = std::fs::read_dir(mount.path("")).unwrap();
    entries
        .map(|entry| {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let contents = mount.read(&name);
            (name, contents)
        })
        .collect()
}

/// What readers of a replica see.
pub(crate) fn seen(site: &Site) -> Files {
    files(&site.target().child("current").unwrap())
}

/// The names of the files.
pub(crate) fn names(files: &Files) -> Vec<&str> {
    files.keys().map(String::as_str).collect()
}
