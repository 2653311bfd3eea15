//! Receiving streams.
