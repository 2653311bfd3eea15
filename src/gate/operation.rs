use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What a [`Capability`](super::Capability) is for: one of the control plane's operations that
/// change something, or let data out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Operation {
    /// Creates a tenant.
    CreateTenant,
    /// Loads keys of tenants.
    LoadKey,
    /// Unloads keys of tenants.
    UnloadKey,
    /// Gives a tenant another key, or finishes that.
    RotateKey,
    /// Takes snapshots.
    Snapshot,
    /// Takes a guard rail, or holds one again.
    TakeGuardRail,
    /// Removes a guard rail.
    RemoveGuardRail,
    /// Removes the guard rails, or a replicated group's snapshots, that a retention does not keep.
    Retain,
    /// Rolls datasets back, or abandons a rollback that did not end.
    RollBack,
    /// Clones within a tenant, be it one dataset or a staging.
    Clone,
    /// Promotes a clone or a staging.
    Promote,
    /// Destroys a staging.
    Destroy,
    /// Makes an ephemeral clone, which its owner may use, extend and remove.
    CloneEphemeral,
    /// Extends or removes an ephemeral clone that was found.
    ChangeEphemeral,
    /// Removes ephemeral clones that have expired.
    Reap,
    /// Applies a layout.
    ApplyLayout,
    /// Sets properties, quotas among them.
    SetProperties,
    /// Mounts a dataset.
    Mount,
    /// Sends to a replica.
    Send,
    /// Receives into a replica.
    Receive,
    /// Makes a replica the writable source, or takes that back.
    PromoteReplica,
    /// Makes a former source a replica of the new one.
    RebuildReplica,
}

impl Operation {
    /// All operations.
    pub const ALL: [Self; 22] = [
        Self::CreateTenant,
        Self::LoadKey,
        Self::UnloadKey,
        Self::RotateKey,
        Self::Snapshot,
        Self::TakeGuardRail,
        Self::RemoveGuardRail,
        Self::Retain,
        Self::RollBack,
        Self::Clone,
        Self::Promote,
        Self::Destroy,
        Self::CloneEphemeral,
        Self::ChangeEphemeral,
        Self::Reap,
        Self::ApplyLayout,
        Self::SetProperties,
        Self::Mount,
        Self::Send,
        Self::Receive,
        Self::PromoteReplica,
        Self::RebuildReplica,
    ];

    /// Its name in records and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::CreateTenant => "create-tenant",
            Self::LoadKey => "load-key",
            Self::UnloadKey => "unload-key",
            Self::RotateKey => "rotate-key",
            Self::Snapshot => "snapshot",
            Self::TakeGuardRail => "take-guard-rail",
            Self::RemoveGuardRail => "remove-guard-rail",
            Self::Retain => "retain",
            Self::RollBack => "roll-back",
            Self::Clone => "clone",
            Self::Promote => "promote",
            Self::Destroy => "destroy",
            Self::CloneEphemeral => "clone-ephemeral",
            Self::ChangeEphemeral => "change-ephemeral",
            Self::Reap => "reap",
            Self::ApplyLayout => "apply-layout",
            Self::SetProperties => "set-properties",
            Self::Mount => "mount",
            Self::Send => "send",
            Self::Receive => "receive",
            Self::PromoteReplica => "promote-replica",
            Self::RebuildReplica => "rebuild-replica",
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// No operation of the control plane has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no operation of the gate")]
pub struct UnknownOperation(String);

impl FromStr for Operation {
    type Err = UnknownOperation;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|operation| operation.name() == name)
            .ok_or_else(|| UnknownOperation(name.to_owned()))
    }
}
