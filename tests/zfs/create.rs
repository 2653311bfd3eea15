//! Creating and destroying pools.
