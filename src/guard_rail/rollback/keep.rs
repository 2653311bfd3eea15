//! How a discarded state is kept.
//!
//! The kernel does not roll back below a snapshot that has a clone, so that the present state cannot
//! simply be cloned. Cloning the point, promoting that clone and exchanging the names would take no
//! time; but it would give the dataset another identity, without its properties and permissions,
//! leave it without the key if it is an encryption root, and need everything unmounted. So what was
//! written since the point is sent, once, into a clone of the point.

use zfs_core::props::{CanMount, Properties, ReadOnly, UserProps};
use zfs_core::receive::ReceiveOptions;
use zfs_core::send::SendOptions;
use zfs_core::{Dataset, DatasetKind, DatasetName, ErrorKind, Snapshot, SnapshotName, Zfs};

use super::plan::{Loss, RollbackPlan};
use super::{Obstacle, RollbackChange, RollbackError};
use crate::Step;
use crate::gate::{Capability, Operation};
use crate::guard_rail::change::own_property;
use crate::guard_rail::told;

/// The user property of what is kept: the point that was rolled back to.
const KEPT: &str = "helix:kept";

fn mark(txg: u64, point: &str) -> String {
    format!("{txg}@{point}")
}

fn is_ours(props: &Properties, txg: u64, point: &str) -> bool {
    own_property(props, KEPT) == Some(mark(txg, point).as_str())
}

/// Whether a snapshot was made to keep the state that a rollback to this point discards.
pub(super) fn is_marked(zfs: &Zfs, name: &SnapshotName, txg: u64, point: &str) -> bool {
    let props = zfs
        .snapshot(name.as_str())
        .and_then(|snapshot| snapshot.properties());
    props.is_ok_and(|props| is_ours(&props, txg, point))
}

/// The clones that an earlier run made, if it died after that.
pub(super) fn kept_before(plan: &RollbackPlan) -> Result<Vec<DatasetName>, RollbackError> {
    let kept = |loss: &Loss| Some((loss.clone(), loss.intent.clone()?.keep?));
    let kept = plan.losses.iter().filter_map(kept);
    kept.map(|(loss, keep)| clone_of(&loss, &keep)).collect()
}

/// Where the state of a dataset is kept.
pub(super) fn clone_of(loss: &Loss, keep: &str) -> Result<DatasetName, RollbackError> {
    Ok(match loss.kind {
        DatasetKind::Volume => DatasetName::new(&format!("{}-{keep}", loss.dataset))?,
        _ => loss.dataset.child(keep)?,
    })
}

/// What is there already under the names that are wanted. What an earlier run left that died is not
/// in the way.
pub(super) fn names_taken(plan: &RollbackPlan, keep: &str) -> Result<Vec<Obstacle>, RollbackError> {
    let mut taken = Vec::new();
    let mut obstruct = |name: String| taken.push(Obstacle::NameTaken { name });
    for loss in &plan.losses {
        let clone = plan.zfs.dataset(clone_of(loss, keep)?.as_str())?;
        let snapshot = plan.zfs.dataset(loss.dataset.as_str())?.snapshot(keep)?;
        let left = leftover(plan, &snapshot)?;
        if snapshot.exists()? && left.is_none() {
            obstruct(snapshot.name().to_string());
        }
        if clone.exists()? && !is_copy(plan, loss, &clone, keep, left)? {
            obstruct(clone.name().to_string());
        }
    }
    Ok(taken)
}

/// The GUID of the snapshot, if an earlier run made it.
fn leftover(plan: &RollbackPlan, snapshot: &Snapshot) -> Result<Option<u64>, RollbackError> {
    match snapshot.properties() {
        Ok(props) => Ok(is_ours(&props, plan.txg, &plan.point).then(|| props.guid())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Whether `clone` is a copy of the state in the snapshot that an earlier run made and that is still
/// there, so that nothing is lost with the copy.
fn is_copy(
    plan: &RollbackPlan,
    loss: &Loss,
    clone: &Dataset,
    keep: &str,
    left: Option<u64>,
) -> Result<bool, RollbackError> {
    let props = clone.properties()?;
    let origin = loss.dataset.snapshot(&plan.point)?;
    if left.is_none() || !is_ours(&props, plan.txg, &plan.point) || props.origin() != Some(origin) {
        return Ok(false);
    }
    match clone.snapshot(keep)?.stat() {
        Ok(entry) => Ok(Some(entry.guid) == left),
        // It was being given up.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error.into()),
    }
}

/// Keeps the present state of every dataset, and returns the clones and the snapshots of the states.
/// What an earlier run had begun is given up and begun anew, for more may have been written since.
pub(super) fn keep(
    capability: &Capability,
    plan: &RollbackPlan,
    keep: &str,
    observer: &mut dyn FnMut(Step<'_, RollbackChange>),
) -> Result<(Vec<DatasetName>, Vec<SnapshotName>), RollbackError> {
    drop_leftovers(Some(capability), plan, keep, observer)?;
    let kept = keep_anew(capability, plan, keep, observer);
    if kept.is_err() {
        // If this fails too, the next run does it. What is taken back needs no capability.
        let _ = drop_leftovers(None, plan, keep, observer);
    }
    kept
}

fn keep_anew(
    capability: &Capability,
    plan: &RollbackPlan,
    keep: &str,
    observer: &mut dyn FnMut(Step<'_, RollbackChange>),
) -> Result<(Vec<DatasetName>, Vec<SnapshotName>), RollbackError> {
    let zfs = &plan.zfs;
    let states = plan
        .losses
        .iter()
        .map(|loss| Ok(zfs.dataset(loss.dataset.as_str())?.snapshot(keep)?))
        .collect::<Result<Vec<_>, RollbackError>>()?;
    let names: Vec<SnapshotName> = states.iter().map(|state| state.name().clone()).collect();
    let props = UserProps::new().set(KEPT, &mark(plan.txg, &plan.point))?;
    let snapshot = RollbackChange::Snapshot(names.clone());
    told(observer, &snapshot, || -> Result<(), RollbackError> {
        capability.allow_all(Operation::RollBack, plan.datasets())?;
        Ok(zfs.create_snapshots(&states, &props)?)
    })?;
    let mut clones = Vec::new();
    for (loss, state) in plan.losses.iter().zip(&states) {
        let clone = clone_of(loss, keep)?;
        let change = RollbackChange::Keep {
            dataset: loss.dataset.clone(),
            clone: clone.clone(),
        };
        let dataset = zfs.dataset(clone.as_str())?;
        told(observer, &change, || {
            capability.allow_all(Operation::RollBack, [&loss.dataset, &clone])?;
            copy_state(plan, loss, state, &dataset)
        })?;
        clones.push(clone);
    }
    Ok((clones, names))
}

/// Destroys the copies and the snapshots of states that an earlier run left that died.
fn drop_leftovers(
    capability: Option<&Capability>,
    plan: &RollbackPlan,
    keep: &str,
    observer: &mut dyn FnMut(Step<'_, RollbackChange>),
) -> Result<(), RollbackError> {
    let zfs = &plan.zfs;
    let allow = |name: &DatasetName| match capability {
        Some(capability) => capability.allow(Operation::RollBack, name),
        None => Ok(()),
    };
    let mut old = Vec::new();
    for loss in &plan.losses {
        let state = zfs.dataset(loss.dataset.as_str())?.snapshot(keep)?;
        let clone = zfs.dataset(clone_of(loss, keep)?.as_str())?;
        let left = leftover(plan, &state)?;
        if clone.exists()? && is_copy(plan, loss, &clone, keep, left)? {
            let change = RollbackChange::DropLeftover(clone.name().clone());
            told(observer, &change, || -> Result<(), RollbackError> {
                allow(clone.name())?;
                zfs.destroy_snapshots(&[clone.snapshot(keep)?])?;
                Ok(clone.destroy()?)
            })?;
        }
        if left.is_some() {
            allow(&loss.dataset)?;
            old.push(state);
        }
    }
    Ok(zfs.destroy_snapshots(&old)?)
}

fn copy_state(
    plan: &RollbackPlan,
    loss: &Loss,
    state: &Snapshot,
    clone: &Dataset,
) -> Result<(), RollbackError> {
    let point = loss.dataset.snapshot(&plan.point)?;
    let send = SendOptions::incremental(point.clone());
    let send = match loss.encrypted {
        true => send.raw(),
        // A raw stream of what is not encrypted has embedded blocks, with their fault.
        false => send.compressed().large_blocks(),
    };
    let mut receive = ReceiveOptions::new()
        .origin(&point)
        .set(ReadOnly(true))
        .user(KEPT, &mark(plan.txg, &plan.point))?;
    if loss.kind == DatasetKind::Filesystem {
        receive = receive.set(CanMount::NoAuto);
    }
    let mut stream = state.send(&send)?;
    clone.receive(&mut stream, &receive)?;
    stream.finish()?;
    Ok(())
}
