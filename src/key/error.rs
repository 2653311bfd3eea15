use std::fmt;

use serde::{Deserialize, Serialize};

use super::{KeyId, KeyVersion};

/// What kept a key from being had or stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum KeyProblem {
    /// The server cannot be reached, or the connection broke: it is down, or its name is unknown.
    Unreachable,
    /// What answers does not show that it is the server: its certificate is of another authority, for
    /// another name, or has expired. Nothing was sent to it.
    Untrusted,
    /// The server runs and is sealed: somebody has to unseal it.
    Sealed,
    /// No answer in time.
    TimedOut,
    /// The server asks for fewer requests.
    Throttled,
    /// The server failed.
    Failed,
    /// The provider does not let us: no valid login, or no right to this key.
    Denied,
    /// There is no such key, or no such version of it.
    NotFound,
    /// What came is no key: another length, another type, no answer of such a server.
    Malformed,
    /// It is a key, but another than the one expected.
    WrongKey,
    /// Somebody else stored a version in the meantime. Nothing was stored.
    Conflict,
    /// The provider cannot do this, or not with a key of this name.
    Unsupported,
    /// Others could read or replace the key where it lies: its owner or mode, or that of a folder, is
    /// wrong. It was not used.
    Permissions,
    /// The file or folder cannot be read or written.
    Io,
}

impl KeyProblem {
    /// Whether the same call may succeed later without anybody changing anything.
    #[must_use]
    pub fn is_transient(self) -> bool {
        matches!(
            self,
            Self::Unreachable | Self::TimedOut | Self::Throttled | Self::Failed
        )
    }

    fn text(self) -> &'static str {
        match self {
            Self::Unreachable => "the provider cannot be reached",
            Self::Untrusted => "it is not shown to be the server",
            Self::Sealed => "the server is sealed",
            Self::TimedOut => "no answer in time",
            Self::Throttled => "the server asks for fewer requests",
            Self::Failed => "the server failed",
            Self::Denied => "access is denied",
            Self::NotFound => "there is no such key",
            Self::Malformed => "what came is no key",
            Self::WrongKey => "it is another key",
            Self::Conflict => "somebody else stored a version in the meantime",
            Self::Unsupported => "the provider cannot do this",
            Self::Permissions => "others could read or replace it",
            Self::Io => "it cannot be read or written",
        }
    }
}

impl fmt::Display for KeyProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.text())
    }
}

/// A key could not be had or stored. It names the key, and never holds any of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
pub struct KeyError {
    key: KeyId,
    version: Option<KeyVersion>,
    problem: KeyProblem,
    detail: String,
}

impl KeyError {
    /// That there is this `problem` with the key. A detail must not quote what a provider answered
    /// where a key could be in it.
    #[must_use]
    pub fn new(key: &KeyId, problem: KeyProblem, detail: impl Into<String>) -> Self {
        Self {
            key: key.clone(),
            version: None,
            problem,
            detail: detail.into(),
        }
    }

    /// The same, of one version.
    #[must_use]
    pub fn with_version(mut self, version: KeyVersion) -> Self {
        self.version = Some(version);
        self
    }

    /// What is wrong.
    #[must_use]
    pub fn problem(&self) -> KeyProblem {
        self.problem
    }

    /// Of which key.
    #[must_use]
    pub fn key(&self) -> &KeyId {
        &self.key
    }

    /// Of which version, when one was asked for.
    #[must_use]
    pub fn version(&self) -> Option<KeyVersion> {
        self.version
    }

    /// What is wrong, exactly; may be empty.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.detail
    }
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "key {}", self.key)?;
        if let Some(version) = self.version {
            write!(f, ", version {version}")?;
        }
        write!(f, ": {}", self.problem)?;
        if self.detail.is_empty() {
            Ok(())
        } else {
            write!(f, ": {}", self.detail)
        }
    }
}
