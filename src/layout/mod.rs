//! The storage of a cluster as one description, and the way from what is there to it.
