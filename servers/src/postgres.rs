//! PostgreSQL of Debian's package.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::child::{self, Server};
use crate::port;

/// The user that Debian's package makes. The server refuses to run as root.
const USER: &str = "postgres";

/// A real PostgreSQL server on loopback, with a database of its own.
#[derive(Debug)]
pub struct Postgres {
    folder: TempDir,
    programs: PathBuf,
    port: u16,
    server: Mutex<Option<Server>>,
}

impl Postgres {
    /// Makes a database and starts the server.
    ///
    /// # Errors
    ///
    /// When the package `postgresql` is missing (with the advice to call `cargo xtask setup`), or
    /// the server does not come up: then with the end of its log.
    pub fn start() -> Result<Self> {
        let programs = programs()?;
        let folder = tempfile::Builder::new()
            .prefix("helix-postgres-")
            .tempdir()?;
        if rustix::process::geteuid().is_root() {
            let status = Command::new("chown")
                .arg(USER)
                .arg(folder.path())
                .status()
                .context("cannot run chown")?;
            ensure!(status.success(), "there is no user {USER}: {ADVICE}");
        }
        let postgres = Self {
            port: port::free(Ipv4Addr::LOCALHOST.into())?,
            folder,
            programs,
            server: Mutex::new(None),
        };
        let output = postgres
            .command("initdb")
            .arg("--pgdata")
            .arg(postgres.data())
            .args(["--username", USER, "--auth", "trust"])
            .args(["--encoding", "UTF8", "--locale", "C", "--no-sync"])
            .stdin(Stdio::null())
            .output()
            .context("cannot run setpriv, of the package util-linux")?;
        ensure!(
            output.status.success(),
            "initdb failed ({}): {}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        postgres.run()?;
        Ok(postgres)
    }

    /// What a client connects to: `postgresql://postgres@127.0.0.1:PORT/postgres`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("postgresql://{USER}@127.0.0.1:{}/postgres", self.port)
    }

    /// The port that it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Kills the server's first process by SIGKILL; its others end when they see that.
    ///
    /// # Errors
    ///
    /// When it cannot be killed.
    pub fn kill(&self) -> Result<()> {
        match self.server().take() {
            Some(server) => server.end(Signal::KILL).map(drop),
            None => Ok(()),
        }
    }

    /// Ends the server in good order: it waits for no client.
    ///
    /// # Errors
    ///
    /// When it does not end in a minute.
    pub fn stop(&self) -> Result<()> {
        match self.server().take() {
            Some(server) => server.end(Signal::INT).map(drop),
            None => Ok(()),
        }
    }

    /// Stops the server when it runs, and starts it again on the same port.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub fn restart(&self) -> Result<()> {
        self.stop()?;
        self.run()
    }

    fn run(&self) -> Result<()> {
        let data = self.data();
        let mut command = self.command("postgres");
        command
            .arg("-D")
            .arg(&data)
            .args(["-p", &self.port.to_string()])
            .args(["-h", "127.0.0.1"])
            .arg("-k")
            .arg(self.folder.path());
        // What was there of an earlier process would be taken for this one's.
        let ready = data.join("postmaster.pid");
        let log = self.folder.path().join("log");
        let mut server = Server::start(command, &log)?;
        let id = server.id().to_string();
        server.wait_until("PostgreSQL", || is_ready(&ready, &id))?;
        *self.server() = Some(server);
        Ok(())
    }

    /// A program of PostgreSQL, as its user when this process is root's.
    fn command(&self, program: &str) -> Command {
        let options: &[&str] = if rustix::process::geteuid().is_root() {
            &["--reuid", USER, "--regid", USER, "--init-groups"]
        } else {
            &[]
        };
        let mut command = child::bound_to_this_process(options, self.programs.join(program));
        command.current_dir(self.folder.path()).env("LC_ALL", "C");
        command
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn server(&self) -> MutexGuard<'_, Option<Server>> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether this process has written that it takes connections, as `pg_ctl` reads it.
fn is_ready(file: &Path, id: &str) -> bool {
    let text = fs::read_to_string(file).unwrap_or_default();
    let mut lines = text.lines();
    lines.next() == Some(id) && lines.nth(6).is_some_and(|line| line.trim_end() == "ready")
}

const ADVICE: &str = "`cargo xtask setup` installs PostgreSQL";

/// The folder of the newest version's programs.
fn programs() -> Result<PathBuf> {
    let version = |path: &Path| -> Option<u32> {
        path.file_name()?.to_str()?.split('.').next()?.parse().ok()
    };
    fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.join("bin/postgres").is_file() && path.join("bin/initdb").is_file())
        .max_by_key(|path| version(path))
        .map(|path| path.join("bin"))
        .or_else(|| {
            let local = PathBuf::from("/usr/local/bin");
            local.join("postgres").is_file().then_some(local)
        })
        .with_context(|| format!("there is no PostgreSQL: {ADVICE}"))
}
