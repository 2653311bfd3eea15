use std::collections::BTreeMap;

use zfs_core::program::ChannelProgram;
use zfs_core::props::{Properties, UserProps};
use zfs_core::{Dataset, DatasetName, Result, Zfs};

use super::{RollbackError, RollbackOptions, RollbackPlan};
use crate::gate::{Capability, Operation};
use crate::guard_rail::change::own_property;

/// The user property that says what a dataset is being rolled back to.
pub(super) const ROLLBACK: &str = "helix:rollback";

/// Marks all datasets, or none, for their number is checked first.
const MARK: &str = "
local args = ...
for _, name in ipairs(args.datasets) do
    if not zfs.exists(name) then return name end
end
for _, name in ipairs(args.datasets) do
    local failed
    if args.value then
        failed = zfs.sync.set_prop(name, args.property, args.value)
    else
        failed = zfs.sync.inherit(name, args.property)
    end
    if failed ~= 0 then error(name .. ': error ' .. failed) end
end";

/// A rollback that was begun: of which point, and under which name the discarded state is kept.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Intent {
    pub(super) txg: u64,
    pub(super) point: String,
    pub(super) keep: Option<String>,
}

impl Intent {
    /// As it is written on a dataset. No name has an `@`.
    pub(super) fn to_value(&self) -> String {
        let keep = self.keep.as_deref();
        let keep = keep.map(|keep| format!("@{keep}")).unwrap_or_default();
        format!("{}@{}{keep}", self.txg, self.point)
    }

    fn parse(value: &str) -> Option<Self> {
        let mut parts = value.split('@');
        let intent = Self {
            txg: parts.next()?.parse().ok()?,
            point: parts.next()?.to_owned(),
            keep: parts.next().map(str::to_owned),
        };
        parts.next().is_none().then_some(intent)
    }

    pub(super) fn read(props: &Properties) -> Option<Self> {
        Self::parse(own_property(props, ROLLBACK)?)
    }

    /// Writes it on all of these datasets of one pool, in one transaction group.
    pub(super) fn mark(&self, zfs: &Zfs, datasets: &[&DatasetName]) -> Result<(), RollbackError> {
        if let [dataset] = datasets {
            let props = UserProps::new().set(ROLLBACK, &self.to_value())?;
            return Ok(zfs.dataset(dataset.as_str())?.set_user(&props)?);
        }
        run(zfs, datasets, Some(&self.to_value()))
    }
}

/// Takes the mark off all of these datasets of one pool, in one transaction group.
pub(super) fn unmark(zfs: &Zfs, datasets: &[&DatasetName]) -> Result<(), RollbackError> {
    if let [dataset] = datasets {
        return Ok(zfs.dataset(dataset.as_str())?.inherit(ROLLBACK)?);
    }
    run(zfs, datasets, None)
}

fn run(zfs: &Zfs, datasets: &[&DatasetName], value: Option<&str>) -> Result<(), RollbackError> {
    let Some(first) = datasets.first() else {
        return Ok(());
    };
    let names: Vec<&str> = datasets.iter().map(|name| name.as_str()).collect();
    let mut program = ChannelProgram::new(MARK)
        .argument("datasets", names.as_slice())
        .argument("property", ROLLBACK);
    if let Some(value) = value {
        program = program.argument("value", value);
    }
    let result = zfs.pool(first.pool())?.run_program(&program)?;
    match result.text() {
        Some(missing) => Err(RollbackError::Changed(missing.to_owned())),
        None => Ok(()),
    }
}

/// A rollback that was begun and not ended: its process died, or some of its datasets could not be
/// rolled back.
#[derive(Clone, Debug)]
pub struct UnfinishedRollback {
    zfs: Zfs,
    intent: Intent,
    datasets: Vec<DatasetName>,
}

impl UnfinishedRollback {
    /// Those of `parent` and the datasets below it.
    ///
    /// # Errors
    ///
    /// `NotFound` when `parent` does not exist; `PoolSuspended`.
    ///
    /// # Privileges
    ///
    /// None.
    pub fn list(parent: &Dataset) -> Result<Vec<Self>> {
        let mut found: BTreeMap<Intent, Vec<DatasetName>> = BTreeMap::new();
        for dataset in crate::guard_rail::find::with_descendants(parent)? {
            let props = match dataset.properties() {
                Ok(props) => props,
                // It was destroyed meanwhile.
                Err(error)
                    if error.kind() == zfs_core::ErrorKind::NotFound
                        && dataset.name() != parent.name() =>
                {
                    continue;
                }
                Err(error) => return Err(error),
            };
            if let Some(intent) = Intent::read(&props) {
                found
                    .entry(intent)
                    .or_default()
                    .push(dataset.name().clone());
            }
        }
        let unfinished = |(intent, datasets)| Self {
            zfs: parent.zfs().clone(),
            intent,
            datasets,
        };
        Ok(found.into_iter().map(unfinished).collect())
    }

    /// The short name of the snapshot that is rolled back to.
    #[must_use]
    pub fn point(&self) -> &str {
        &self.intent.point
    }

    /// The datasets of the set. All of them had been marked before any was rolled back.
    #[must_use]
    pub fn datasets(&self) -> &[DatasetName] {
        &self.datasets
    }

    /// What finishing it would lose, from now on: data that were written after it was interrupted
    /// are lost too. [Carrying it out](RollbackPlan::carry_out) finishes it. What the first run was
    /// allowed to destroy has to be allowed again if it is still there.
    ///
    /// # Errors
    ///
    /// As [`RollbackPlan::of`].
    pub fn plan(&self) -> Result<RollbackPlan, RollbackError> {
        RollbackPlan::of(&self.zfs, &self.datasets, self.point())
    }

    /// The options that keep the discarded state under the name that it was begun with. It is kept
    /// already.
    #[must_use]
    pub fn options(&self) -> RollbackOptions {
        match &self.intent.keep {
            Some(keep) => RollbackOptions::new().keep(keep),
            None => RollbackOptions::new(),
        }
    }

    /// Leaves everything as it is, and forgets that it was begun. Datasets that were rolled back
    /// stay so.
    ///
    /// The capability has to be for [`RollBack`](Operation::RollBack) of each of its datasets.
    ///
    /// # Errors
    ///
    /// [`RollbackError::Refused`]; [`RollbackError::Changed`] when a dataset is gone; `PermissionDenied`; `ReadOnlyPool`,
    /// `PoolSuspended`.
    ///
    /// # Privileges
    ///
    /// Root; for a single dataset the delegated permission `userprop` is enough.
    pub fn abandon(&self, capability: &Capability) -> Result<(), RollbackError> {
        capability.allow_all(Operation::RollBack, &self.datasets)?;
        let datasets: Vec<&DatasetName> = self.datasets.iter().collect();
        unmark(&self.zfs, &datasets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_intent_is_read_as_it_was_written() {
        for keep in [None, Some("before 42".to_owned())] {
            let intent = Intent {
                txg: 7,
                point: "deploy 42".to_owned(),
                keep,
            };
            assert_eq!(Intent::parse(&intent.to_value()), Some(intent));
        }
        for foreign in ["", "7", "x@a", "7@a@b@c", "-1@a"] {
            assert_eq!(Intent::parse(foreign), None, "{foreign}");
        }
    }
}
