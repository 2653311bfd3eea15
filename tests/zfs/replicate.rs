//! Replication between two pools.
