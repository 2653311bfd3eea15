//! Programs in the kernel: everything is looked at before anything is changed, in one transaction.
//!
//! The kernel stops a program between two of its steps when a signal is pending for who waits for it, and
//! what was done stays done. So each of these programs can be run again after any of its steps.

use serde::Deserialize;
use zfs_core::program::ChannelProgram;
use zfs_core::{DatasetName, Errno, Error, Operation, SnapshotName};

use super::ScopeError;
use crate::Tenant;

/// What all programs begin with.
const COMMON: &str = "
local args = ...
local function stop(what, object, other, errno)
    return {what = what, object = object, other = other or '', errno = errno or 0}
end
local function is_below(name, top)
    return name == top or string.sub(name, 1, #top + 1) == top .. '/'
end
local function dataset_of(snapshot)
    return string.sub(snapshot, 1, string.find(snapshot, '@', 1, true) - 1)
end
";

/// Promotes `clones`, whose origins are `origins`: all of them, or none.
pub(super) const PROMOTE: &str = "
for i, clone in ipairs(args.clones) do
    if not zfs.exists(clone) then return stop('changed', clone, 'it is gone') end
    local origin = zfs.get_prop(clone, 'origin')
    if origin ~= args.origins[i] then
        return stop('changed', clone, 'its origin is another one')
    end
    local last = zfs.get_prop(origin, 'createtxg')
    for snapshot in zfs.list.snapshots(dataset_of(origin)) do
        if zfs.get_prop(snapshot, 'createtxg') <= last then
            for other in zfs.list.clones(snapshot) do
                if not is_below(other, args.tenant) then return stop('foreign', snapshot, other) end
            end
        end
    end
end
for _, clone in ipairs(args.clones) do
    local errno = zfs.check.promote(clone)
    if errno ~= 0 then return stop('promote', clone, '', errno) end
end
for _, clone in ipairs(args.clones) do
    local errno = zfs.sync.promote(clone)
    if errno ~= 0 then return stop('promote', clone, '', errno) end
end
return nil";

/// Destroys `datasets`, children first, with their snapshots: all of them, or none.
pub(super) const DESTROY: &str = "
local EBUSY, EEXIST = 16, 17
local going = {}
for _, dataset in ipairs(args.datasets) do going[dataset] = true end
for _, dataset in ipairs(args.datasets) do
    if zfs.exists(dataset) then
        for child in zfs.list.children(dataset) do
            if not going[child] then return stop('changed', child, 'it is new') end
        end
        local snapshots = 0
        for snapshot in zfs.list.snapshots(dataset) do
            snapshots = snapshots + 1
            for clone in zfs.list.clones(snapshot) do
                if not going[clone] then
                    local what = is_below(clone, args.tenant) and 'clone' or 'foreign'
                    return stop(what, snapshot, clone)
                end
            end
            local errno = zfs.check.destroy(snapshot)
            if errno ~= 0 and errno ~= EEXIST then
                return stop('destroy snapshot', snapshot, '', errno)
            end
        end
        -- A dataset with snapshots is busy, and so is one that is mounted.
        local errno
        if snapshots == 0 then
            errno = zfs.check.destroy(dataset)
        else
            errno = zfs.check.rollback(dataset)
        end
        if errno == EBUSY then return stop('destroy', dataset, '', errno) end
        if zfs.exists(dataset .. '/%recv') then return stop('destroy', dataset, '', EBUSY) end
    end
end
-- One can be a clone of another, so that it takes several rounds.
local left = #args.datasets
while left > 0 do
    local before = left
    left = 0
    local last, errno
    for _, dataset in ipairs(args.datasets) do
        if zfs.exists(dataset) then
            for snapshot in zfs.list.snapshots(dataset) do
                zfs.sync.destroy(snapshot)
            end
            errno = zfs.sync.destroy(dataset)
            if errno ~= 0 then left, last = left + 1, {dataset, errno} end
        end
    end
    if left == before then return stop('destroy', last[1], '', last[2]) end
end
return nil";

/// Clones `origins` to `targets`, parents first, and sets the user properties `names` to
/// `values` on the first target. Since ZFS 2.4.
pub(super) const CLONE: &str = "
if not zfs.sync.clone then return stop('unsupported', '') end
for i, target in ipairs(args.targets) do
    if zfs.exists(target) then return stop('changed', target, 'it is there already') end
    if not zfs.exists(args.origins[i]) then return stop('changed', args.origins[i], 'it is gone') end
end
local errno = zfs.check.clone(args.origins[1], args.targets[1])
if errno ~= 0 then return stop('clone', args.origins[1], '', errno) end
for i, target in ipairs(args.targets) do
    errno = zfs.sync.clone(args.origins[i], target)
    if errno ~= 0 then return stop('clone', args.origins[i], '', errno) end
end
for i, name in ipairs(args.names) do
    errno = zfs.sync.set_prop(args.targets[1], name, args.values[i])
    if errno ~= 0 then return stop('set', args.targets[1], '', errno) end
end
return nil";

/// Why a program stopped.
#[derive(Debug, Deserialize)]
struct Stopped {
    what: String,
    object: String,
    other: String,
    errno: i32,
}

/// What a program did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ran {
    /// All of it.
    Done,
    /// Nothing: this kernel has no such function.
    Unsupported,
}

/// Runs one of the programs above, whose arguments are in `program`.
pub(super) fn run(
    tenant: &Tenant,
    source: &str,
    arguments: impl FnOnce(ChannelProgram) -> ChannelProgram,
) -> Result<Ran, ScopeError> {
    let name = tenant.dataset().name();
    let program = ChannelProgram::new(format!("{COMMON}{source}"));
    let program = arguments(program.argument("tenant", name.as_str()));
    let pool = tenant.dataset().zfs().pool(name.pool())?;
    let result = pool.run_program(&program)?;
    match result.get::<Option<Stopped>>()? {
        None => Ok(Ran::Done),
        Some(stopped) if stopped.what == "unsupported" => Ok(Ran::Unsupported),
        Some(stopped) => Err(stopped.into_error(name)),
    }
}

impl Stopped {
    fn into_error(self, tenant: &DatasetName) -> ScopeError {
        let Self {
            what,
            object,
            other,
            errno,
        } = self;
        let operation = match what.as_str() {
            "promote" => Operation::PromoteDataset,
            "destroy" => Operation::DestroyDataset,
            "destroy snapshot" => Operation::DestroySnapshots,
            "clone" if errno != 0 => Operation::CloneSnapshot,
            "set" => Operation::SetProperties,
            "foreign" | "clone" => {
                let names = SnapshotName::new(&object)
                    .and_then(|snapshot| Ok((snapshot, vec![DatasetName::new(&other)?])));
                return match names {
                    Ok((snapshot, clones)) if what == "foreign" => ScopeError::ForeignClones {
                        tenant: tenant.clone(),
                        snapshot,
                        clones,
                    },
                    Ok((snapshot, clones)) => ScopeError::HasClones { snapshot, clones },
                    Err(error) => ScopeError::Zfs(error.into()),
                };
            }
            _ => {
                return ScopeError::Changed {
                    object,
                    what: other,
                };
            }
        };
        Error::in_program(operation, object, Errno::from_raw(errno)).into()
    }
}
