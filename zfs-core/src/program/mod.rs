//! Channel programs.
