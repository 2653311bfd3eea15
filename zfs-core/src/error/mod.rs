//! The one error type, and what it is made of.

mod errno;
mod kind;
mod operation;

pub use errno::Errno;
pub use kind::ErrorKind;
pub use operation::Operation;

use crate::name::NameError;
use crate::nv::NvMap;
use std::ffi::CString;
use std::{fmt, io};

/// The result of an operation on ZFS.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an operation on ZFS failed.
///
/// An error names the [operation](Self::operation), the [object](Self::object), the
/// [error number](Self::errno) that the kernel gave and every [item](Self::failures) of a batch
/// that failed. [`kind`](Self::kind) is for programs, `Display` for people. Neither `Display`
/// nor `Debug` ever holds key material.
pub struct Error(Box<Inner>);

struct Inner {
    operation: Operation,
    object: String,
    kind: ErrorKind,
    errno: Option<Errno>,
    failures: Vec<Failure>,
    suppressed: u32,
    detail: Option<String>,
    source: Option<io::Error>,
}

/// One item of a batch that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Failure {
    /// The item as the kernel names it: a snapshot, a bookmark, a property, a `snapshot#tag`.
    pub name: String,
    /// What the kernel said of it.
    pub errno: Errno,
    /// What that means.
    pub kind: ErrorKind,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ({})", self.name, self.kind, self.errno)
    }
}

impl Error {
    /// What was being done.
    #[must_use]
    pub fn operation(&self) -> Operation {
        self.0.operation
    }

    /// What it was done to: a name, or the first of a batch and how many more there are.
    #[must_use]
    pub fn object(&self) -> &str {
        &self.0.object
    }

    /// What went wrong, for a program to act on.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The number that the kernel or the C library returned. `None` when the request was refused
    /// before it got there, or when the call succeeded for a part of a batch.
    #[must_use]
    pub fn errno(&self) -> Option<Errno> {
        self.0.errno
    }

    /// The items that failed, as far as the kernel named them.
    #[must_use]
    pub fn failures(&self) -> &[Failure] {
        &self.0.failures
    }

    /// How many more items failed than [`failures`](Self::failures) names: the kernel cuts the
    /// list when it does not fit the answer.
    #[must_use]
    pub fn suppressed(&self) -> u32 {
        self.0.suppressed
    }

    /// More about the cause, where there is more: the rule that a name breaks, the snapshot that
    /// stands in the way of a promotion, or what Lua says of a program, over several lines.
    #[must_use]
    pub fn detail(&self) -> Option<&str> {
        self.0.detail.as_deref()
    }

    /// The error of something that a [program](crate::program) did: a function of `zfs.sync` or
    /// `zfs.check` returned `errno` for `object`. Its kind is that of the `operation` that does the
    /// same outside of programs.
    #[must_use]
    pub fn in_program(operation: Operation, object: impl Into<String>, errno: Errno) -> Self {
        Self::new(operation, object, errno)
    }

    /// What this error of a batch is for its item `name` alone: the failure that the kernel named for
    /// it, or else what it said of the whole batch.
    #[must_use]
    pub fn of_item(&self, name: &str) -> Self {
        let failure = self.0.failures.iter().find(|failure| failure.name == name);
        Self(Box::new(Inner {
            operation: self.0.operation,
            object: name.to_owned(),
            kind: failure.map_or(self.0.kind, |failure| failure.kind),
            errno: failure.map(|failure| failure.errno).or(self.0.errno),
            failures: Vec::new(),
            suppressed: 0,
            detail: self.0.detail.clone().filter(|_| failure.is_none()),
            source: None,
        }))
    }

    pub(crate) fn new(operation: Operation, object: impl Into<String>, errno: Errno) -> Self {
        Self(Box::new(Inner {
            operation,
            object: object.into(),
            kind: ErrorKind::of(operation, errno),
            errno: Some(errno),
            failures: Vec::new(),
            suppressed: 0,
            detail: None,
            source: None,
        }))
    }

    /// An error found before the kernel was asked, or in what it answered.
    pub(crate) fn refused(
        operation: Operation,
        object: impl Into<String>,
        kind: ErrorKind,
        detail: impl Into<String>,
    ) -> Self {
        Self(Box::new(Inner {
            operation,
            object: object.into(),
            kind,
            errno: None,
            failures: Vec::new(),
            suppressed: 0,
            detail: Some(detail.into()),
            source: None,
        }))
    }

    pub(crate) fn protocol(
        operation: Operation,
        object: impl Into<String>,
        detail: impl fmt::Display,
    ) -> Self {
        Self::refused(operation, object, ErrorKind::Protocol, detail.to_string())
    }

    /// The same error, as that of a larger operation that this one was a step of.
    pub(crate) fn during(mut self, operation: Operation) -> Self {
        self.0.operation = operation;
        self
    }

    pub(crate) fn with_kind(mut self, kind: ErrorKind) -> Self {
        self.0.kind = kind;
        self
    }

    pub(crate) fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.0.detail = Some(detail.into());
        self
    }

    /// A failure to read or write what is no ZFS object. The whole of it is the error's
    /// [source](std::error::Error::source).
    pub(crate) fn transport(
        operation: Operation,
        object: impl Into<String>,
        source: io::Error,
    ) -> Self {
        let mut error = Self::refused(operation, object, ErrorKind::Transport, source.to_string());
        error.0.source = Some(source);
        error
    }

    /// Adds the kernel's list of failures. When they all mean the same, so does the error.
    pub(crate) fn with_failures(mut self, list: FailureList) -> Self {
        if let Some(first) = list.failures.first() {
            if list.suppressed == 0 && list.failures.iter().all(|f| f.kind == first.kind) {
                self.0.kind = first.kind;
            }
        }
        self.0.failures = list.failures;
        self.0.suppressed = list.suppressed;
        self
    }

    /// Gives the failures of the kind `from` a more exact one, where `exact` knows better.
    pub(crate) fn refine(
        mut self,
        from: ErrorKind,
        mut exact: impl FnMut(&str) -> Option<ErrorKind>,
    ) -> Self {
        let list = FailureList {
            failures: std::mem::take(&mut self.0.failures),
            suppressed: self.0.suppressed,
        };
        let failures = list
            .failures
            .into_iter()
            .map(|mut failure| {
                if failure.kind == from {
                    failure.kind = exact(&failure.name).unwrap_or(from);
                }
                failure
            })
            .collect();
        self.with_failures(FailureList {
            failures,
            suppressed: list.suppressed,
        })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 8;
        let Inner {
            operation,
            object,
            kind,
            errno,
            failures,
            suppressed,
            detail,
            source: _,
        } = &*self.0;
        write!(f, "cannot {operation}")?;
        if !object.is_empty() {
            write!(f, " {object}")?;
        }
        write!(f, ": {kind}")?;
        if let Some(errno) = errno {
            match (kind, errno.description()) {
                (ErrorKind::Other, Some(text)) => write!(f, ": {text} ({errno})")?,
                _ => write!(f, " ({errno})")?,
            }
        }
        // The rest of a long text is in the detail.
        if let Some(line) = detail.as_deref().and_then(|detail| detail.lines().next()) {
            write!(f, ": {line}")?;
        }
        for failure in failures.iter().take(SHOWN) {
            write!(f, "; {failure}")?;
        }
        let more = failures.len().saturating_sub(SHOWN) + *suppressed as usize;
        if more > 0 {
            write!(f, "; and {more} more")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner {
            operation,
            object,
            kind,
            errno,
            failures,
            suppressed,
            detail,
            source,
        } = &*self.0;
        f.debug_struct("Error")
            .field("operation", operation)
            .field("object", object)
            .field("kind", kind)
            .field("errno", errno)
            .field("failures", failures)
            .field("suppressed", suppressed)
            .field("detail", detail)
            .field("source", source)
            .finish()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        let source = self.0.source.as_ref()?;
        Some(source)
    }
}

impl From<NameError> for Error {
    fn from(error: NameError) -> Self {
        let kind = match error.rule() {
            crate::name::NameRule::TooLong => ErrorKind::NameTooLong,
            _ => ErrorKind::InvalidName,
        };
        Self::refused(
            Operation::CheckName,
            error.name(),
            kind,
            error.rule().to_string(),
        )
    }
}

/// What a kernel's list of per-item errors says.
#[derive(Debug, Default)]
pub(crate) struct FailureList {
    pub(crate) failures: Vec<Failure>,
    pub(crate) suppressed: u32,
}

impl FailureList {
    /// Reads `{name: int32 errno}`. The kernel adds `N_MORE_ERRORS` when it had to cut the list.
    pub(crate) fn read(operation: Operation, list: &NvMap) -> Self {
        let mut read = Self::default();
        for (name, value) in list.iter() {
            let Some(number) = value.as_i32() else {
                // It failed, though nobody can tell how.
                read.suppressed = read.suppressed.saturating_add(1);
                continue;
            };
            if name.to_bytes() == b"N_MORE_ERRORS" {
                let more = u32::try_from(number).unwrap_or(0);
                read.suppressed = read.suppressed.saturating_add(more);
                continue;
            }
            let errno = Errno::from_raw(number);
            read.failures.push(Failure {
                name: name.to_string_lossy().into_owned(),
                errno,
                kind: ErrorKind::of(operation, errno),
            });
        }
        read
    }
}

/// How a batch ended of which the kernel may carry out a part.
///
/// Holds and releases are not all-or-nothing: a snapshot that does not exist is reported and the
/// rest is done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a batch can succeed for some of its items and fail for others"]
pub struct Outcome {
    operation: Operation,
    total: usize,
    failures: Vec<Failure>,
    suppressed: u32,
}

impl Outcome {
    pub(crate) fn new(operation: Operation, total: usize, list: FailureList) -> Self {
        Self {
            operation,
            total,
            failures: list.failures,
            suppressed: list.suppressed,
        }
    }

    /// Whether every item succeeded.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.failures.is_empty() && self.suppressed == 0
    }

    /// The items that failed.
    #[must_use]
    pub fn failures(&self) -> &[Failure] {
        &self.failures
    }

    /// How many more items failed than the kernel named.
    #[must_use]
    pub fn suppressed(&self) -> u32 {
        self.suppressed
    }

    /// How many items succeeded.
    #[must_use]
    pub fn succeeded(&self) -> usize {
        self.total
            .saturating_sub(self.failures.len() + self.suppressed as usize)
    }

    /// Turns a partial success into an error of the kind [`ErrorKind::Partial`] (or of the
    /// failures' own kind when nothing succeeded and they agree) that names each failure.
    pub fn complete(self) -> Result<()> {
        if self.is_complete() {
            return Ok(());
        }
        let succeeded = self.succeeded();
        let error = Error::refused(
            self.operation,
            format!("{} items", self.total),
            ErrorKind::Partial,
            format!("{succeeded} succeeded"),
        )
        .with_failures(FailureList {
            failures: self.failures,
            suppressed: self.suppressed,
        });
        Err(if succeeded == 0 {
            error
        } else {
            error.with_kind(ErrorKind::Partial)
        })
    }
}

/// The first of a batch and how many follow, for an error's object.
pub(crate) fn describe_batch<S: fmt::Display>(items: &[S]) -> String {
    match items {
        [] => String::from("an empty batch"),
        [one] => one.to_string(),
        [first, rest @ ..] => format!("{first} and {} more", rest.len()),
    }
}

/// A C string of text that has no NUL, or an error that says which text has one.
pub(crate) fn c_string(operation: Operation, what: &str, text: &str) -> Result<CString> {
    CString::new(text).map_err(|_| {
        Error::refused(
            operation,
            text,
            ErrorKind::InvalidArgument,
            format!("{what} contains a NUL character"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_number_means_different_things() {
        let kind = |operation| ErrorKind::of(operation, Errno::EEXIST);
        assert_eq!(kind(Operation::CreateDataset), ErrorKind::AlreadyExists);
        assert_eq!(kind(Operation::DestroySnapshots), ErrorKind::HasClones);
        assert_eq!(kind(Operation::Rollback), ErrorKind::NewerSnapshotsExist);
        assert_eq!(kind(Operation::LoadKey), ErrorKind::KeyLoaded);
    }

    #[test]
    fn unknown_numbers_stay_visible() {
        let error = Error::new(Operation::Rollback, "tank/a", Errno::from_raw(4242));
        assert_eq!(error.kind(), ErrorKind::Other);
        assert_eq!(error.errno().map(Errno::raw), Some(4242));
        assert_eq!(
            error.to_string(),
            "cannot roll back tank/a: failed (errno 4242)"
        );
    }

    #[test]
    fn failures_are_listed_and_the_cut_is_counted() {
        let mut list = NvMap::new();
        list.try_insert("tank/a@x", 17i32).unwrap();
        list.try_insert("N_MORE_ERRORS", 3i32).unwrap();
        let list = FailureList::read(Operation::CreateSnapshots, &list);
        let error = Error::new(
            Operation::CreateSnapshots,
            "tank/a@x and 9 more",
            Errno::EEXIST,
        )
        .with_failures(list);
        assert_eq!(error.suppressed(), 3);
        assert_eq!(
            error.to_string(),
            "cannot create snapshots tank/a@x and 9 more: already exists (EEXIST); \
             tank/a@x: already exists (EEXIST); and 3 more"
        );
    }

    #[test]
    fn an_item_has_its_own_error() {
        let mut list = NvMap::new();
        list.try_insert("tank/a@x", 17i32).unwrap();
        let list = FailureList::read(Operation::CreateSnapshots, &list);
        let error = Error::new(
            Operation::CreateSnapshots,
            "tank/a@x and 1 more",
            Errno::EIO,
        )
        .with_failures(list);
        assert_eq!(
            error.of_item("tank/a@x").to_string(),
            "cannot create snapshots tank/a@x: already exists (EEXIST)"
        );
        let other = error.of_item("tank/b@x");
        assert_eq!((other.object(), other.errno()), ("tank/b@x", error.errno()));
        assert_eq!(other.kind(), error.kind());
    }

    #[test]
    fn a_failure_that_cannot_be_read_is_counted() {
        let mut list = NvMap::new();
        list.try_insert("tank/a@x", 17i32).unwrap();
        list.try_insert("tank/b@x", 17u64).unwrap();
        list.try_insert("N_MORE_ERRORS", 3i32).unwrap();
        let list = FailureList::read(Operation::Hold, &list);
        assert_eq!((list.failures.len(), list.suppressed), (1, 4));
        assert!(!Outcome::new(Operation::Hold, 9, list).is_complete());
    }

    #[test]
    fn partial_success_is_an_error_only_on_demand() {
        let failures = vec![Failure {
            name: "tank@x".into(),
            errno: Errno::ENOENT,
            kind: ErrorKind::NotFound,
        }];
        let outcome = Outcome::new(
            Operation::Hold,
            2,
            FailureList {
                failures,
                suppressed: 0,
            },
        );
        assert_eq!(outcome.succeeded(), 1);
        let error = outcome.complete().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Partial);
        assert_eq!(error.failures().len(), 1);
    }
}
