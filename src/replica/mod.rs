//! Read replicas that follow their source, and take its place.
