//! Guard rails, and rollback of sets.

mod take;

use crate::support::Scratch;
use helix_zfs::zfs_core::{CreateOptions, Dataset};

/// Filesystems of these names below a scratch dataset.
fn filesystems(scratch: &Scratch, names: &[&str]) -> Vec<Dataset> {
    let make = |name: &&str| {
        let dataset = scratch.child(name).unwrap();
        dataset.create(&CreateOptions::filesystem()).unwrap();
        dataset
    };
    names.iter().map(make).collect()
}
