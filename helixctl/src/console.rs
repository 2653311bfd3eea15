//! The only place that writes to the terminal, and reads from it.

use std::io::{self, BufRead, IsTerminal, Write};
use std::os::fd::AsFd;
use std::process::Stdio;

use clap::{ArgMatches, FromArgMatches};
use helix_zfs::zfs_core::Zfs;
use serde::Serialize;
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::arguments::Global;
use crate::failure::{Exit, Failure};

/// The version of the JSON documents.
pub(crate) const SCHEMA: u32 = 1;

/// How this run talks to whoever started it.
#[derive(Debug)]
pub(crate) struct Console {
    global: Global,
    command: String,
}

/// What a command is about to do.
#[derive(Debug, Default)]
pub(crate) struct Intent {
    changes: Vec<String>,
    loss: Vec<String>,
    details: Value,
    page: String,
}

impl Intent {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// More about it: for scripts, and as a page for people.
    pub(crate) fn details(
        mut self,
        details: &impl Serialize,
        page: impl Into<String>,
    ) -> Result<Self, Failure> {
        self.details = to_json(details)?;
        self.page = page.into();
        Ok(self)
    }

    /// A change that loses nothing.
    pub(crate) fn change(mut self, change: impl Into<String>) -> Self {
        self.changes.push(change.into());
        self
    }

    /// A change after which something is lost: it is asked about.
    pub(crate) fn loses(mut self, change: impl Into<String>) -> Self {
        let change = change.into();
        self.loss.push(change.clone());
        self.changes.push(change);
        self
    }
}

impl Console {
    pub(crate) fn new(matches: &ArgMatches, command: String) -> Self {
        Self {
            // Global arguments are known on every level.
            global: Global::from_arg_matches(matches).unwrap_or_default(),
            command,
        }
    }

    pub(crate) fn zfs(&self) -> Result<Zfs, Failure> {
        Ok(Zfs::open()?)
    }

    pub(crate) fn global(&self) -> &Global {
        &self.global
    }

    /// The words of the command: `tenant create`.
    pub(crate) fn command(&self) -> &str {
        &self.command
    }

    /// Whether somebody looks on who has a use for a line that changes.
    pub(crate) fn has_watcher(&self) -> bool {
        !self.global.json && io::stderr().is_terminal()
    }

    /// To be called before the first change. With `--dry-run` it returns the command's answer:
    /// nothing is to be done. Otherwise it asks, if anything would be lost.
    pub(crate) fn before(&self, intent: &Intent) -> Result<Option<Answer>, Failure> {
        if self.global.dry_run {
            let data = json!({
                "dry_run": true,
                "changes": intent.changes,
                "loses": intent.loss,
                "details": intent.details,
            });
            let text = match intent.changes.is_empty() {
                true => String::from("nothing to do\n"),
                false => lines("would ", &intent.changes),
            };
            return Answer::new(&data, format!("{}{text}", intent.page)).map(Some);
        }
        match intent.loss.is_empty() {
            true => Ok(None),
            false => self.ask(intent).map(|()| None),
        }
    }

    fn ask(&self, intent: &Intent) -> Result<(), Failure> {
        if self.global.yes {
            return Ok(());
        }
        let (first, more) = match intent.loss.as_slice() {
            [] => return Ok(()),
            [only] => (only.clone(), String::new()),
            [first, rest @ ..] => (first.clone(), format!(", and {} more", rest.len())),
        };
        if self.global.json || !io::stdin().is_terminal() || !io::stderr().is_terminal() {
            return Err(
                Failure::refused(format!("this would {first}{more}; nobody said yes"))
                    .advice("see it with --dry-run, then say --yes"),
            );
        }
        self.remark(&intent.page);
        self.remark(&lines("this will ", &intent.loss));
        let mut error = io::stderr().lock();
        let asked = write!(error, "Type yes to go on: ").and_then(|()| error.flush());
        let mut answer = String::new();
        let read = asked.and_then(|()| io::stdin().lock().read_line(&mut answer));
        match read {
            Ok(_) if answer.trim() == "yes" => Ok(()),
            Ok(_) => Err(Failure::refused(
                "the answer was not yes; nothing was changed",
            )),
            Err(error) => Err(Failure::io("the terminal", &error)),
        }
    }

    /// Says something on the side, to people only.
    pub(crate) fn remark(&self, text: &str) {
        if !self.global.json {
            // Who does not listen misses it.
            let _ = io::stderr().write_all(text.as_bytes());
        }
    }

    /// Where a program that is run writes to, if not to our standard output: that is for one JSON
    /// document.
    pub(crate) fn output_of_programs(&self) -> Result<Option<Stdio>, Failure> {
        if !self.global.json {
            return Ok(None);
        }
        let copy = io::stderr().as_fd().try_clone_to_owned();
        copy.map(|copy| Some(copy.into()))
            .map_err(|error| Failure::io("standard error", &error))
    }

    /// Something that happened in a command that goes on: a line at once.
    pub(crate) fn event(&self, data: &impl Serialize, text: &str) -> Result<(), Failure> {
        let line = match self.global.json {
            true => {
                let data = to_json(data)?;
                let event = json!({ "schema": SCHEMA, "command": self.command, "event": data });
                format!("{event}\n")
            }
            false => format!("{text}\n"),
        };
        write_out(&line).map_err(|error| Failure::io("standard output", &error))
    }

    /// Writes the answer, and returns how the command ended.
    pub(crate) fn finish(&self, result: Result<Answer, Failure>) -> Exit {
        let (exit, data, text, failure) = match result {
            Ok(answer) => (answer.exit, answer.data, answer.text, answer.failure),
            Err(failure) => (failure.exit, Value::Null, String::new(), Some(failure)),
        };
        let written = match self.global.json {
            true => {
                let document = json!({
                    "schema": SCHEMA,
                    "command": self.command,
                    "status": exit.word(),
                    "exit": exit.code(),
                    "data": data,
                    "error": failure,
                });
                write_out(&format!("{document:#}\n"))
            }
            false => write_out(&text),
        };
        if let Some(failure) = failure {
            let mut told = format!("helixctl: {failure}\n");
            if let Some(advice) = &failure.advice {
                told += &format!("helixctl: {advice}\n");
            }
            let _ = io::stderr().write_all(told.as_bytes());
        }
        match written {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Exit::Failed,
            _ => exit,
        }
    }
}

pub(crate) fn to_json(data: &impl Serialize) -> Result<Value, Failure> {
    serde_json::to_value(data)
        .map_err(|error| Failure::new(Exit::Failed, format!("no JSON: {error}")))
}

fn lines(before: &str, changes: &[String]) -> String {
    changes
        .iter()
        .map(|change| format!("{before}{change}\n"))
        .collect()
}

fn write_out(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Who runs this, as far as the environment tells.
pub(crate) fn user() -> String {
    ["SUDO_USER", "USER", "LOGNAME"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok().filter(|name| !name.is_empty()))
        .unwrap_or_else(|| format!("uid {}", rustix::process::getuid().as_raw()))
}
