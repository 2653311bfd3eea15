//! Replication that cannot promote bad data.
