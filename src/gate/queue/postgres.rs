use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use postgres::config::Host;
use postgres::error::SqlState;
use postgres::types::{ToSql, Type};
use postgres::{Client, Config, IsolationLevel, NoTls};

use super::engine::{self, Row, Store, TABLES, Transaction, VERSION, Value, job_queue};
use super::{AfterFailure, Job, JobFilter, JobId, JobSpec, Lease, QueueError, moment};
use crate::gate::Operation;

/// How long a connection and an answer of the network may take, unless the address says something
/// else.
const WAIT: Duration = Duration::from_secs(10);

/// What was acknowledged is on the server's disk, whatever its configuration says.
const SESSION: &str = "SET statement_timeout = 30000; SET lock_timeout = 10000;
    SET idle_in_transaction_session_timeout = 60000;
    SET synchronous_commit = on; SET client_min_messages = warning";

/// Any number that no other program on the server uses.
const SETUP_LOCK: &str = "SELECT pg_advisory_xact_lock(5211372601)::text";

type Connect = dyn Fn() -> Result<Client, postgres::Error> + Send + Sync;

/// A [`JobQueue`](super::JobQueue) in PostgreSQL, for workers on several machines.
///
/// Workers do not wait for each other: each takes a job that no other is taking
/// (`FOR UPDATE SKIP LOCKED`). A connection that was lost is made again by the next call; the call
/// that finds it lost is done again, unless it was to lease a job: that fails with
/// [`QueueError::Unavailable`], and a lease that the server made nevertheless ends by itself.
///
/// The tables are made in the first schema of the connection's `search_path`.
///
/// Needs the feature `postgres`. Tested with PostgreSQL 15.
pub struct PostgresQueue {
    connect: Box<Connect>,
    store: String,
    client: Mutex<Option<Client>>,
}

impl PostgresQueue {
    /// Connects to the server at `url`, as `postgresql://user:password@host/database` or in the form
    /// of libpq, and makes the tables if there are none.
    ///
    /// The connection is not encrypted: let the server be on this machine, or behind a tunnel; or
    /// see [`with`](Self::with).
    ///
    /// # Errors
    ///
    /// - [`QueueError::Unavailable`]: the address is wrong, nobody answers there, or it does not let
    ///   us in;
    /// - [`QueueError::Version`]: the tables are another version's.
    pub fn connect(url: &str) -> Result<Self, QueueError> {
        let mut config = Config::from_str(url).map_err(|error| QueueError::Unavailable {
            store: "the job queue in PostgreSQL".to_owned(),
            action: "connect",
            why: error.to_string(),
        })?;
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(WAIT);
        }
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(WAIT);
        }
        let store = describe(&config);
        Self::prepare(Box::new(move || config.connect(NoTls)), store)
    }

    /// A queue on the connections that `connect` makes: one at once, and another whenever one is
    /// lost. So they can be encrypted, or come from a pool.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    pub fn with(
        connect: impl Fn() -> Result<Client, postgres::Error> + Send + Sync + 'static,
    ) -> Result<Self, QueueError> {
        Self::prepare(Box::new(connect), "the job queue in PostgreSQL".to_owned())
    }

    fn prepare(connect: Box<Connect>, store: String) -> Result<Self, QueueError> {
        let queue = Self {
            connect,
            store,
            client: Mutex::new(None),
        };
        queue.transaction("open", true, &mut |transaction| {
            transaction.run(SETUP_LOCK, &[])?;
            let there = transaction.run(
                "SELECT 1::bigint WHERE to_regclass('helix_queue') IS NOT NULL",
                &[],
            )?;
            if there.is_empty() {
                for table in TABLES {
                    transaction.run(&table.replace("{SERIAL}", "BIGSERIAL"), &[])?;
                }
                transaction.run("CREATE TABLE helix_queue (version BIGINT PRIMARY KEY)", &[])?;
                let insert = "INSERT INTO helix_queue (version) VALUES ($1)";
                transaction.run(insert, &[Value::number(VERSION)])?;
                return Ok(());
            }
            let found = transaction
                .run("SELECT max(version) FROM helix_queue", &[])?
                .pop()
                .and_then(|mut row| row.number())
                .unwrap_or_default();
            if found == VERSION {
                return Ok(());
            }
            Err(QueueError::Version {
                store: queue.store.clone(),
                found,
                known: VERSION,
            })
        })?;
        Ok(queue)
    }

    fn open(&self) -> Result<Client, postgres::Error> {
        let mut client = (self.connect)()?;
        client.batch_execute(SESSION)?;
        Ok(client)
    }
}

impl fmt::Debug for PostgresQueue {
    /// Without the address, which may have a password in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresQueue")
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}

/// Without the user and the password.
fn describe(config: &Config) -> String {
    let hosts: Vec<String> = config
        .get_hosts()
        .iter()
        .map(|host| match host {
            Host::Tcp(name) => name.clone(),
            Host::Unix(folder) => folder.display().to_string(),
        })
        .collect();
    let database = config.get_dbname().or(config.get_user()).unwrap_or("?");
    format!(
        "the job queue in PostgreSQL ({}/{database})",
        hosts.join(",")
    )
}

impl Store for PostgresQueue {
    fn transaction<T>(
        &self,
        action: &'static str,
        twice: bool,
        work: &mut dyn FnMut(&mut dyn Transaction) -> Result<T, QueueError>,
    ) -> Result<T, QueueError> {
        let at = Place {
            store: &self.store,
            action,
        };
        // What a panic left of a transaction was undone.
        let mut slot = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        // A lost connection must not cost an attempt at a job.
        let kept = slot
            .take()
            .and_then(|mut client| (twice || client.is_valid(WAIT).is_ok()).then_some(client));
        let mut client = match kept {
            Some(client) => client,
            None => self.open().map_err(|error| at.error(&error))?,
        };
        let mut outcome = once(&mut client, &at, work);
        if twice && outcome.is_err() && client.is_closed() {
            client = self.open().map_err(|error| at.error(&error))?;
            outcome = once(&mut client, &at, work);
        }
        if !client.is_closed() {
            *slot = Some(client);
        }
        outcome
    }
}

fn once<T>(
    client: &mut Client,
    at: &Place<'_>,
    work: &mut dyn FnMut(&mut dyn Transaction) -> Result<T, QueueError>,
) -> Result<T, QueueError> {
    let transaction = client
        .build_transaction()
        .isolation_level(IsolationLevel::ReadCommitted)
        .start()
        .map_err(|error| at.error(&error))?;
    let mut running = Running { transaction, at };
    let result = work(&mut running)?;
    running
        .transaction
        .commit()
        .map_err(|error| at.error(&error))?;
    Ok(result)
}

/// Where something was to be done, and what.
struct Place<'a> {
    store: &'a str,
    action: &'static str,
}

impl Place<'_> {
    fn error(&self, error: &postgres::Error) -> QueueError {
        let store = self.store.to_owned();
        let action = self.action;
        let damaged = match error.as_db_error() {
            Some(told) => {
                let code = told.code();
                // A table or a column that is missing; a broken constraint; broken data.
                *code == SqlState::UNDEFINED_TABLE
                    || *code == SqlState::UNDEFINED_COLUMN
                    || code.code().starts_with("23")
                    || code.code().starts_with("XX")
            }
            None => false,
        };
        // The error's own text leaves out what the server said.
        let why = match error.as_db_error() {
            Some(told) => format!("{} ({})", told.message(), told.code().code()),
            None => match std::error::Error::source(error) {
                Some(source) => format!("{error}: {source}"),
                None => error.to_string(),
            },
        };
        if damaged {
            QueueError::Corrupt { store, action, why }
        } else {
            QueueError::Unavailable { store, action, why }
        }
    }

    fn corrupt(&self, why: String) -> QueueError {
        QueueError::Corrupt {
            store: self.store.to_owned(),
            action: self.action,
            why,
        }
    }
}

struct Running<'a> {
    transaction: postgres::Transaction<'a>,
    at: &'a Place<'a>,
}

impl Transaction for Running<'_> {
    fn now(&mut self) -> Result<SystemTime, QueueError> {
        let clock = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint";
        self.run(clock, &[])?
            .pop()
            .and_then(|mut row| row.number())
            .and_then(moment::from_number)
            .ok_or_else(|| self.corrupt("the server's clock cannot be read".to_owned()))
    }

    fn run(&mut self, statement: &str, arguments: &[Value]) -> Result<Vec<Row>, QueueError> {
        let arguments: Vec<&(dyn ToSql + Sync)> = arguments
            .iter()
            .map(|value| match value {
                Value::Number(number) => number as &(dyn ToSql + Sync),
                Value::Text(text) => text,
            })
            .collect();
        let rows = self
            .transaction
            .query(statement, &arguments)
            .map_err(|error| self.at.error(&error))?;
        rows.iter()
            .map(|row| {
                let values = row.columns().iter().enumerate().map(|(at, column)| {
                    if *column.type_() == Type::TEXT {
                        row.try_get(at).map(Value::Text)
                    } else {
                        row.try_get(at).map(Value::Number)
                    }
                });
                let values: Result<Vec<Value>, postgres::Error> = values.collect();
                values
                    .map(Row::new)
                    .map_err(|error| self.at.corrupt(error.to_string()))
            })
            .collect()
    }

    fn locked(&self) -> &'static str {
        " FOR UPDATE"
    }

    fn unlocked_only(&self) -> &'static str {
        " FOR UPDATE SKIP LOCKED"
    }

    fn corrupt(&self, why: String) -> QueueError {
        self.at.corrupt(why)
    }
}

job_queue!(PostgresQueue);
