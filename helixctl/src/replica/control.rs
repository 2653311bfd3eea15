//! How a node that runs is spoken to: over a Unix socket that only its owner reaches, a line of JSON
//! there and one back.

use std::fs::{DirBuilder, File, Permissions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use helix_zfs::replica::{Command, Lag, Role};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::process::Told;
use crate::failure::{Exit, Failure};

const SOCKET: &str = "socket";
const LOCK: &str = "lock";
/// More than any line has.
const LONGEST: u64 = 1 << 16;

/// What a node that runs knew after its last turn.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Live {
    /// Its process.
    pub(crate) pid: u32,
    pub(crate) role: Option<Role>,
    pub(crate) epoch: Option<u64>,
    /// Whether its data may be written to.
    pub(crate) may_write: bool,
    /// How far behind the source it was.
    pub(crate) lag: Option<Lag>,
    /// When that was.
    pub(crate) reached: Option<String>,
    /// Whether it has what its source has not.
    pub(crate) is_ahead: bool,
    /// What it was told to do and has not done yet.
    pub(crate) wish: Option<Command>,
    /// Why it did not do what it was told to do, or wanted to.
    pub(crate) declined: Option<String>,
    /// What went wrong last, if it goes wrong still.
    pub(crate) trouble: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Request {
    /// What does the node know?
    State,
    /// Do something, and answer when it is done, but after so long at the latest.
    Do { command: Command, wait: Duration },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reply {
    State(Live),
    /// It is done.
    Done(Live),
    /// It is not done, for this reason.
    Declined(String),
    /// It is not done yet. The node goes on trying.
    NotYet(Live),
}

/// The right to run the node: nobody else has it. Sockets that it made go away with it.
#[derive(Debug)]
pub(crate) struct Hold {
    _lock: File,
    sockets: Vec<PathBuf>,
}

impl Hold {
    /// Takes it. The folder is made, for its owner alone.
    pub(crate) fn take(folder: &Path) -> Result<Self, Failure> {
        let shown = folder.display().to_string();
        let failed = |error: io::Error| Failure::io(&shown, &error);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(failed)?;
        let metadata = folder.metadata().map_err(failed)?;
        let user = rustix::process::geteuid().as_raw();
        if metadata.uid() != user || metadata.mode() & 0o077 != 0 {
            let message = format!("{shown}: others than user {user} can reach it");
            return Err(Failure::new(Exit::Denied, message));
        }
        let lock = File::create(folder.join(LOCK)).map_err(failed)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self {
                _lock: lock,
                sockets: Vec::new(),
            }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(Failure::new(
                Exit::Busy,
                format!("{shown}: another process runs this node"),
            )),
            Err(error) => Err(failed(error.into())),
        }
    }

    /// Listens at `path` by `listen`, when a socket that a process left there is gone.
    pub(crate) fn bind<T>(
        &mut self,
        path: &Path,
        listen: impl FnOnce() -> io::Result<T>,
    ) -> Result<T, Failure> {
        let bind = || -> io::Result<T> {
            let left = path.symlink_metadata();
            if left.is_ok_and(|metadata| metadata.file_type().is_socket()) {
                std::fs::remove_file(path)?;
            }
            let listener = listen()?;
            std::fs::set_permissions(path, Permissions::from_mode(0o600))?;
            Ok(listener)
        };
        let listener = bind().map_err(|error| Failure::io(&path.display().to_string(), &error))?;
        self.sockets.push(path.to_owned());
        Ok(listener)
    }

    /// Takes commands, and gives them to the node.
    pub(crate) fn serve(
        &mut self,
        folder: &Path,
        live: &Arc<Mutex<Live>>,
        told: &Sender<Told>,
    ) -> Result<(), Failure> {
        let path = folder.join(SOCKET);
        let listener = self.bind(&path, || UnixListener::bind(&path))?;
        let (live, told) = (live.clone(), told.clone());
        let serve = move || {
            for stream in listener.incoming().flatten() {
                let (live, told) = (live.clone(), told.clone());
                // Who gets no thread sees the connection close.
                let _ = std::thread::Builder::new().spawn(move || converse(&stream, &live, &told));
            }
        };
        let thread = std::thread::Builder::new().spawn(serve);
        thread
            .map(drop)
            .map_err(|error| Failure::io("a thread", &error))
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        for path in &self.sockets {
            // One that stays is removed by the next process.
            let _ = std::fs::remove_file(path);
        }
    }
}

fn converse(stream: &UnixStream, live: &Mutex<Live>, told: &Sender<Told>) -> io::Result<()> {
    let mut lines = BufReader::new(stream);
    loop {
        let Some(request) = hear(&mut lines)? else {
            return Ok(());
        };
        let reply = match request {
            Request::State => Reply::State(now(live)),
            Request::Do { command, wait } => {
                let (answer, answered) = mpsc::channel();
                // A node that has ended drops it, and so answers too.
                let _ = told.send(Told::Asked { command, answer });
                match answered.recv_timeout(wait) {
                    Ok(reply) => reply,
                    Err(RecvTimeoutError::Timeout) => Reply::NotYet(now(live)),
                    Err(RecvTimeoutError::Disconnected) => {
                        Reply::Declined(String::from("it is ending"))
                    }
                }
            }
        };
        say(stream, &reply)?;
    }
}

fn now(live: &Mutex<Live>) -> Live {
    live.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

fn hear<R: Read, T: for<'de> Deserialize<'de>>(lines: &mut BufReader<R>) -> io::Result<Option<T>> {
    let mut line = String::new();
    if lines.take(LONGEST).read_line(&mut line)? == 0 {
        return Ok(None);
    }
    Ok(Some(serde_json::from_str(&line)?))
}

fn say(mut stream: &UnixStream, message: &impl Serialize) -> io::Result<()> {
    let line = serde_json::to_string(message)? + "\n";
    stream.write_all(line.as_bytes())
}

/// A way to a node that runs.
#[derive(Debug)]
pub(crate) struct Client(UnixStream);

impl Client {
    /// `None` when no process runs the node.
    pub(crate) fn connect(folder: &Path) -> Result<Option<Self>, Failure> {
        let path = folder.join(SOCKET);
        match UnixStream::connect(&path) {
            Ok(stream) => Ok(Some(Self(stream))),
            Err(error) => match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Ok(None),
                _ => Err(Failure::io(&path.display().to_string(), &error)),
            },
        }
    }

    /// Asks, and waits for the answer for so long.
    pub(crate) fn ask(&self, request: &Request, at_most: Duration) -> io::Result<Reply> {
        self.0.set_read_timeout(Some(at_most))?;
        say(&self.0, request)?;
        match hear(&mut BufReader::new(&self.0))? {
            Some(reply) => Ok(reply),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_runs_once_and_is_asked() {
        let folder = std::env::temp_dir().join(format!("helixctl-control-{}", std::process::id()));
        assert!(Client::connect(&folder).unwrap().is_none());
        let mut hold = Hold::take(&folder).unwrap();
        assert_eq!(Hold::take(&folder).unwrap_err().exit, Exit::Busy);
        let live = Arc::new(Mutex::new(Live::default()));
        let (told, asked) = mpsc::channel();
        // What a killed process left.
        drop(UnixListener::bind(folder.join(SOCKET)).unwrap());
        assert!(Client::connect(&folder).unwrap().is_none());
        hold.serve(&folder, &live, &told).unwrap();

        let client = Client::connect(&folder).unwrap().unwrap();
        let ask = |request| client.ask(&request, Duration::from_secs(60)).unwrap();
        assert!(matches!(ask(Request::State), Reply::State(live) if live.pid == 0));
        live.lock().unwrap().pid = 7;
        let request = |wait| Request::Do {
            command: Command::Undo,
            wait: Duration::from_secs(wait),
        };
        assert!(matches!(ask(request(0)), Reply::NotYet(live) if live.pid == 7));
        drop(asked.recv().unwrap());
        let node = std::thread::spawn(move || match asked.recv().unwrap() {
            Told::Asked { command, answer } => {
                assert_eq!(command, Command::Undo);
                answer.send(Reply::Declined(String::from("no"))).unwrap();
            }
            other => panic!("{other:?}"),
        });
        assert!(matches!(ask(request(60)), Reply::Declined(why) if why == "no"));
        node.join().unwrap();
        assert!(matches!(ask(request(60)), Reply::Declined(why) if why == "it is ending"));
        drop(hold);
        assert!(!folder.join(SOCKET).exists());
        std::fs::set_permissions(&folder, Permissions::from_mode(0o755)).unwrap();
        assert_eq!(Hold::take(&folder).unwrap_err().exit, Exit::Denied);
        std::fs::remove_dir_all(folder).unwrap();
    }
}
