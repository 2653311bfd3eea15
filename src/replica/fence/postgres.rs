use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use postgres::{Client, Config, NoTls};

use super::{Fence, FenceError, FencingStore, GroupName, record};

/// How long a connection, a statement, and an answer of the network may take, unless the address
/// says something else.
const WAIT: Duration = Duration::from_secs(5);

const SESSION: &str = "SET statement_timeout = 5000; SET lock_timeout = 5000; \
    SET synchronous_commit = on; SET client_min_messages = warning;
    CREATE TABLE IF NOT EXISTS helix_fences (
        name text PRIMARY KEY,
        revision bigint NOT NULL,
        record text NOT NULL
    )";

/// Fences in PostgreSQL, for nodes on several machines.
///
/// A connection that was lost is made again by the call that finds it so.
pub struct PostgresFences {
    config: Config,
    client: Mutex<Option<Client>>,
}

impl fmt::Debug for PostgresFences {
    /// Without the address, which may have a password in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresFences").finish_non_exhaustive()
    }
}

impl PostgresFences {
    /// Connects to the server at `url`, as `postgres://user:password@host/database` or in the form
    /// of libpq, and makes the table if need be. The connection is not encrypted: let the server be
    /// on this machine, or behind a tunnel.
    ///
    /// # Errors
    ///
    /// Those of the server and of the connection.
    pub fn connect(url: &str) -> Result<Self, postgres::Error> {
        let fences = Self::new(url)?;
        fences.with(|_| Ok(()))?;
        Ok(fences)
    }

    /// As [`connect`](Self::connect), but the first call that needs the server connects to it. A node
    /// can begin with it when the server is down, and makes its data read-only then.
    ///
    /// # Errors
    ///
    /// The address is none.
    pub fn new(url: &str) -> Result<Self, postgres::Error> {
        let mut config = Config::from_str(url)?;
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(WAIT);
        }
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(WAIT);
        }
        Ok(Self {
            config,
            client: Mutex::new(None),
        })
    }

    /// Does `work`, over a new connection when the old one turns out to be lost.
    ///
    /// It may be done twice, so it must come to the same.
    fn with<T>(
        &self,
        work: impl Fn(&mut Client) -> Result<T, postgres::Error>,
    ) -> Result<T, postgres::Error> {
        // A client that a panic left in the middle of something is noticed by its own protocol.
        let mut slot = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = slot.as_mut() {
            match work(client) {
                Err(_) if client.is_closed() => *slot = None,
                outcome => return outcome,
            }
        }
        let client = slot.insert(open(&self.config)?);
        work(client)
    }
}

fn open(config: &Config) -> Result<Client, postgres::Error> {
    let mut client = config.connect(NoTls)?;
    client.batch_execute(SESSION)?;
    Ok(client)
}

fn find(client: &mut Client, group: &GroupName) -> Result<Option<(i64, String)>, postgres::Error> {
    client
        .query_opt(
            "SELECT revision, record FROM helix_fences WHERE name = $1",
            &[&group.as_str()],
        )?
        .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
        .transpose()
}

impl FencingStore for PostgresFences {
    fn read(&self, group: &GroupName) -> Result<Option<Fence>, FenceError> {
        self.with(|client| find(client, group))
            .map_err(|error| FenceError::unavailable(group, error))?
            .map(|(revision, text)| record::read(group, revision, &text))
            .transpose()
    }

    fn swap(
        &self,
        group: &GroupName,
        expected: Option<u64>,
        new: &Fence,
    ) -> Result<(), FenceError> {
        let (revision, text) = record::write(group, new)?;
        let changed = self
            .with(|client| match expected {
                None => client.execute(
                    "INSERT INTO helix_fences (name, revision, record) VALUES ($1, $2, $3)
                     ON CONFLICT DO NOTHING",
                    &[&group.as_str(), &revision, &text],
                ),
                // A revision that no column can have is that of no record.
                Some(expected) => client.execute(
                    "UPDATE helix_fences SET revision = $2, record = $3
                     WHERE name = $1 AND revision = $4",
                    &[
                        &group.as_str(),
                        &revision,
                        &text,
                        &i64::try_from(expected).unwrap_or(-1),
                    ],
                ),
            })
            .map_err(|error| FenceError::unavailable(group, error))?;
        if changed == 1 {
            return Ok(());
        }
        let now = self.read(group)?;
        super::unchanged(group, expected, new, now)
    }
}
