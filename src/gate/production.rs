use zfs_core::props::Source;
use zfs_core::{Dataset, DatasetName, Error, ErrorKind, Guard, Snapshot, Verdict};

use super::audit::AuditKind;
use super::ledger::{Entry, Ledger};
use super::{Operation, ProductionRules};

/// The user property that marks production data.
const PRODUCTION: &str = "helix:production";
const ON: &str = "on";
const OFF: &str = "off";

/// Keeps a ZFS from doing what must not be done with production data.
#[derive(Debug)]
pub(super) struct ProductionGuard {
    pub(super) rules: ProductionRules,
    pub(super) ledger: Ledger,
}

/// Why data is production.
enum Because {
    /// It has the mark.
    Marked,
    /// It is a clone of what has.
    CloneOf(DatasetName),
}

impl ProductionGuard {
    /// Puts it on record when something is refused.
    fn told(&self, operation: Operation, object: &DatasetName, verdict: Verdict) -> Verdict {
        verdict.inspect_err(|why| {
            let entry = Entry {
                kind: AuditKind::Refusal,
                operation,
                actor: None,
                job: None,
                reason: Some(why),
            };
            // It is refused whether or not that can be written.
            let _ = self.ledger.record(entry, &[object]);
        })
    }

    fn is_ephemeral(&self, name: &DatasetName) -> bool {
        self.rules
            .ephemeral_area
            .iter()
            .any(|area| area.is_ancestor_of(name))
    }

    fn may_send(dataset: &Dataset, raw: bool) -> Verdict {
        let Some(because) = production(dataset)? else {
            return Ok(());
        };
        let encrypted = dataset.encryption().map_err(|error| unknown(&error))?;
        match (raw, encrypted.is_some()) {
            (true, true) => Ok(()),
            (false, true) => Err(because.refuse("it is sent in no other than a raw stream")),
            (_, false) => Err(because.refuse("it is not encrypted, and so it is not sent")),
        }
    }
}

impl Because {
    fn refuse(&self, rule: &str) -> String {
        match self {
            Self::Marked => format!("production data: {rule}"),
            Self::CloneOf(name) => format!("production data, a clone of {name}: {rule}"),
        }
    }
}

fn unknown(error: &Error) -> String {
    format!("whether it is production data is not known: {error}")
}

/// Whether the dataset has the mark, and where it has it from; no, if the dataset does not exist, which
/// the kernel then says.
fn mark(dataset: &Dataset) -> Result<Option<Source>, String> {
    let properties = match dataset.properties() {
        Ok(properties) => properties,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unknown(&error)),
    };
    // A word that is not known is more likely a slip than a no.
    Ok(match properties.user(PRODUCTION) {
        None | Some(OFF) => None,
        Some(_) => Some(properties.source(PRODUCTION).unwrap_or(Source::Default)),
    })
}

/// Whether the dataset is production data, and why.
fn production(dataset: &Dataset) -> Result<Option<Because>, String> {
    if mark(dataset)?.is_some() {
        return Ok(Some(Because::Marked));
    }
    Ok(marked_origin(dataset)?.map(Because::CloneOf))
}

/// The nearest of the datasets that it is a clone of which has the mark.
fn marked_origin(dataset: &Dataset) -> Result<Option<DatasetName>, String> {
    let mut clone = dataset.clone();
    loop {
        let origin = match clone.stat() {
            Ok(entry) => entry.origin,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unknown(&error)),
        };
        let Some(origin) = origin else {
            return Ok(None);
        };
        let name = origin.dataset();
        clone = clone
            .zfs()
            .dataset(name.as_str())
            .map_err(|error| unknown(&error))?;
        if mark(&clone)?.is_some() {
            return Ok(Some(name));
        }
    }
}

impl Guard for ProductionGuard {
    fn mount(&self, dataset: &Dataset, name: &DatasetName) -> Verdict {
        let verdict = production(dataset).and_then(|because| match because {
            Some(Because::CloneOf(_)) if self.rules.mount_ephemeral && self.is_ephemeral(name) => {
                Ok(())
            }
            Some(because) => Err(because.refuse("it is not mounted by automation")),
            None => Ok(()),
        });
        self.told(Operation::Mount, name, verdict)
    }

    fn clone_to(&self, snapshot: &Snapshot, target: &DatasetName) -> Verdict {
        let dataset = snapshot.dataset();
        let verdict = production(&dataset).and_then(|because| match because {
            Some(because) if !self.is_ephemeral(target) => Err(because.refuse(&format!(
                "it is not cloned to {target}, outside of the ephemeral area"
            ))),
            _ => Ok(()),
        });
        self.told(Operation::Clone, dataset.name(), verdict)
    }

    fn send(&self, dataset: &Dataset, raw: bool) -> Verdict {
        self.told(
            Operation::Send,
            dataset.name(),
            Self::may_send(dataset, raw),
        )
    }

    fn promote(&self, dataset: &Dataset) -> Verdict {
        // It is a clone of production data, and would not be one any more.
        let verdict = match (mark(dataset), marked_origin(dataset)) {
            (Ok(None), Ok(Some(origin))) => {
                Err(Because::CloneOf(origin).refuse("it is not promoted without a mark of its own"))
            }
            (Err(why), _) | (_, Err(why)) => Err(why),
            _ => Ok(()),
        };
        self.told(Operation::Promote, dataset.name(), verdict)
    }

    fn rename(&self, dataset: &Dataset, to: &DatasetName) -> Verdict {
        let verdict = match mark(dataset) {
            Err(why) => Err(why),
            Ok(Some(Source::Inherited(from))) if !keeps_mark(dataset, to)? => Err(format!(
                "production data by the mark of {from}: it is not renamed to {to}, which has none"
            )),
            Ok(_) => Ok(()),
        };
        self.told(Operation::SetProperties, dataset.name(), verdict)
    }

    fn set(&self, object: &str, name: &str, value: Option<&str>) -> Verdict {
        if name != PRODUCTION || value == Some(ON) {
            return Ok(());
        }
        let verdict = Err(format!("{PRODUCTION} is not taken off by automation"));
        let dataset = object.split('@').next().unwrap_or_default();
        match DatasetName::new(dataset) {
            Ok(dataset) => self.told(Operation::SetProperties, &dataset, verdict),
            Err(_) => verdict,
        }
    }
}

/// Whether a dataset below the parent of `to` inherits the mark.
fn keeps_mark(dataset: &Dataset, to: &DatasetName) -> Result<bool, String> {
    let Some(parent) = to.parent() else {
        return Ok(false);
    };
    let parent = dataset
        .zfs()
        .dataset(parent.as_str())
        .map_err(|error| unknown(&error))?;
    Ok(mark(&parent)?.is_some())
}
