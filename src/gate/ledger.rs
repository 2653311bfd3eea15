use std::collections::BTreeMap;
use std::fmt::Write as _;

use zfs_core::{DatasetName, ErrorKind, Zfs};

use super::Operation;
use super::audit::{AuditAnchor, AuditEvent, AuditKind, AuditLog, AuditMark};

/// The most objects that a line in a pool's history names.
const NAMED: usize = 16;

/// Where the gate puts things on record: its audit log, and the histories of the pools.
#[derive(Clone, Debug)]
pub(super) struct Ledger {
    pub(super) zfs: Zfs,
    pub(super) audit: AuditLog,
}

/// What is to be put on record, of each of several objects.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'a> {
    pub(super) kind: AuditKind,
    pub(super) operation: Operation,
    pub(super) actor: Option<&'a str>,
    pub(super) job: Option<&'a str>,
    pub(super) reason: Option<&'a str>,
}

impl Ledger {
    /// Returns when the records are on disk; why not, if they could not be written.
    pub(super) fn record(&self, entry: Entry<'_>, objects: &[&DatasetName]) -> Result<(), String> {
        let event = |object: Option<&DatasetName>| AuditEvent {
            kind: entry.kind,
            operation: Some(entry.operation),
            object: object.map(ToString::to_string),
            actor: entry.actor.map(str::to_owned),
            job: entry.job.map(str::to_owned),
            reason: entry.reason.map(str::to_owned),
        };
        let events = match objects {
            [] => vec![event(None)],
            _ => objects.iter().map(|object| event(Some(object))).collect(),
        };
        let marks = self
            .audit
            .append(events)
            .map_err(|error| error.to_string())?;
        let mut pools: BTreeMap<&str, Vec<(&DatasetName, AuditMark)>> = BTreeMap::new();
        for (object, mark) in objects.iter().zip(marks) {
            pools.entry(object.pool()).or_default().push((object, mark));
        }
        pools
            .into_iter()
            .try_for_each(|(pool, objects)| self.note(pool, entry, &objects))
    }

    /// One line in the history of `pool`. It has the mark of the last record, which is chained to all
    /// before.
    fn note(
        &self,
        pool: &str,
        entry: Entry<'_>,
        objects: &[(&DatasetName, AuditMark)],
    ) -> Result<(), String> {
        let Some((_, mark)) = objects.last() else {
            return Ok(());
        };
        let Entry {
            kind, operation, ..
        } = entry;
        let anchor = AuditAnchor::words(self.audit.id(), *mark);
        let mut line = format!("{anchor}: {kind} {operation}");
        for (object, _) in objects.iter().take(NAMED) {
            let _infallible = write!(line, " {object}");
        }
        if let Some(more) = objects.len().checked_sub(NAMED + 1) {
            let _infallible = write!(line, " (and {} more)", more + 1);
        }
        if let Some(actor) = entry.actor {
            let _infallible = write!(line, " by {actor}");
        }
        if let Some(job) = entry.job {
            let _infallible = write!(line, " (job {job})");
        }
        if let Some(reason) = entry.reason {
            let _infallible = write!(line, ": {reason}");
        }
        let noted = self.zfs.pool(pool).and_then(|pool| pool.add_history(&line));
        match noted {
            Err(error) if !has_no_history(error.kind()) => Err(error.to_string()),
            _ => Ok(()),
        }
    }
}

/// Of a pool that nothing can be written to. It cannot be changed either, and what is to be done with
/// it fails by itself, or only reads.
fn has_no_history(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::NotFound
            | ErrorKind::ReadOnlyPool
            | ErrorKind::PoolSuspended
            | ErrorKind::Unsupported
    )
}
