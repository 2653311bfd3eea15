use std::fmt;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use zeroize::Zeroizing;

use super::template;
use super::wiped::{Wiped, json};
use crate::key::KeyProblem;

/// The largest file that a secret is read from.
const MAX_FILE: u64 = 64 << 10;

/// Where Kubernetes puts a pod's token.
const JWT: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// A secret that a login needs: the text itself, or a file that has it.
///
/// A file is read at each login, so that it may be replaced meanwhile. It must be a regular file of
/// this process's user or root, whom alone it lets read and write it. It cannot be printed.
#[derive(Clone)]
pub struct LoginSecret(Source);

#[derive(Clone)]
enum Source {
    Text(Arc<Zeroizing<String>>),
    File(PathBuf),
}

impl fmt::Debug for LoginSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Source::Text(_) => f.write_str("LoginSecret"),
            Source::File(path) => write!(f, "LoginSecret({})", path.display()),
        }
    }
}

impl LoginSecret {
    /// The secret itself, which is wiped when dropped.
    #[must_use]
    pub fn text(secret: String) -> Self {
        Self(Source::Text(Arc::new(Zeroizing::new(secret))))
    }

    /// What this file holds, without blanks at its ends.
    #[must_use]
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self(Source::File(path.into()))
    }

    fn read(&self) -> Result<Zeroizing<String>, Refused> {
        match &self.0 {
            Source::Text(secret) => checked(secret),
            Source::File(path) => read_file(path, true),
        }
    }
}

/// Why a login could not be tried.
pub(super) type Refused = (KeyProblem, String);

/// How a client shows who it is.
#[derive(Clone, Debug)]
pub struct Login(Method);

#[derive(Clone, Debug)]
enum Method {
    Token(LoginSecret),
    AppRole {
        mount: String,
        role_id: String,
        secret_id: LoginSecret,
    },
    Kubernetes {
        mount: String,
        role: String,
        jwt: PathBuf,
    },
}

/// What is done to log in.
pub(super) enum Attempt {
    /// There is a token already.
    Token(Zeroizing<String>),
    /// The body to be posted to a path.
    Post { path: String, body: Wiped },
}

impl Login {
    /// With a token that was made for this client. It is renewed when the server lets it be, and
    /// when it is over, so is the access: unless it is in a file, where somebody (as Vault's agent)
    /// puts a new one.
    #[must_use]
    pub fn token(token: LoginSecret) -> Self {
        Self(Method::Token(token))
    }

    /// With a role's id and a secret id, at the mount `approle`.
    #[must_use]
    #[doc(alias = "approle")]
    pub fn app_role(role_id: impl Into<String>, secret_id: LoginSecret) -> Self {
        Self(Method::AppRole {
            mount: String::from("approle"),
            role_id: role_id.into(),
            secret_id,
        })
    }

    /// With the token of the pod's service account, at the mount `kubernetes`. It is read from where
    /// Kubernetes puts it, at each login, for it is replaced there every hour.
    #[must_use]
    pub fn kubernetes(role: impl Into<String>) -> Self {
        Self(Method::Kubernetes {
            mount: String::from("kubernetes"),
            role: role.into(),
            jwt: PathBuf::from(JWT),
        })
    }

    /// Where the method is mounted, below `auth/`. Of no effect for a token.
    #[must_use]
    pub fn mount(mut self, at: impl Into<String>) -> Self {
        match &mut self.0 {
            Method::Token(_) => {}
            Method::AppRole { mount, .. } | Method::Kubernetes { mount, .. } => *mount = at.into(),
        }
        self
    }

    /// The file of the service account's token. Of no effect for the other methods.
    #[must_use]
    pub fn jwt_file(mut self, path: impl Into<PathBuf>) -> Self {
        if let Method::Kubernetes { jwt, .. } = &mut self.0 {
            *jwt = path.into();
        }
        self
    }

    /// Why it can never work.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        match &self.0 {
            Method::Token(_) => Ok(()),
            Method::AppRole { mount, .. } | Method::Kubernetes { mount, .. } => {
                template::check_path(mount)
            }
        }
    }

    /// Whether logging in again gives another token.
    pub(super) fn gives_new_tokens(&self) -> bool {
        !matches!(self.0, Method::Token(LoginSecret(Source::Text(_))))
    }

    /// Whether the tokens are made for this client alone.
    pub(super) fn owns_tokens(&self) -> bool {
        !matches!(self.0, Method::Token(_))
    }

    pub(super) fn attempt(&self) -> Result<Attempt, Refused> {
        #[derive(Serialize)]
        struct AppRole<'a> {
            role_id: &'a str,
            secret_id: &'a str,
        }
        #[derive(Serialize)]
        struct Kubernetes<'a> {
            role: &'a str,
            jwt: &'a str,
        }
        let (mount, body) = match &self.0 {
            Method::Token(token) => return Ok(Attempt::Token(token.read()?)),
            Method::AppRole {
                mount,
                role_id,
                secret_id,
            } => {
                let secret_id = &secret_id.read()?;
                (mount, json(&AppRole { role_id, secret_id }))
            }
            Method::Kubernetes { mount, role, jwt } => {
                let jwt = &read_file(jwt, false)?;
                (mount, json(&Kubernetes { role, jwt }))
            }
        };
        Ok(Attempt::Post {
            path: format!("auth/{mount}/login"),
            body,
        })
    }
}

/// The secret in a file. Kubernetes' own are readable to every process of the pod.
fn read_file(path: &Path, is_private: bool) -> Result<Zeroizing<String>, Refused> {
    let refused = |problem, why: &str| (problem, format!("{}: {why}", path.display()));
    let io = |error: &std::io::Error| refused(KeyProblem::Io, &error.to_string());
    let mut file = File::open(path).map_err(|error| io(&error))?;
    let metadata = file.metadata().map_err(|error| io(&error))?;
    if !metadata.is_file() {
        return Err(refused(KeyProblem::Permissions, "it is no regular file"));
    }
    if is_private {
        if metadata.mode() & 0o077 != 0 {
            let why = format!(
                "others may use it: its mode is {:o}",
                metadata.mode() & 0o7777
            );
            return Err(refused(KeyProblem::Permissions, &why));
        }
        let us = rustix::process::geteuid().as_raw();
        if ![0, us].contains(&metadata.uid()) {
            let why = format!("it belongs to the user {}", metadata.uid());
            return Err(refused(KeyProblem::Permissions, &why));
        }
    }
    if metadata.len() > MAX_FILE {
        return Err(refused(
            KeyProblem::Malformed,
            "it is too long for a secret",
        ));
    }
    let mut contents = Wiped::with_capacity(4096);
    let mut piece = Zeroizing::new([0; 4096]);
    loop {
        let len = file.read(&mut *piece).map_err(|error| io(&error))?;
        if len == 0 {
            break;
        }
        contents.push(piece.get(..len).unwrap_or_default());
        if contents.len() as u64 > MAX_FILE {
            return Err(refused(
                KeyProblem::Malformed,
                "it is too long for a secret",
            ));
        }
    }
    contents
        .text()
        .ok_or_else(|| refused(KeyProblem::Malformed, "it is no text"))
        .and_then(|text| checked(text).map_err(|(problem, why)| refused(problem, &why)))
}

/// A secret that a header can hold.
fn checked(secret: &str) -> Result<Zeroizing<String>, Refused> {
    if secret.is_empty() || !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
        let why = "a token or an id is a word of ASCII";
        return Err((KeyProblem::Malformed, String::from(why)));
    }
    Ok(Zeroizing::new(secret.to_owned()))
}
