use super::{ChannelProgram, OPERATION};
use crate::error::{Error, ErrorKind, Result};
use crate::name::{DatasetName, SnapshotName};
use crate::pool::Pool;

/// Answers with a digit for each name, in their order: a table has none.
const EXIST: &str = "
local found = {}
for i, name in ipairs((...)['names']) do
    found[i] = zfs.exists(name) and '1' or '0'
end
return table.concat(found)";

impl Pool {
    /// Whether each of these datasets and snapshots of the pool exists, all of them at one moment:
    /// between the answers nothing is created, destroyed or renamed.
    ///
    /// [`Dataset::exists`](crate::Dataset::exists) asks about one, and needs no privilege.
    ///
    /// # Errors
    ///
    /// | kind | when |
    /// |---|---|
    /// | `InvalidName`, `NameTooLong` | one is the name of neither a dataset nor a snapshot |
    /// | `CrossPool` | one is in another pool |
    /// | `MemoryLimit` | there are too many of them: some tens of thousands |
    /// | `PermissionDenied` | not root |
    /// | `NotFound`, `ReadOnlyPool`, `PoolSuspended` | as with [`run_program`](Self::run_program) |
    ///
    /// # Privileges
    ///
    /// Root.
    ///
    /// `zfs.exists` of `zfs-program(8)`.
    pub fn exist_together<N: AsRef<str>>(&self, names: &[N]) -> Result<Vec<bool>> {
        for name in names {
            let name = name.as_ref();
            let pool = if name.contains('@') {
                SnapshotName::new(name)?.pool().to_owned()
            } else {
                DatasetName::new(name)?.pool().to_owned()
            };
            if pool != self.name().as_str() {
                return Err(Error::refused(
                    OPERATION,
                    self.name().as_str(),
                    ErrorKind::CrossPool,
                    format!("{name} is in another pool"),
                ));
            }
        }
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let program = ChannelProgram::new(EXIST).argument("names", names);
        let result = self.run_program_read_only(&program)?;
        let digits = result.text().unwrap_or_default();
        if digits.len() != names.len() {
            return Err(Error::protocol(
                OPERATION,
                self.name().as_str(),
                "not an answer for each name",
            ));
        }
        Ok(digits.bytes().map(|digit| digit == b'1').collect())
    }
}
