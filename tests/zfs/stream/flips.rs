//! One bit of a stream changed on its way, by accident and with the checksums made right again.

use std::io::{Read, Seek, Write};

use helix_zfs::zfs_core::ErrorKind;
use helix_zfs::zfs_core::digest::{ContentDifference, Difference, Manifest};
use helix_zfs::zfs_core::receive::ReceiveOptions;
use helix_zfs::zfs_core::send::SendOptions;

use super::{corpus, digests, seal};
use crate::support::Scratch;

/// The kernel refuses the one and takes the other: the digests refuse both, and name the block, in
/// the stream as it came and in what the target then sends of it.
#[test]
fn what_no_checksum_tells_the_digests_tell() {
    let scratch = Scratch::new("flips");
    for (name, options) in [
        ("full", SendOptions::full()),
        ("raw", SendOptions::full().raw()),
    ] {
        let dataset = scratch.child(name).unwrap();
        let original = corpus::stream("2.1", name).bytes();
        let places = seal::places(&original);
        // A block of a plain file.
        let place = places
            .iter()
            .rfind(|place| place.kind == 3 && original[place.at + 16] == 19)
            .expect("a file has data");
        let number = |at: usize| {
            let bytes = original[place.at + at..].first_chunk().expect("a header");
            u64::from_le_bytes(*bytes)
        };
        let block = (number(8), number(24));
        let mut damaged = original.clone();
        damaged[place.payload.start + 100] ^= 0x10;

        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&damaged).unwrap();
        file.rewind().unwrap();
        let by_the_kernel = dataset
            .receive_from(&file, &ReceiveOptions::new())
            .expect_err("its checksum is wrong");
        let by_us = dataset
            .receive(damaged.as_slice(), &ReceiveOptions::new())
            .expect_err("its checksum is wrong");
        assert_eq!(by_the_kernel.kind(), ErrorKind::Corrupt, "{by_the_kernel}");
        assert_eq!(by_us.kind(), ErrorKind::Corrupt, "{by_us}");
        assert!(!dataset.exists().unwrap());

        seal::seal(&mut damaged);
        let received = dataset
            .receive(damaged.as_slice(), &ReceiveOptions::new())
            .expect("every checksum is right");

        let source = digests(&original);
        let manifest = Manifest::new(&source)
            .unwrap()
            .with_chunks(&source, 1 << 10);
        let mismatch = manifest.verify(&digests(&damaged)).unwrap_err();
        let ranges = mismatch
            .differences()
            .iter()
            .find_map(|difference| match difference {
                Difference::Transport { ranges, .. } => Some(ranges),
                _ => None,
            })
            .expect("other bytes");
        let at = place.payload.start as u64;
        assert!(ranges.iter().any(|range| range.contains(&at)), "{ranges:?}");

        let mut again = Vec::new();
        let mut sent = received.snapshot.send(&options).unwrap();
        sent.read_to_end(&mut again).unwrap();
        let target = digests(&again);
        manifest.verify_content(&target).unwrap_err();
        let (source, target) = (source.content().unwrap(), target.content().unwrap());
        assert_eq!(
            source.differences(target),
            [ContentDifference::Blocks {
                first: block,
                last: block
            }],
            "{name}"
        );
    }
}
