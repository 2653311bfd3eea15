//! The subcommands, one a module.

pub(crate) mod audit;
pub(crate) mod clone;
pub(crate) mod gate;
pub(crate) mod guard;
pub(crate) mod key;
pub(crate) mod layout;
pub(crate) mod quota;
pub(crate) mod replica;
pub(crate) mod replicate;
pub(crate) mod retain;
pub(crate) mod status;
mod stored_key;
pub(crate) mod tenant;
