//! Devices of a pool: offline, attached, replaced, added, removed, split.
