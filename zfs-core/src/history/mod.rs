//! A pool's history: what was done to it, by whom and when.

mod write;
