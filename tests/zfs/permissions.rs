//! Delegated permissions.
