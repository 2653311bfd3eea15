//! Scrubs, trims, initialisations, checkpoints, and waiting for them.
