//! The kernel's statistics.
