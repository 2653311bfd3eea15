//! Receiving, in every mode.
