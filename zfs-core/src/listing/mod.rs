//! Listing many datasets and snapshots.
