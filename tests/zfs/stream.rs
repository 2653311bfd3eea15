//! Streams as data, and their digests, against what real kernels send.

#[path = "../../zfs-core/tests/corpus/mod.rs"]
mod corpus;
mod dump;
mod versions;
