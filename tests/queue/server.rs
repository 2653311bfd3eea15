//! PostgreSQL, one for all tests that run at the same time.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Weak};

use postgres::{Client, NoTls};
use servers::Postgres;

static SHARED: Mutex<Weak<Postgres>> = Mutex::new(Weak::new());
static SCHEMAS: AtomicU32 = AtomicU32::new(0);

/// A schema of its own on the shared server, which ends with the last that has one.
pub(crate) struct Schema {
    server: Arc<Postgres>,
    name: String,
}

impl Schema {
    pub(crate) fn make() -> Self {
        let server = {
            let mut shared = SHARED.lock().unwrap();
            match shared.upgrade() {
                Some(server) => server,
                None => {
                    let server = Arc::new(Postgres::start().unwrap());
                    *shared = Arc::downgrade(&server);
                    server
                }
            }
        };
        let name = format!("test_{}", SCHEMAS.fetch_add(1, Ordering::Relaxed));
        let schema = Self { server, name };
        schema
            .plain()
            .batch_execute(&format!("CREATE SCHEMA {}", schema.name))
            .unwrap();
        schema
    }

    /// Where a queue is made. Its connections have the schema's name.
    pub(crate) fn url(&self) -> String {
        format!("{}&application_name={}", self.plain_url(), self.name)
    }

    fn plain_url(&self) -> String {
        format!(
            "{}?options=-csearch_path%3D{}",
            self.server.url(),
            self.name
        )
    }

    /// A connection that is no queue's.
    pub(crate) fn plain(&self) -> Client {
        Client::connect(&self.plain_url(), NoTls).unwrap()
    }

    /// Ends the connections of its queues, which do not hear of it. How many there were.
    pub(crate) fn cut(&self) -> u64 {
        let cut = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
            WHERE application_name = $1";
        self.plain().execute(cut, &[&self.name]).unwrap()
    }
}
