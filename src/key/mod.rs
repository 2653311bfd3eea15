//! Keys of tenants, from where they are kept.
