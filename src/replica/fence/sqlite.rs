use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};

use super::{Fence, FenceError, FencingStore, GroupName, record};
use crate::sqlite::begin_log;

/// How long a call waits for another process.
const WAIT: Duration = Duration::from_secs(5);

const SCHEMA: &str = "CREATE TABLE IF NOT EXISTS helix_fences (
    name TEXT PRIMARY KEY NOT NULL,
    revision INTEGER NOT NULL,
    record TEXT NOT NULL
) STRICT, WITHOUT ROWID";

/// Fences in an SQLite file, for nodes on one machine.
///
/// Several processes may have it open. Nodes on several machines need a store that all can reach,
/// such as `PostgresFences`: an SQLite file on a network filesystem is not safe.
#[derive(Debug)]
pub struct SqliteFences {
    connection: Mutex<Connection>,
}

impl SqliteFences {
    /// Opens the file, and makes it if there is none.
    ///
    /// # Errors
    ///
    /// Those of SQLite: the file cannot be opened, or is none of SQLite's.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, rusqlite::Error> {
        Self::prepare(Connection::open(path)?)
    }

    /// A store of this process alone, which is gone with it.
    ///
    /// # Errors
    ///
    /// Those of SQLite.
    pub fn in_memory() -> Result<Self, rusqlite::Error> {
        Self::prepare(Connection::open_in_memory()?)
    }

    fn prepare(connection: Connection) -> Result<Self, rusqlite::Error> {
        connection.busy_timeout(WAIT)?;
        begin_log(&connection, WAIT)?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.execute(SCHEMA, [])?;
        Ok(Self {
            connection: Mutex::new(connection),
        })
    }

    /// Every call leaves the connection as it was, so a thread that panicked has broken nothing.
    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn find(connection: &Connection, group: &GroupName) -> Result<Option<Fence>, FenceError> {
    let row: Option<(i64, String)> = connection
        .query_row(
            "SELECT revision, record FROM helix_fences WHERE name = ?1",
            [group.as_str()],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()
        .map_err(|error| FenceError::unavailable(group, error))?;
    row.map(|(revision, text)| record::read(group, revision, &text))
        .transpose()
}

impl FencingStore for SqliteFences {
    fn read(&self, group: &GroupName) -> Result<Option<Fence>, FenceError> {
        find(&self.connection(), group)
    }

    fn swap(
        &self,
        group: &GroupName,
        expected: Option<u64>,
        new: &Fence,
    ) -> Result<(), FenceError> {
        let (revision, text) = record::write(group, new)?;
        let connection = self.connection();
        let changed = match expected {
            None => connection.execute(
                "INSERT INTO helix_fences (name, revision, record) VALUES (?1, ?2, ?3)
                 ON CONFLICT DO NOTHING",
                params![group.as_str(), revision, text],
            ),
            // A revision that no column can have is that of no record.
            Some(expected) => connection.execute(
                "UPDATE helix_fences SET revision = ?2, record = ?3
                 WHERE name = ?1 AND revision = ?4",
                params![
                    group.as_str(),
                    revision,
                    text,
                    i64::try_from(expected).unwrap_or(-1)
                ],
            ),
        }
        .map_err(|error| FenceError::unavailable(group, error))?;
        if changed == 1 {
            return Ok(());
        }
        let now = find(&connection, group)?;
        super::unchanged(group, expected, new, now)
    }
}
