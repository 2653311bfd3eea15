//! What belongs to a tenant, and what does not.
