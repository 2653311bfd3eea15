//! Rollbacks of a tenant.
