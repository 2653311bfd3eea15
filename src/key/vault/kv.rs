//! Texts in numbered versions, in a KV engine of version 2.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::Vault;
use super::client::{Ask, Reply};
use super::error::{Fate, VaultError};
use super::template::Template;
use super::wiped::{Text, json};
use crate::key::{KeyId, KeyProblem, KeyVersion};

/// How many versions the engine keeps when nobody says otherwise.
const DEFAULT_MAX_VERSIONS: u64 = 10;

/// What is kept for each key, in which field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Key,
    Ciphertext,
}

/// A place for each key in a KV engine.
#[derive(Clone, Debug)]
pub(super) struct Kv {
    pub(super) vault: Vault,
    mount: Template,
    path: Template,
}

#[derive(Serialize)]
struct Write<'a> {
    options: Options,
    data: WriteFields<'a>,
}

#[derive(Serialize)]
struct Options {
    cas: u64,
}

#[derive(Serialize)]
struct WriteFields<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ciphertext: Option<&'a str>,
}

#[derive(Deserialize)]
struct Written {
    data: VersionNumber,
}

#[derive(Deserialize)]
struct VersionNumber {
    version: u64,
}

#[derive(Deserialize)]
struct Read<'a> {
    #[serde(borrow)]
    data: ReadData<'a>,
}

#[derive(Deserialize)]
struct ReadData<'a> {
    #[serde(borrow)]
    data: ReadFields<'a>,
    metadata: VersionNumber,
}

#[derive(Deserialize)]
struct ReadFields<'a> {
    #[serde(borrow)]
    key: Option<Text<'a>>,
    #[serde(borrow)]
    ciphertext: Option<Text<'a>>,
}

/// What the server says of a version that was deleted.
#[derive(Deserialize)]
struct Deleted {
    #[serde(rename = "data")]
    _data: DeletedData,
}

#[derive(Deserialize)]
struct DeletedData {
    #[serde(rename = "metadata")]
    _metadata: VersionNumber,
}

/// What the server says of a name that was never stored.
#[derive(Deserialize)]
struct NoSuchKey {
    errors: [(); 0],
}

#[derive(Deserialize)]
struct Listed {
    data: History,
}

/// The versions of one key.
#[derive(Debug, Deserialize)]
struct History {
    current_version: u64,
    max_versions: u64,
    delete_version_after: String,
    versions: BTreeMap<u64, VersionState>,
}

#[derive(Debug, Deserialize)]
struct VersionState {
    deletion_time: String,
    destroyed: bool,
}

impl VersionState {
    fn is_living(&self) -> bool {
        let is_deleted = match self.deletion_time.as_str() {
            "" => false,
            // A time in the future is that of a version with an end.
            time => humantime::parse_rfc3339(time).map_or(true, |time| time <= SystemTime::now()),
        };
        !self.destroyed && !is_deleted
    }
}

impl History {
    fn living(&self) -> impl DoubleEndedIterator<Item = u64> + '_ {
        let living = self.versions.iter().filter(|(_, state)| state.is_living());
        living.map(|(number, _)| *number)
    }

    fn newest(&self) -> Option<u64> {
        self.living().next_back()
    }

    fn oldest(&self) -> Option<u64> {
        self.living().next()
    }
}

#[derive(Deserialize)]
struct Configured {
    data: Config,
}

#[derive(Deserialize)]
struct Config {
    max_versions: u64,
    delete_version_after: String,
}

#[derive(Serialize)]
struct Destroy {
    versions: [u64; 1],
}

impl Kv {
    pub(super) fn new(vault: &Vault, mount: &str, path: &str) -> Result<Self, VaultError> {
        let template = |text| {
            Template::new(text).map_err(|why| VaultError::new(KeyProblem::Unsupported, text, why))
        };
        let kv = Self {
            vault: vault.clone(),
            mount: template(mount)?,
            path: template(path)?,
        };
        if kv.mount.is_per_key() || kv.path.is_per_key() {
            Ok(kv)
        } else {
            let request = format!("{mount} {path}");
            let why = "neither has {key}, so that all keys would be one";
            Err(VaultError::new(KeyProblem::Unsupported, request, why))
        }
    }

    fn address(&self, what: &str, id: &KeyId) -> String {
        format!("{}/{what}/{}", self.mount.path(id), self.path.path(id))
    }

    /// The newest text, and its version.
    pub(super) fn current(
        &self,
        id: &KeyId,
        field: Field,
    ) -> Result<(KeyVersion, Zeroizing<String>), VaultError> {
        let path = self.address("data", id);
        let ask = Ask::get(&path);
        let body = match self.vault.call(&ask)? {
            Reply::Found(body) => body,
            Reply::Absent(body) if serde_json::from_slice::<Deleted>(&body).is_ok() => {
                // The newest was deleted by hand; there may be an older one.
                let newest = self.history(id)?.and_then(|history| history.newest());
                let Some(newest) = newest.map(KeyVersion) else {
                    let why = "all versions were deleted";
                    return Err(ask.error(KeyProblem::NotFound, why));
                };
                return Ok((newest, self.version(id, newest, field)?));
            }
            Reply::Absent(body) => return Err(ask.absent(&body)),
        };
        text(&ask, &body, field)
    }

    /// One version's text.
    pub(super) fn version(
        &self,
        id: &KeyId,
        version: KeyVersion,
        field: Field,
    ) -> Result<Zeroizing<String>, VaultError> {
        let path = format!("{}?version={version}", self.address("data", id));
        let ask = Ask::get(&path);
        if version == KeyVersion::NONE {
            // The engine takes 0 for the newest.
            return Err(ask.error(KeyProblem::NotFound, "versions begin at 1"));
        }
        let body = self.vault.call(&ask)?.found(&ask)?;
        let (found, text) = text(&ask, &body, field)?;
        if found == version {
            Ok(text)
        } else {
            let why = format!("version {found} came instead of {version}");
            Err(ask.error(KeyProblem::Malformed, why))
        }
    }

    /// The versions that can be had.
    pub(super) fn versions(&self, id: &KeyId) -> Result<Vec<KeyVersion>, VaultError> {
        let history = self.history(id)?;
        let versions = history.iter().flat_map(History::living);
        Ok(versions.map(KeyVersion).collect())
    }

    /// Stores a text after the version `after`, which the engine still has afterwards.
    pub(super) fn store(
        &self,
        id: &KeyId,
        after: KeyVersion,
        field: Field,
        text: &str,
    ) -> Result<KeyVersion, VaultError> {
        let path = self.address("data", id);
        let history = self.history(id)?;
        let (newest, last) = history.as_ref().map_or((None, 0), |history| {
            (history.newest(), history.current_version)
        });
        let is_next = match after {
            // A name whose versions were all deleted is not new.
            KeyVersion::NONE => last == 0,
            KeyVersion(after) => newest == Some(after),
        };
        let new = KeyVersion(last.saturating_add(1));
        let [key, ciphertext] = match field {
            Field::Key => [Some(text), None],
            Field::Ciphertext => [None, Some(text)],
        };
        let body = json(&Write {
            options: Options { cas: last },
            data: WriteFields { key, ciphertext },
        });
        let ask = Ask::post(&path, &body).once();
        if !is_next {
            let why = format!("the newest version is {}", newest.unwrap_or_default());
            return Err(ask.error(KeyProblem::Conflict, why));
        }
        self.check_that_versions_stay(id, history.as_ref(), new)?;
        let stored = self.vault.call(&ask).and_then(|reply| {
            let body = reply.found(&ask)?;
            let Written { data } = ask.parse(&body)?;
            Ok(KeyVersion(data.version))
        });
        match stored {
            Ok(version) if version == new => Ok(version),
            Ok(version) => {
                let why = format!("version {version} was stored instead of {new}");
                Err(ask.error(KeyProblem::Malformed, why))
            }
            // The answer was lost: was it stored?
            Err(error) if error.fate() == Fate::Unknown => match self.version(id, new, field) {
                Ok(found) if *found == *text => Ok(new),
                Ok(_) => Err(error.with_problem(KeyProblem::Conflict)),
                Err(_) => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    /// Removes a version for good that is not the newest.
    pub(super) fn retire(&self, id: &KeyId, version: KeyVersion) -> Result<(), VaultError> {
        let path = self.address("destroy", id);
        let body = json(&Destroy {
            versions: [version.0],
        });
        let ask = Ask {
            method: "PUT",
            ..Ask::post(&path, &body)
        };
        let Some(history) = self.history(id)? else {
            return Ok(());
        };
        if history.newest() == Some(version.0) {
            return Err(ask.error(KeyProblem::Conflict, "it is the current version"));
        }
        match history.versions.get(&version.0) {
            Some(state) if !state.destroyed => {
                self.vault.call(&ask)?.found(&ask)?;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn history(&self, id: &KeyId) -> Result<Option<History>, VaultError> {
        let path = self.address("metadata", id);
        let ask = Ask::get(&path);
        match self.vault.call(&ask)? {
            Reply::Found(body) => {
                let Listed { data } = ask.parse(&body)?;
                Ok(Some(data))
            }
            // Of a mount that is not there nothing is known.
            Reply::Absent(body) => match serde_json::from_slice(&body) {
                Ok(NoSuchKey { errors: [] }) => Ok(None),
                Err(_) => Err(ask.absent(&body)),
            },
        }
    }

    /// That all versions are kept when `new` is stored, and that none ends by itself: a dataset whose
    /// key has vanished cannot be opened again, and which version a dataset uses is not known here.
    fn check_that_versions_stay(
        &self,
        id: &KeyId,
        history: Option<&History>,
        new: KeyVersion,
    ) -> Result<(), VaultError> {
        let path = format!("{}/config", self.mount.path(id));
        let ask = Ask::get(&path);
        let body = self.vault.call(&ask)?.found(&ask)?;
        let Configured { data: config } = ask.parse(&body)?;
        let own = history.map_or((0, ""), |history| {
            (history.max_versions, history.delete_version_after.as_str())
        });
        if [own.1, &config.delete_version_after].into_iter().any(ends) {
            let why = "versions are deleted after a time (delete_version_after)";
            return Err(ask.error(KeyProblem::Unsupported, why));
        }
        let max_versions = match own.0.max(config.max_versions) {
            0 => DEFAULT_MAX_VERSIONS,
            max => max,
        };
        let oldest = history.and_then(History::oldest).unwrap_or(new.0);
        if new.0.saturating_sub(oldest) < max_versions {
            Ok(())
        } else {
            let why = format!(
                "version {oldest} would vanish, for only {max_versions} are kept (max_versions): \
                 retire it or have more kept"
            );
            Err(ask.error(KeyProblem::Unsupported, why))
        }
    }
}

/// Whether a `delete_version_after` is a length of time. The engine writes it as Go does; 0 and less
/// is for none.
fn ends(after: &str) -> bool {
    !(after.is_empty() || after.starts_with('-'))
        && humantime::parse_duration(after) != Ok(Duration::ZERO)
}

fn text(
    ask: &Ask<'_>,
    body: &[u8],
    field: Field,
) -> Result<(KeyVersion, Zeroizing<String>), VaultError> {
    let Read { data } = ask.parse(body)?;
    let (value, name) = match field {
        Field::Key => (data.data.key, "key"),
        Field::Ciphertext => (data.data.ciphertext, "ciphertext"),
    };
    let version = KeyVersion(data.metadata.version);
    match value {
        Some(value) => Ok((version, Zeroizing::new(value.to_owned()))),
        None => {
            let why = format!("version {version} has no field {name:?}");
            Err(ask.error(KeyProblem::Malformed, why))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_that_are_none() {
        for none in ["", "0s", "-1ns"] {
            assert!(!ends(none), "{none:?}");
        }
        for some in ["1h0m0s", "768h", "3.5s", "nonsense"] {
            assert!(ends(some), "{some:?}");
        }
    }

    #[test]
    fn the_newest_is_the_last_that_lives() {
        let history = |versions: &str| -> History {
            serde_json::from_str(&format!(
                r#"{{"current_version": 3, "max_versions": 0, "delete_version_after": "0s",
                "versions": {versions}}}"#
            ))
            .unwrap()
        };
        let living = r#"{"deletion_time": "", "destroyed": false}"#;
        let later = r#"{"deletion_time": "2100-01-01T00:00:00.123456789Z", "destroyed": false}"#;
        let deleted = r#"{"deletion_time": "2020-01-01T00:00:00Z", "destroyed": false}"#;
        let destroyed = r#"{"deletion_time": "", "destroyed": true}"#;
        for (three, newest) in [(living, 3), (later, 3), (deleted, 2), (destroyed, 2)] {
            let versions = format!(r#"{{"1": {living}, "2": {living}, "3": {three}}}"#);
            assert_eq!(history(&versions).newest(), Some(newest));
        }
        assert_eq!(history(&format!(r#"{{"3": {deleted}}}"#)).newest(), None);
    }
}
