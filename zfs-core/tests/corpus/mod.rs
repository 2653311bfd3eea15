//! Real streams, made by the `zfs` command of each version (`cargo xtask corpus`), and what the
//! `zstream dump` of that version says of them.
//!
//! Test programs take this in with `#[path = "…/zfs-core/tests/corpus/mod.rs"] mod corpus;`.
#![allow(dead_code, reason = "no test needs all of it")]
#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

use std::io::Read;

/// A stream, and what is known of it from others than us.
#[derive(Debug)]
pub(crate) struct Stream {
    /// The version that made it: `2.1`, `2.3` or `2.4`.
    pub(crate) version: &'static str,
    /// The name, for the same kind of stream the same in all versions.
    pub(crate) name: &'static str,
    /// What is special about it.
    pub(crate) what: &'static str,
    /// The command that made it.
    pub(crate) command: &'static str,
    /// The stream of the same version that must be received before.
    pub(crate) base: Option<&'static str>,
    /// The snapshot that a receiver has at the end, without its dataset; `None` where the stream
    /// cannot be received by itself.
    pub(crate) snapshot: Option<&'static str>,
    /// A hash of the files of that snapshot, see the script. Equal for all versions.
    pub(crate) contents: Option<&'static str>,
    /// The `receive_resume_token` that it came of, or that led to it.
    pub(crate) token: Option<&'static str>,
    /// In bytes.
    pub(crate) length: u64,
    /// The bytes that are not record headers.
    pub(crate) payload: u64,
    /// How many records, by the number of the type.
    pub(crate) records: [u64; 11],
    /// The BEGIN records, in their order.
    pub(crate) begins: &'static [Begin],
    /// The stream, packed by gzip.
    pub(crate) packed: &'static [u8],
}

/// A BEGIN record.
#[derive(Debug)]
pub(crate) struct Begin {
    /// 1 for a stream of its own, 2 for the head of a compound stream.
    pub(crate) kind: u64,
    pub(crate) features: u64,
    /// In seconds since 1970.
    pub(crate) creation_time: u64,
    /// The type of the object set: 2 a filesystem, 3 a volume.
    pub(crate) objset: u32,
    pub(crate) flags: u32,
    pub(crate) to_guid: u64,
    /// 0 in full streams.
    pub(crate) from_guid: u64,
    pub(crate) to_name: &'static str,
    /// The length of its payload in bytes.
    pub(crate) payload: u32,
}

/// The passphrase of the encrypted datasets.
pub(crate) const PASSPHRASE: &str = "corpus-passphrase";

const BY_VERSION: [&[Stream]; 3] = [
    include!("2.1/index.rs"),
    include!("2.3/index.rs"),
    include!("2.4/index.rs"),
];

/// Every stream of every version.
pub(crate) fn streams() -> impl Iterator<Item = &'static Stream> {
    BY_VERSION.into_iter().flatten()
}

/// The stream of this name and version.
pub(crate) fn stream(version: &str, name: &str) -> &'static Stream {
    streams()
        .find(|stream| stream.version == version && stream.name == name)
        .unwrap_or_else(|| panic!("the corpus has no stream {name} of {version}"))
}

impl Stream {
    /// The stream itself.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        flate2::read::GzDecoder::new(self.packed)
            .read_to_end(&mut bytes)
            .expect("a whole gzip file");
        assert_eq!(bytes.len() as u64, self.length);
        bytes
    }

    /// Whether it is a package of several streams, which no kernel takes as it is.
    pub(crate) fn is_compound(&self) -> bool {
        self.begins.first().is_some_and(|begin| begin.kind == 2)
    }
}
