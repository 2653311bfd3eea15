//! Which of the snapshots that a node took stay.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::SystemTime;

use zfs_core::{SnapshotEntry, SnapshotFilter, SnapshotName};

use crate::gate::{Capability, Operation};
use crate::replicate::target::{Permit, Target};
use crate::{Keep, RailInfo, Retention, Step};

use super::change::Steps;
use super::fence::SnapshotMark;
use super::{ReplicaChange, ReplicaError, Site, SiteRole};

/// What the names of the snapshots begin with that a node takes of its data.
const PREFIX: &str = "helix-replica-";
/// How many go at once: who destroys thousands renews no lease meanwhile.
const MOST: usize = 64;

/// The name of a snapshot that a node takes now.
pub(super) fn short_name(now: SystemTime) -> String {
    let now = humantime::format_rfc3339_millis(now).to_string();
    format!("{PREFIX}{}", now.replace([':', '.'], "-"))
}

/// When a snapshot was taken, if a node took it. A replica that had the name already has added its
/// GUID.
fn taken(short: &str) -> Option<SystemTime> {
    let (date, rest) = short.strip_prefix(PREFIX)?.split_once('T')?;
    let (clock, suffix) = rest.split_once('Z')?;
    let guid = suffix.strip_prefix('-').map(|guid| {
        let digits = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        guid.len() == 16 && guid.bytes().all(digits)
    });
    let clock = clock.replacen('-', ":", 2).replacen('-', ".", 1);
    let time = humantime::parse_rfc3339(&format!("{date}T{clock}Z")).ok()?;
    // One that only looks like it was somebody else's.
    let ours = short.strip_suffix(suffix) == Some(short_name(time).as_str());
    (ours && guid.unwrap_or(suffix.is_empty())).then_some(time)
}

impl Site {
    /// Destroys those of the snapshots that a [`Node`](super::Node) took, of any node of the group,
    /// which `keep` does not keep and which are among the `dispensable`: see
    /// [`Machine::dispensable`](super::Machine::dispensable). Returns those that are gone, oldest
    /// first; of very many only some go at once.
    ///
    /// The newest stays, and so does the one that this site was promoted at. What somebody holds, or
    /// has cloned, stays until nobody does. Snapshots of other names are nobody's but their owner's.
    ///
    /// # Errors
    ///
    /// [`Role`](ReplicaError::Role) when it is neither a source nor a replica; `Busy` of replication
    /// when a run is at work; `Held`, `HasClones` or `Busy` when none of them could go, because they are
    /// being sent, for example; what ZFS says. Nothing was destroyed then.
    ///
    /// # Privileges
    ///
    /// Root, or the delegated permissions `destroy` and `mount` on the data; of a replica, those of
    /// [`Replicator::pull`](crate::replicate::Replicator::pull) besides.
    pub fn prune(
        &self,
        capability: &Capability,
        keep: &Keep,
        dispensable: &[SnapshotMark],
        observe: &mut dyn FnMut(Step<'_, ReplicaChange>),
    ) -> Result<Vec<SnapshotMark>, ReplicaError> {
        let state = self.state()?;
        match state.role {
            SiteRole::Source | SiteRole::Promoted | SiteRole::Replica => {}
            _ => return Err(state.cannot("pruned")),
        }
        let dataset = self.zfs.dataset(state.dataset.as_str())?;
        let entries = dataset.snapshots(&SnapshotFilter::new())?;
        let mut infos = Vec::new();
        let mut ours = HashMap::new();
        for entry in &entries {
            let short = entry.name.short();
            if let Some(taken) = taken(short) {
                ours.insert(short, entry);
                infos.push(RailInfo {
                    name: short.to_owned(),
                    txg: entry.create_txg,
                    taken,
                    reason: None,
                    tags: BTreeSet::new(),
                });
            }
        }
        let dispensable: HashSet<u64> = dispensable.iter().map(|mark| mark.guid).collect();
        let plan = Retention::new(keep.clone()).plan(&infos, SystemTime::now());
        let mut going: Vec<&SnapshotEntry> = Vec::new();
        for info in &plan.remove {
            let Some(entry) = ours.get(info.name.as_str()) else {
                continue;
            };
            let needed = entry.clones > 0
                || Some(entry.guid) == state.base
                || !dispensable.contains(&entry.guid);
            if needed || !dataset.snapshot(&info.name)?.holds()?.is_empty() {
                continue;
            }
            going.push(entry);
            if going.len() == MOST {
                break;
            }
        }
        if going.is_empty() {
            return Ok(Vec::new());
        }
        let operation = Operation::Retain;
        capability.allow(operation, &state.dataset)?;
        // No run of another process looks at the chain meanwhile.
        let _target = match state.role {
            SiteRole::Replica => {
                let permit = Permit {
                    capability,
                    operation,
                };
                Some(Target::open(permit, &self.zfs, self.target())?)
            }
            _ => None,
        };
        let mut steps = Steps {
            capability,
            operation,
            observe,
        };
        loop {
            let names: Vec<SnapshotName> = going.iter().map(|entry| entry.name.clone()).collect();
            let change = ReplicaChange::Prune {
                dataset: state.dataset.clone(),
                snapshots: names.clone(),
            };
            let error = match steps.take(change, || self.zfs.destroy_snapshots(&names)) {
                Err(ReplicaError::Zfs(error)) => error,
                Err(error) => return Err(error),
                Ok(()) => break,
            };
            // All of them stay then. One that is being sent, or browsed, keeps no other.
            let failed = |entry: &SnapshotEntry| {
                let mut failures = error.failures().iter();
                failures.any(|failure| failure.name == entry.name.as_str())
            };
            going.retain(|entry| !failed(entry));
            if going.is_empty() || going.len() == names.len() {
                return Err(error.into());
            }
        }
        let gone = going.iter().map(|entry| SnapshotMark {
            guid: entry.guid,
            name: entry.name.short().to_owned(),
        });
        Ok(gone.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_in_the_name_of_what_a_node_took() {
        let time = humantime::parse_rfc3339("2026-11-23T13:22:07.123Z").unwrap();
        let short = short_name(time);
        assert_eq!(short, "helix-replica-2026-11-23T13-22-07-123Z");
        assert_eq!(taken(&short), Some(time));
        assert_eq!(taken(&format!("{short}-00d2a1ffffffff0e")), Some(time));
        for other in [
            "",
            "helix-replica-",
            "helix-replica-undo",
            "helix-replica-diverged",
            "helix-replica-2026-11-23",
            "helix-replica-2026-11-23T13-22-07Z",
            "helix-replica-2026-11-23T13:22:07.123Z",
            "helix-replica-2026-13-23T13-22-07-123Z",
            "helix-replica-2026-11-23T13-22-07-123Z-00d2a1ffffffff0",
            "helix-replica-2026-11-23T13-22-07-123Z-before-the-upgrade",
            "helix-replica-2026-11-23T13-22-07-123Zé",
            "2026-11-23T13-22-07-123Z",
            "x-helix-replica-2026-11-23T13-22-07-123Z",
        ] {
            assert_eq!(taken(other), None, "{other}");
        }
    }
}
