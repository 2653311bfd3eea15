//! Streams as data, and their digests, against what real kernels send.

#[path = "../../zfs-core/tests/corpus/mod.rs"]
mod corpus;
mod digest;
mod dump;
mod versions;
