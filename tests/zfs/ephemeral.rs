//! Clones that live for a while, and the reaper.
