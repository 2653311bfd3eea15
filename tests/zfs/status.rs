//! The status of pools in many situations.
