//! The rest of libzfs_core.
