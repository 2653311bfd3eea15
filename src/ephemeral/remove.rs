use std::fmt;
use std::path::PathBuf;

use serde::Serialize;
use zfs_core::program::ChannelProgram;
use zfs_core::{Errno, Result, Zfs};

use super::EphemeralClone;
use super::found::{EXPIRES, MARK};

/// What an ephemeral clone is in use by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum InUse {
    /// It is mounted elsewhere than it was when it was made, or a folder of it is.
    Mounted(PathBuf),
    /// Somebody has a file of it open, or it is mounted in another mount namespace, or being sent or
    /// received into.
    Busy,
    /// There are datasets below it.
    Children,
    /// It has snapshots.
    Snapshots,
}

impl fmt::Display for InUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mounted(path) => write!(f, "mounted on {}", path.display()),
            Self::Busy => f.pad("somebody has it open or mounted"),
            Self::Children => f.pad("there are datasets below it"),
            Self::Snapshots => f.pad("it has snapshots"),
        }
    }
}

/// What became of a clone that was to be removed.
pub(super) enum Removed {
    Done,
    Gone,
    Replaced,
    Extended,
    InUse(InUse),
    Refused(Errno),
}

/// Destroys the dataset if everything about it is as it was, or says what is not. Within a program
/// nothing changes between the questions and the destruction.
const REMOVE: &str = "
local clone = ...
local name = clone.name
if not zfs.exists(name) then return 'gone' end
local function own(property)
    local value, from = zfs.get_prop(name, property)
    if from == name then return value end
end
local origin = zfs.get_prop(name, 'origin')
if zfs.get_prop(name, 'createtxg') ~= clone.create_txg
    or origin == nil
    or zfs.get_prop(origin, 'guid') ~= clone.origin_guid
    or own(clone.mark_name) ~= clone.mark
then return 'replaced' end
if own(clone.expires_name) ~= clone.expires then return 'extended' end
for _ in zfs.list.children(name) do return 'children' end
for _ in zfs.list.snapshots(name) do return 'snapshots' end
return zfs.sync.destroy(name)";

pub(super) fn remove(zfs: &Zfs, clone: &EphemeralClone) -> Result<Removed> {
    let program = ChannelProgram::new(REMOVE)
        .argument("name", clone.dataset.as_str())
        .argument("create_txg", clone.create_txg)
        // Lua has the bits of a GUID as a signed number.
        .argument(
            "origin_guid",
            i64::from_ne_bytes(clone.origin_guid.to_ne_bytes()),
        )
        .argument("mark_name", MARK)
        .argument("mark", clone.origin_guid.to_string())
        .argument("expires_name", EXPIRES)
        .argument(
            "expires",
            humantime::format_rfc3339_seconds(clone.expires).to_string(),
        );
    let result = zfs.pool(clone.dataset.pool())?.run_program(&program)?;
    Ok(match result.text() {
        Some("gone") => Removed::Gone,
        Some("replaced") => Removed::Replaced,
        Some("extended") => Removed::Extended,
        Some("children") => Removed::InUse(InUse::Children),
        Some("snapshots") => Removed::InUse(InUse::Snapshots),
        _ => match result.get()? {
            0 => Removed::Done,
            errno if errno == Errno::EBUSY.raw() => Removed::InUse(InUse::Busy),
            errno => Removed::Refused(Errno::from_raw(errno)),
        },
    })
}
