//! How much can be written, and which limit binds.
