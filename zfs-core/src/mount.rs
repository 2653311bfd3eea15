//! Mounting and unmounting filesystems.
