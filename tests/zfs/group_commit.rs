//! Snapshots of many callers in one transaction.
