//! Whether anything was written to a dataset since a snapshot of it.

use zfs_core::diff::ChangeKind;
use zfs_core::props::{KeyStatus, UserProps};
use zfs_core::{Dataset, DatasetKind, ErrorKind, Snapshot, SnapshotFilter, Written};

use super::change::Steps;
use super::{ReplicaChange, ReplicaError};

/// The greatest size of the block that describes a filesystem or volume. ZFS writes that one anew when
/// it was rolled back, or cloned. Whatever changes a file or a volume's data changes a block of 16 KiB
/// besides, which describes objects.
const OBJSET: u64 = 4096;

/// Whether no object was written.
pub(super) fn is_nothing(written: &Written) -> bool {
    written.uncompressed <= OBJSET
}

/// Looks for what is in `dataset`, which is read-only, and not in `base`: the first change, in words.
///
/// A snapshot `short` is left behind, so that what is decided on is what was looked at.
///
/// What only reading has changed, the times of access and what ZFS notes about a mount, is no
/// change. Whatever cannot be found out is one.
pub(super) fn since(
    steps: &mut Steps<'_>,
    dataset: &Dataset,
    base: &Snapshot,
    short: &str,
) -> Result<(Snapshot, Option<String>), ReplicaError> {
    let probe = take(steps, dataset, short)?;
    let change = find(dataset, base, &probe)?;
    Ok((probe, change))
}

/// Takes the snapshot `short` of a dataset that is read-only. One that an earlier run took has the
/// same in it.
pub(super) fn take(
    steps: &mut Steps<'_>,
    dataset: &Dataset,
    short: &str,
) -> Result<Snapshot, ReplicaError> {
    let snapshot = dataset.snapshot(short)?;
    let change = ReplicaChange::Snapshot {
        snapshot: snapshot.name().clone(),
    };
    steps.take(change, || match snapshot.create(&UserProps::new()) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        outcome => outcome,
    })?;
    Ok(snapshot)
}

fn find(
    dataset: &Dataset,
    base: &Snapshot,
    probe: &Snapshot,
) -> Result<Option<String>, ReplicaError> {
    let after = base.stat()?.create_txg;
    let newer = dataset.snapshots(&SnapshotFilter::new().min_txg(after.saturating_add(1)))?;
    if let Some(newer) = newer.iter().find(|entry| entry.name != *probe.name()) {
        return Ok(Some(format!("the snapshot {}", newer.name)));
    }
    let written = probe.written_since(base.name())?;
    if is_nothing(&written) {
        return Ok(None);
    }
    let bytes = Some(format!("{} bytes", written.used));
    if dataset.kind()? == DatasetKind::Volume {
        return Ok(bytes);
    }
    if dataset
        .encryption()?
        .is_some_and(|encryption| encryption.key != KeyStatus::Available)
    {
        return Ok(bytes);
    }
    match base.diff(probe)?.next() {
        None => Ok(None),
        Some(Ok(change)) => Ok(Some(words(&change.kind))),
        Some(Err(error)) => Ok(Some(error.to_string())),
    }
}

fn words(kind: &ChangeKind) -> String {
    match kind {
        ChangeKind::Added(path) => format!("{path} was added"),
        ChangeKind::Removed(path) => format!("{path} was removed"),
        ChangeKind::Modified(path) => format!("{path} was modified"),
        ChangeKind::Renamed { from, to } => format!("{from} was renamed to {to}"),
        ChangeKind::Links { path, .. } => format!("{path} has other links"),
        _ => String::from("a file was changed"),
    }
}
