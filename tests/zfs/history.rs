//! A pool's history.
