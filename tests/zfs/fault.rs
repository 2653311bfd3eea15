//! Damage, missing devices and suspended pools.
