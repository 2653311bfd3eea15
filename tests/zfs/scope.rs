//! What a tenant reaches, and what not.
