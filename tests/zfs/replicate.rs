//! Replication: what readers see is what the source has, whatever happens.

mod channel;
mod chaos;
mod damage;
mod pair;
mod problems;
mod recovery;
mod runs;

use channel::{Disturbance, Disturbed, Forged, MESSAGE};
use pair::{Pair, Readers};
