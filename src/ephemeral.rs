//! Clones that live for a while.
