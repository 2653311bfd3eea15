//! Which guard rails stay.
