use std::borrow::Cow;
use std::fmt;

use super::super::{KeyError, KeyId, KeyProblem};

/// What kept a server from doing what was asked.
///
/// It says which request to which server, and holds nothing of what was sent or answered but the
/// status and the server's known phrases: an answer could quote a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VaultError {
    problem: KeyProblem,
    status: Option<u16>,
    request: String,
    detail: Cow<'static, str>,
    fate: Fate,
}

/// What became of a request that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// The server did nothing.
    NotDone,
    /// It may have been done.
    Unknown,
}

impl VaultError {
    pub(super) fn new(
        problem: KeyProblem,
        request: impl Into<String>,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            problem,
            status: None,
            request: request.into(),
            detail: detail.into(),
            fate: Fate::NotDone,
        }
    }

    pub(super) fn with_status(mut self, status: u16) -> Self {
        self.status = Some(status);
        self
    }

    pub(super) fn with_fate(mut self, fate: Fate) -> Self {
        self.fate = fate;
        self
    }

    pub(super) fn with_problem(mut self, problem: KeyProblem) -> Self {
        self.problem = problem;
        self
    }

    pub(super) fn fate(&self) -> Fate {
        self.fate
    }

    pub(super) fn of(self, id: &KeyId) -> KeyError {
        KeyError::new(id, self.problem, self.to_string())
    }

    /// What is wrong.
    #[must_use]
    pub fn problem(&self) -> KeyProblem {
        self.problem
    }

    /// The HTTP status of the answer, if there was one.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.status
    }
}

impl fmt::Display for VaultError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.request, self.detail)?;
        match self.status {
            Some(status) => write!(f, " (HTTP status {status})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for VaultError {}
