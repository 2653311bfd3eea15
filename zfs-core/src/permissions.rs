//! Permissions that are delegated to users.
