//! Keys, from files and from the terminal. No message ever quotes one.

use std::fs::File;
use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use helix_zfs::zfs_core::key::{KEY_LEN, WrappingKey};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use crate::failure::Failure;

/// What no key is longer than: a passphrase of 512 bytes and its end of line.
const LONGEST: u64 = 4096;

/// Where a key comes from.
#[derive(Clone, Debug, Args)]
pub(crate) struct KeyArguments {
    /// The key's file: 32 bytes, or a line of 64 hexadecimal digits, or a line with a passphrase.
    /// `-` reads standard input. Without it, the passphrase is asked for on the terminal.
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
}

impl KeyArguments {
    /// The key of `what`. A new one is asked for twice.
    pub(crate) fn read(&self, what: &str, is_new: bool) -> Result<WrappingKey, Failure> {
        match &self.key_file {
            Some(path) => from_file(path),
            None => from_terminal(what, is_new),
        }
    }
}

pub(crate) fn from_file(path: &Path) -> Result<WrappingKey, Failure> {
    let name = path.display().to_string();
    let input: Box<dyn Read> = match name.as_str() {
        "-" => Box::new(io::stdin().lock()),
        _ => Box::new(File::open(path).map_err(|error| Failure::io(&name, &error))?),
    };
    let mut contents = Zeroizing::new(Vec::with_capacity(4097));
    input
        .take(LONGEST)
        .read_to_end(&mut contents)
        .map_err(|error| Failure::io(&name, &error))?;
    let not_a_key = |why: &str| Failure::usage(format!("{name}: not a key: {why}"));
    if let Ok(key) = <&[u8; KEY_LEN]>::try_from(contents.as_slice()) {
        return Ok(WrappingKey::raw(key));
    }
    let text =
        std::str::from_utf8(&contents).map_err(|_| not_a_key("neither 32 bytes nor text"))?;
    let line = text.strip_suffix('\n').unwrap_or(text);
    if line.len() == 2 * KEY_LEN && line.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(WrappingKey::hex(line)?);
    }
    WrappingKey::passphrase(line).map_err(|_| not_a_key("a passphrase has 8 to 512 bytes"))
}

pub(crate) fn from_terminal(what: &str, is_new: bool) -> Result<WrappingKey, Failure> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(Failure::usage(format!(
            "the key of {what} is needed: name its file with --key-file"
        )));
    }
    let passphrase = ask(&format!("Passphrase of {what}: "))?;
    if is_new && *passphrase != *ask("Once more: ")? {
        return Err(Failure::usage("the two passphrases differ"));
    }
    WrappingKey::passphrase(&passphrase)
        .map_err(|_| Failure::usage("a passphrase has 8 to 512 bytes"))
}

/// A terminal that does not show what is typed, until dropped.
struct Silent(Termios);

impl Silent {
    fn new() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        silent.local_modes.insert(LocalModes::ECHONL);
        tcsetattr(io::stdin(), OptionalActions::Flush, &silent)?;
        Ok(Self(before))
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        // There is nobody to tell.
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &self.0);
    }
}

fn ask(question: &str) -> Result<Zeroizing<String>, Failure> {
    let failed = |error: io::Error| Failure::io("the terminal", &error);
    let mut error = io::stderr().lock();
    error
        .write_all(question.as_bytes())
        .and_then(|()| error.flush())
        .map_err(failed)?;
    let silent = Silent::new().map_err(failed)?;
    let mut line = Zeroizing::new(String::with_capacity(1024));
    io::stdin().lock().read_line(&mut line).map_err(failed)?;
    drop(silent);
    let end = line.trim_end_matches('\n').len();
    line.truncate(end);
    Ok(line)
}
