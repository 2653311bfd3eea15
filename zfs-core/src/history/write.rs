//! Writing lines.

use super::line::MAX_LEN;
use crate::error::{Errno, Error, ErrorKind, Operation, Result};
use crate::ffi::device::Request;
use crate::nv::NvMap;
use crate::pool::Pool;
use crate::zfs::Zfs;
use std::borrow::Cow;
use std::ffi::{CString, OsString};
use std::path::Path;
use std::sync::Arc;
use zfs_core_sys::ioctl::{ZFS_IOC_LOG_HISTORY, ZFS_IOC_SET_PROP};

const OPERATION: Operation = Operation::WriteHistory;

/// The longest name of a program that is written, in characters.
const MAX_PROGRAM_LEN: usize = 64;

/// Who writes lines, if anybody does.
#[derive(Clone, Debug)]
pub(crate) struct Recorder(Option<Arc<str>>);

impl Recorder {
    /// In the name of this program.
    pub(crate) fn new() -> Self {
        let program = std::env::args_os()
            .next()
            .and_then(|path| Path::new(&path).file_name().map(OsString::from))
            .map_or(Cow::Borrowed("zfs-core"), |name| {
                Cow::Owned(name.to_string_lossy().into_owned())
            });
        Self::named(&program)
    }

    fn named(program: &str) -> Self {
        let name: String = program.chars().take(MAX_PROGRAM_LEN).collect();
        Self(Some(name.into()))
    }
}

impl Zfs {
    /// The same ZFS, whose changes are written into the [history](crate::history) in the name of
    /// `program` instead of the executable's. Everything that is made from it follows.
    #[must_use]
    pub fn with_program_name(mut self, program: &str) -> Self {
        self.recorder = Recorder::named(program);
        self
    }

    /// The same ZFS, whose changes are not written into the [history](crate::history). What the
    /// kernel itself notes stays.
    #[must_use]
    pub fn without_history(mut self) -> Self {
        self.recorder = Recorder(None);
        self
    }

    /// The name in which changes are written into the [history](crate::history), if they are.
    #[must_use]
    pub fn program_name(&self) -> Option<&str> {
        self.recorder.0.as_deref()
    }

    /// Writes a line into the history of the pool that this thread has just changed.
    ///
    /// The kernel remembers for each thread which pool its last successful request changed, so
    /// this is called immediately after that request, from the same thread. That a line could not
    /// be written is no reason to call the change a failure.
    pub(crate) fn record<L: Into<String>>(&self, line: impl FnOnce() -> L) {
        if let Some(mut note) = self.note(|| line().into()) {
            let _ = note.run();
        }
    }

    /// The request that writes a line, for another thread to run.
    pub(crate) fn note(&self, line: impl FnOnce() -> String) -> Option<Request<'_>> {
        let line = self.signed(line)?;
        let mut message = NvMap::new();
        message.insert(c"message", line);
        self.request(ZFS_IOC_LOG_HISTORY, c"").input(&message).ok()
    }

    /// The whole line, for requests that take it with them.
    pub(crate) fn signed(&self, line: impl FnOnce() -> String) -> Option<CString> {
        let program = self.recorder.0.as_deref()?;
        CString::new(fit(&format!("{program}: {}", line()))).ok()
    }
}

impl Pool {
    /// Writes a line of the caller's own into the [history](crate::history), behind the name of the
    /// program. Nothing else is changed, and no transaction group is waited for: the line is on disk
    /// when the one that is open is.
    ///
    /// Control characters are written as escapes, and a line of more than 8192 bytes is cut. Nothing
    /// is written if the history [is turned off](Zfs::without_history).
    ///
    /// # Errors
    ///
    /// | kind | when |
    /// |---|---|
    /// | `NotFound` | no pool of that name is imported |
    /// | `ReadOnlyPool` | as it says |
    /// | `Unsupported` | the pool's version is too old for a history |
    /// | `PoolSuspended` | as it says |
    ///
    /// # Privileges
    ///
    /// Read and write permission on `/dev/zfs`: the kernel lets everybody who may open it write, and
    /// puts the number of the user with the line.
    ///
    /// Requests `ZFS_IOC_SET_PROP`, with nothing to be set, and `ZFS_IOC_LOG_HISTORY`: the kernel takes
    /// a line only from a thread that has just changed the pool, for all that it knows.
    #[doc(alias = "ZFS_IOC_LOG_HISTORY")]
    #[doc(alias = "zpool_log_history")]
    pub fn add_history(&self, line: &str) -> Result<()> {
        let Some(mut note) = self.zfs().note(|| line.to_owned()) else {
            return Ok(());
        };
        let error = |errno| Error::new(OPERATION, self.name().as_str(), errno);
        self.zfs()
            .request(ZFS_IOC_SET_PROP, self.name().as_c_str())
            .input(&NvMap::new())
            .map_err(|refusal| refusal.into_error(OPERATION, self.name().as_str()))?
            .run()
            .map_err(error)?;
        note.run().map_err(|errno| match errno {
            Errno::ENOTSUP => error(errno).with_kind(ErrorKind::Unsupported),
            _ => error(errno),
        })
    }
}

/// One line of a length that readers expect.
fn fit(text: &str) -> String {
    const CUT: &str = " (cut)";
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        match c.is_control() {
            true => line.extend(c.escape_default()),
            false => line.push(c),
        }
    }
    if line.len() > MAX_LEN {
        let mut end = MAX_LEN - CUT.len();
        while !line.is_char_boundary(end) {
            end -= 1;
        }
        line.truncate(end);
        line.push_str(CUT);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_line_of_bounded_length() {
        assert_eq!(
            fit("zfs set a:b=c\nd\0e tank"),
            r"zfs set a:b=c\nd\u{0}e tank"
        );
        let whole = "x".repeat(MAX_LEN);
        assert_eq!(fit(&whole), whole);
        for text in [
            "x".repeat(MAX_LEN + 1),
            "€".repeat(MAX_LEN),
            "\n".repeat(MAX_LEN),
        ] {
            let line = fit(&text);
            assert!(
                line.len() <= MAX_LEN && line.ends_with(" (cut)"),
                "{}",
                line.len()
            );
        }
    }
}
