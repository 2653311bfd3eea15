//! A safe, typed interface to OpenZFS.
