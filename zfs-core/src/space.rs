//! Space that snapshots take.
