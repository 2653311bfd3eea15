//! What every SQLite file of ours needs.

use std::thread;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode};

/// Gives a file its write-ahead log, if it has none yet, and tells its journal mode.
///
/// Several that do so at once would each wait for the others: SQLite then refuses all but one at
/// once, however long they were told to wait. Here they try for as long as `patience`.
pub(crate) fn begin_log(connection: &Connection, patience: Duration) -> rusqlite::Result<String> {
    let begun = Instant::now();
    loop {
        let mode = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0));
        match mode {
            Err(error)
                if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
                    && begun.elapsed() < patience =>
            {
                thread::sleep(Duration::from_millis(10));
            }
            mode => return mode,
        }
    }
}
