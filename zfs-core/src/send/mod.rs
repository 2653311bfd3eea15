//! Sending snapshots.
