//! A dataset, the target that it is replicated to, and what readers of the target see.

use crate::support::{Mounted, Scratch, may, noise, unmount, zfs};
use helix_zfs::gate::Operation;
use helix_zfs::replicate::{Job, Outcome, ReplicateError, Replicator, Served, Source};
use helix_zfs::zfs_core::key::{Encryption, WrappingKey};
use helix_zfs::zfs_core::props::{KeyStatus, UserProps};
use helix_zfs::zfs_core::{CreateOptions, Dataset, DatasetName, ErrorKind, Snapshot};
use rustix::mount::MountFlags;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use tempfile::TempDir;

const KEY: [u8; 32] = [0x42; 32];

/// The files of a filesystem, by name.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// A source and its target.
pub(crate) struct Pair {
    pub(crate) data: Dataset,
    mount: Option<Mounted>,
    pub(crate) target: DatasetName,
    _source: Scratch,
    _target: Scratch,
}

impl Pair {
    /// An encrypted filesystem, whose key the target does not have.
    pub(crate) fn encrypted(topic: &str) -> Self {
        let encryption = Encryption::aes_256_gcm(&WrappingKey::raw(&KEY)).unwrap();
        let pair = Self::new(topic, &CreateOptions::filesystem().encryption(encryption));
        Self {
            mount: Some(Mounted::new(&pair.data)),
            ..pair
        }
    }

    pub(crate) fn plain(topic: &str) -> Self {
        let pair = Self::new(topic, &CreateOptions::filesystem());
        Self {
            mount: Some(Mounted::new(&pair.data)),
            ..pair
        }
    }

    /// With a dataset that is not mounted.
    pub(crate) fn new(topic: &str, options: &CreateOptions) -> Self {
        let source = Scratch::new(&format!("{topic}-source"));
        let target = Scratch::new(&format!("{topic}-target"));
        let data = source.child("data").unwrap();
        data.create(options).unwrap();
        Self {
            data,
            mount: None,
            target: target.child("copy").unwrap().name().clone(),
            _source: source,
            _target: target,
        }
    }

    pub(crate) fn write(&self, file: &str, contents: impl AsRef<[u8]>) {
        self.mount().write(file, contents);
    }

    pub(crate) fn mount(&self) -> &Mounted {
        self.mount.as_ref().expect("a mounted filesystem")
    }

    /// What is written from now on is one more file and some blocks of another.
    pub(crate) fn change(&self, seed: u64) {
        self.write("changing", noise(150_000, seed));
        self.write(&format!("file-{seed}"), noise(20_000, seed));
    }

    /// A snapshot, and what is in it.
    pub(crate) fn snapshot(&self, short: &str) -> (Snapshot, Files) {
        let snapshot = self.data.snapshot(short).unwrap();
        snapshot.create(&UserProps::new()).unwrap();
        let files = match &self.mount {
            Some(mount) => files(&mount.path("")),
            None => Files::new(),
        };
        (snapshot, files)
    }

    pub(crate) fn source(&self) -> Source {
        Source::new(&zfs()).offer(self.data.name())
    }

    pub(crate) fn job(&self) -> Job {
        Job::new(self.data.name(), &self.target)
    }

    /// The dataset `name` of the target.
    pub(crate) fn of_target(&self, name: &str) -> Dataset {
        zfs()
            .dataset(&format!("{}/{name}", self.target.as_str()))
            .unwrap()
    }

    /// Replicates, and expects that it works.
    pub(crate) fn replicate(&self) -> Outcome {
        let (outcome, served) = self.run();
        served.unwrap();
        outcome.unwrap()
    }

    /// Replicates, and expects that it does not.
    pub(crate) fn fail(&self) -> ReplicateError {
        self.run().0.expect_err("no success")
    }

    pub(crate) fn run(
        &self,
    ) -> (
        Result<Outcome, ReplicateError>,
        Result<Served, ReplicateError>,
    ) {
        self.run_over(|channel| channel)
    }

    /// Replicates over a channel that `replica` makes of the replica's end.
    pub(crate) fn run_over<C: Read + Write>(
        &self,
        replica: impl FnOnce(UnixStream) -> C,
    ) -> (
        Result<Outcome, ReplicateError>,
        Result<Served, ReplicateError>,
    ) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let source = self.source();
        let send = may(Operation::Send, &self.data);
        let receive = may(Operation::Receive, &self.target);
        std::thread::scope(|scope| {
            let served = scope.spawn(move || source.serve(send, theirs));
            let outcome = Replicator::new(&zfs()).pull(receive, replica(ours), &self.job());
            (outcome, served.join().unwrap())
        })
    }

    pub(crate) fn readers(&self) -> Readers {
        Readers::new(&self.of_target("current"))
    }

    /// The tags of the holds of a snapshot.
    pub(crate) fn tags(&self, snapshot: &Snapshot) -> Vec<String> {
        let holds = snapshot.holds().unwrap();
        let tag = |tag: &std::ffi::CStr| tag.to_str().unwrap().to_owned();
        holds.iter().map(|hold| tag(&hold.tag)).collect()
    }

    /// The bookmarks of the source.
    pub(crate) fn bookmarks(&self) -> Vec<u64> {
        let bookmarks = self.data.bookmarks().unwrap();
        bookmarks.iter().map(|bookmark| bookmark.guid).collect()
    }

    /// The snapshots of the target's chain.
    pub(crate) fn chain(&self) -> Vec<String> {
        match self.of_target("chain").snapshots(&Default::default()) {
            Ok(snapshots) => snapshots
                .iter()
                .map(|entry| entry.name.short().to_owned())
                .collect(),
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            Err(error) => panic!("{error}"),
        }
    }
}

/// What is mounted where readers of a target mount it.
pub(crate) struct Readers(TempDir);

impl Readers {
    pub(crate) fn new(current: &Dataset) -> Self {
        let dir = TempDir::with_prefix("helix-zfs-").unwrap();
        if let Some(encryption) = current.encryption().unwrap() {
            if encryption.key == KeyStatus::Unavailable {
                let root = zfs().dataset(encryption.root.as_str()).unwrap();
                root.load_key(&WrappingKey::raw(&KEY)).unwrap();
            }
        }
        let name = current.name().as_str();
        rustix::mount::mount(name, dir.path(), "zfs", MountFlags::RDONLY, None).unwrap();
        Self(dir)
    }

    pub(crate) fn files(&self) -> Files {
        files(self.0.path())
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        let _ = unmount(self.0.path());
    }
}

fn files(folder: &std::path::Path) -> Files {
    let entries = std::fs::read_dir(folder).unwrap();
    entries
        .map(|entry| {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let contents = match entry.file_type().unwrap().is_symlink() {
                true => std::fs::read_link(entry.path())
                    .unwrap()
                    .into_os_string()
                    .into_encoded_bytes(),
                false => std::fs::read(entry.path()).unwrap(),
            };
            (name, contents)
        })
        .collect()
}
