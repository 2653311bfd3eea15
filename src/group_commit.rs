//! Snapshots for many callers at once, in one transaction.
