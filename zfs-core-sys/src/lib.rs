//! Raw bindings of libzfs_core.
