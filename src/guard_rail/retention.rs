//! Which snapshots stay.
