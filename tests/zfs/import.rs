//! Exporting, finding and importing pools.
