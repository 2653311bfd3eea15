//! Guard rails, and rollback of sets.
