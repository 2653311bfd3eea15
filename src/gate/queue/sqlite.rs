use std::fmt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ErrorCode, ToSql, TransactionBehavior};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::io::Errno;

use super::engine::{self, Row, Store, TABLES, Transaction, VERSION, Value, job_queue};
use super::{AfterFailure, Job, JobFilter, JobId, JobSpec, Lease, QueueError, moment};
use crate::gate::Operation;
use crate::sqlite::begin_log;

/// A [`JobQueue`](super::JobQueue) in an SQLite file, for the processes of one machine.
///
/// Every change is flushed to the disk before its method returns, so neither the end of a process at
/// any moment nor a power cut takes it back. Several processes can have the file open; one changes
/// it at a time, and another waits for it up to ten seconds.
///
/// The file's directory has to be on a local filesystem: SQLite's log in shared memory needs that.
///
/// Needs the feature `sqlite`.
pub struct SqliteQueue {
    connection: Mutex<Connection>,
    path: Option<PathBuf>,
}

/// "HZJQ": it tells a queue's file from others of SQLite.
const APPLICATION: i64 = 0x485a_4a51;

const PATIENCE: Duration = Duration::from_secs(10);

impl SqliteQueue {
    /// Opens the queue in the file `path`, and makes it if there is none, for its owner alone.
    ///
    /// # Errors
    ///
    /// - [`QueueError::Permissions`]: the file may be written by others than its owner;
    /// - [`QueueError::Version`]: it is another program's file, or another version's;
    /// - [`QueueError::Corrupt`]: it is no file of SQLite, or damaged;
    /// - [`QueueError::Unavailable`]: it cannot be opened, or is locked too long.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, QueueError> {
        let path = path.as_ref();
        let at = Place {
            store: describe(Some(path)),
            action: "open",
        };
        // SQLite gives its log the same mode. Nothing but SQLite opens the file: to close it would
        // take away the locks of all this process's connections, and the file would be damaged.
        let owner = Mode::RUSR | Mode::WUSR;
        match mknodat(CWD, path, FileType::RegularFile, owner, 0) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(at.unavailable(error.to_string())),
        }
        let mode = path
            .metadata()
            .map_err(|error| at.unavailable(error.to_string()))?
            .permissions()
            .mode();
        if mode & 0o022 != 0 {
            return Err(QueueError::Permissions {
                path: path.to_owned(),
                mode: mode & 0o7777,
            });
        }
        let connection = Connection::open(path).map_err(|error| at.error(&error))?;
        Self::prepare(connection, Some(path.to_owned()), &at)
    }

    /// A queue that ends with this value: for programs that run their own jobs only, and for tests.
    ///
    /// # Errors
    ///
    /// [`QueueError::Unavailable`]: there is no memory.
    pub fn in_memory() -> Result<Self, QueueError> {
        let at = Place {
            store: describe(None),
            action: "open",
        };
        let connection = Connection::open_in_memory().map_err(|error| at.error(&error))?;
        Self::prepare(connection, None, &at)
    }

    fn prepare(
        mut connection: Connection,
        path: Option<PathBuf>,
        at: &Place,
    ) -> Result<Self, QueueError> {
        let wrong = |error: rusqlite::Error| at.error(&error);
        connection.busy_timeout(PATIENCE).map_err(wrong)?;
        if path.is_some() {
            let mode = begin_log(&connection, PATIENCE).map_err(wrong)?;
            if mode != "wal" {
                let why = format!("its filesystem allows no log (journal mode {mode})");
                return Err(at.unavailable(why));
            }
        }
        connection
            .pragma_update(None, "synchronous", "FULL")
            .map_err(wrong)?;
        connection
            .pragma_update(None, "trusted_schema", false)
            .map_err(wrong)?;
        let transaction = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(wrong)?;
        let number = |pragma: &str| {
            transaction
                .query_row(pragma, [], |row| row.get::<_, i64>(0))
                .map_err(wrong)
        };
        let found = number("PRAGMA user_version")?;
        let application = number("PRAGMA application_id")?;
        let tables = number("SELECT count(*) FROM sqlite_schema")?;
        if application == 0 && found == 0 && tables == 0 {
            for table in TABLES {
                let table = table.replace("{SERIAL}", "INTEGER");
                transaction.execute_batch(&table).map_err(wrong)?;
            }
            transaction
                .pragma_update(None, "application_id", APPLICATION)
                .map_err(wrong)?;
            transaction
                .pragma_update(None, "user_version", VERSION)
                .map_err(wrong)?;
        } else if application != APPLICATION || found != VERSION {
            return Err(QueueError::Version {
                store: at.store.clone(),
                found: if application == APPLICATION { found } else { 0 },
                known: VERSION,
            });
        }
        transaction.commit().map_err(wrong)?;
        Ok(Self {
            connection: Mutex::new(connection),
            path,
        })
    }
}

impl fmt::Debug for SqliteQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteQueue")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

fn describe(path: Option<&Path>) -> String {
    path.map_or_else(
        || "the job queue in memory".to_owned(),
        |path| format!("the job queue {}", path.display()),
    )
}

/// Where something was to be done, and what.
struct Place {
    store: String,
    action: &'static str,
}

impl Place {
    fn unavailable(&self, why: String) -> QueueError {
        QueueError::Unavailable {
            store: self.store.clone(),
            action: self.action,
            why,
        }
    }

    fn error(&self, error: &rusqlite::Error) -> QueueError {
        let damaged = match error.sqlite_error_code() {
            Some(code) => matches!(
                code,
                ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::SchemaChanged
            ),
            None => true,
        };
        // A table or a column that is missing.
        let unknown = error.sqlite_error_code() == Some(ErrorCode::Unknown);
        if damaged || unknown {
            return QueueError::Corrupt {
                store: self.store.clone(),
                action: self.action,
                why: error.to_string(),
            };
        }
        self.unavailable(error.to_string())
    }
}

impl Store for SqliteQueue {
    fn transaction<T>(
        &self,
        action: &'static str,
        _twice: bool,
        work: &mut dyn FnMut(&mut dyn Transaction) -> Result<T, QueueError>,
    ) -> Result<T, QueueError> {
        let at = Place {
            store: describe(self.path.as_deref()),
            action,
        };
        // A transaction that a panic ended was undone.
        let mut connection = self
            .connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let transaction = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(|error| at.error(&error))?;
        let mut running = Running { transaction, at };
        let result = work(&mut running)?;
        let Running { transaction, at } = running;
        transaction.commit().map_err(|error| at.error(&error))?;
        Ok(result)
    }
}

struct Running<'a> {
    transaction: rusqlite::Transaction<'a>,
    at: Place,
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Number(number) => number.map_or(ValueRef::Null, ValueRef::Integer),
            Self::Text(text) => text
                .as_ref()
                .map_or(ValueRef::Null, |text| ValueRef::Text(text.as_bytes())),
        }))
    }
}

impl Transaction for Running<'_> {
    fn now(&mut self) -> Result<SystemTime, QueueError> {
        Ok(moment::rounded(SystemTime::now()))
    }

    fn run(&mut self, statement: &str, arguments: &[Value]) -> Result<Vec<Row>, QueueError> {
        let wrong = |error: rusqlite::Error| self.at.error(&error);
        // Its word for an argument with a number.
        let statement = statement.replace('$', "?");
        let mut statement = self.transaction.prepare_cached(&statement).map_err(wrong)?;
        let columns = statement.column_count();
        let mut rows = statement
            .query(rusqlite::params_from_iter(arguments))
            .map_err(wrong)?;
        let mut answer = Vec::new();
        while let Some(row) = rows.next().map_err(wrong)? {
            let values = (0..columns).map(|column| match row.get_ref(column)? {
                ValueRef::Null => Ok(Value::Number(None)),
                ValueRef::Integer(number) => Ok(Value::number(number)),
                ValueRef::Text(_) => row.get(column).map(Value::Text),
                // Nothing that is expected anywhere, so whoever reads it says what is wrong.
                ValueRef::Real(_) | ValueRef::Blob(_) => Ok(Value::text("")),
            });
            let values: Result<Vec<Value>, rusqlite::Error> = values.collect();
            answer.push(Row::new(values.map_err(wrong)?));
        }
        Ok(answer)
    }

    fn locked(&self) -> &'static str {
        // The whole file is this transaction's.
        ""
    }

    fn unlocked_only(&self) -> &'static str {
        ""
    }

    fn corrupt(&self, why: String) -> QueueError {
        QueueError::Corrupt {
            store: self.at.store.clone(),
            action: self.at.action,
            why,
        }
    }
}

job_queue!(SqliteQueue);
