//! Guard rails, and rollback of sets.

mod keep;
mod kill;
mod rollback;
mod take;

use crate::support::{Mounted, Scratch, noise, zfs};
use helix_zfs::zfs_core::program::ChannelProgram;
use helix_zfs::zfs_core::{CreateOptions, Dataset, SyncMode};
use std::time::Duration;

/// Filesystems of these names below a scratch dataset.
fn filesystems(scratch: &Scratch, names: &[&str]) -> Vec<Dataset> {
    let make = |name: &&str| {
        let dataset = scratch.child(name).unwrap();
        dataset.create(&CreateOptions::filesystem()).unwrap();
        dataset
    };
    names.iter().map(make).collect()
}

fn sync(dataset: &Dataset) {
    let pool = zfs().pool(dataset.name().pool()).unwrap();
    pool.sync(SyncMode::Pending).unwrap();
}

/// Waits until nobody has the dataset mounted any more. Another test's mount namespace can have a copy
/// of a mount.
fn let_go(dataset: &Dataset) {
    let lua = "local args = ... return zfs.check.rollback(args.name) == EBUSY";
    let pool = zfs().pool(dataset.name().pool()).unwrap();
    let busy = ChannelProgram::new(lua).argument("name", dataset.name().as_str());
    while pool.run_program_read_only(&busy).unwrap().truth() == Some(true) {
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// What a file `data` is made to contain.
struct Data {
    contents: Vec<u8>,
}

impl Data {
    /// Writes it into each of the datasets, which are not mounted.
    fn write(datasets: &[Dataset], seed: u64) -> Self {
        let contents = noise(100_000, seed);
        for dataset in datasets {
            Mounted::new(dataset).write("data", &contents);
            let_go(dataset);
        }
        Self { contents }
    }

    /// Checks that each of the datasets, which are not mounted, has it.
    fn is_in(&self, datasets: &[Dataset]) {
        for dataset in datasets {
            let same = Mounted::new(dataset).read("data") == self.contents;
            assert!(same, "{}", dataset.name());
            let_go(dataset);
        }
    }
}

/// The two ways that a set is rolled back in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Mounted,
    Unmounted,
}

impl Way {
    fn mount(self, datasets: &[Dataset]) -> Vec<Mounted> {
        match self {
            Self::Mounted => datasets.iter().map(Mounted::new).collect(),
            Self::Unmounted => Vec::new(),
        }
    }
}
