//! Streams as data, and their digests, against what real kernels send.

#[path = "../../zfs-core/tests/corpus/mod.rs"]
mod corpus;
mod digest;
mod dump;
mod flips;
#[path = "../../zfs-core/tests/corpus/seal.rs"]
mod seal;
mod versions;

use helix_zfs::zfs_core::digest::{Digester, Digests};
use helix_zfs::zfs_core::stream::{Observer, SliceReader};

/// The digests of a stream, which must be a good one.
fn digests(bytes: &[u8]) -> Digests {
    let mut digester = Digester::new();
    for record in SliceReader::new(bytes) {
        digester.record(&record.expect("a good record"));
    }
    digester.finish().expect("in order")
}
