//! The commands of docs/operations.md.
