//! Merkle digests of streams and of what they carry.
#![forbid(unsafe_code)]
