//! Streams as data, and their digests, against what real kernels send.
