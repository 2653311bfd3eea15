//! All datasets in one transaction group.

use std::collections::BTreeMap;

use serde::Deserialize;
use zfs_core::program::ChannelProgram;
use zfs_core::{Errno, SnapshotName};

use super::intent::ROLLBACK;
use super::{RollbackError, RollbackPlan};

/// Looks at everything before it changes anything. A rollback there goes to the latest snapshot,
/// whatever that is, so that it must be certain that the point is that.
const TOGETHER: &str = r#"
local args = ...
local doomed, found, busy = {}, {}, false
for _, name in ipairs(args.newer) do doomed[name] = true end
for i, name in ipairs(args.datasets) do
    local point = name .. '@' .. args.point
    if not zfs.exists(point) then return {changed = point} end
    local txg = zfs.get_prop(point, 'createtxg')
    if zfs.get_prop(point, 'guid') ~= args.guids[i] then return {changed = point} end
    for snapshot in zfs.list.snapshots(name) do
        if snapshot ~= point and zfs.get_prop(snapshot, 'createtxg') >= txg then
            if not doomed[snapshot] then return {changed = snapshot} end
            local failed = zfs.check.destroy(snapshot)
            if failed ~= 0 then return {refused = snapshot, errno = failed} end
            found[#found + 1] = snapshot
        end
    end
    local failed = zfs.check.rollback(name)
    if failed == EBUSY then
        busy = true
    elseif failed ~= 0 then
        return {refused = name, errno = failed}
    end
end
if busy then return {busy = true} end
local failures, any = {}, false
for _, snapshot in ipairs(found) do
    local failed = zfs.sync.destroy(snapshot)
    if failed ~= 0 then failures[snapshot] = failed; any = true end
end
if any then return {failures = failures} end
for _, name in ipairs(args.datasets) do
    local failed = zfs.sync.rollback(name)
    if failed ~= 0 then failures[name] = failed; any = true end
end
if not any and args.marked then
    for _, name in ipairs(args.datasets) do zfs.sync.inherit(name, args.property) end
end
return {failures = failures}
"#;

/// The kernel's own limit.
const MOST: u64 = 100_000_000;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Answer {
    changed: Option<String>,
    busy: bool,
    refused: Option<String>,
    errno: i32,
    failures: BTreeMap<String, i32>,
}

/// What came of it.
#[derive(Debug)]
pub(super) enum Together {
    /// All are at the point.
    Done,
    /// One is in use in a way that a program cannot roll back. Nothing was changed.
    Busy,
    /// The kernel would refuse one of them, a dataset or a newer snapshot. Nothing was changed.
    Refused(String, Errno),
    /// Nothing was found in the way, and yet these could not be destroyed or rolled back.
    Failed(BTreeMap<String, Errno>),
}

/// Destroys the `newer` snapshots, rolls all datasets back and, if they are `marked`, takes their
/// marks off.
pub(super) fn roll_back(
    plan: &RollbackPlan,
    newer: &[SnapshotName],
    marked: bool,
) -> Result<Together, RollbackError> {
    let datasets: Vec<&str> = plan
        .losses
        .iter()
        .map(|loss| loss.dataset.as_str())
        .collect();
    let Some(first) = plan.losses.first() else {
        return Ok(Together::Done);
    };
    let newer: Vec<&str> = newer.iter().map(SnapshotName::as_str).collect();
    // So Lua sees a GUID.
    let guids: Vec<i64> = plan
        .losses
        .iter()
        .map(|loss| i64::from_ne_bytes(loss.guid.to_ne_bytes()))
        .collect();
    // A program that is stopped by a limit has done what it did.
    let size = datasets.len() + newer.len();
    let program = ChannelProgram::new(TOGETHER)
        .memory_limit((ChannelProgram::DEFAULT_MEMORY + size * 2048).min(100 << 20))
        .instruction_limit((ChannelProgram::DEFAULT_INSTRUCTIONS + size as u64 * 1000).min(MOST))
        .argument("datasets", datasets.as_slice())
        .argument("point", plan.point.as_str())
        .argument("guids", guids)
        .argument("newer", newer.as_slice())
        .argument("marked", marked)
        .argument("property", ROLLBACK);
    let pool = plan.zfs.pool(first.dataset.pool())?;
    let answer: Answer = pool.run_program(&program)?.get()?;
    if let Some(changed) = answer.changed {
        return Err(RollbackError::Changed(changed));
    }
    if let Some(name) = answer.refused {
        return Ok(Together::Refused(name, Errno::from_raw(answer.errno)));
    }
    if answer.busy {
        return Ok(Together::Busy);
    }
    if answer.failures.is_empty() {
        return Ok(Together::Done);
    }
    let errno = |(name, raw): (String, i32)| (name, Errno::from_raw(raw));
    Ok(Together::Failed(
        answer.failures.into_iter().map(errno).collect(),
    ))
}
