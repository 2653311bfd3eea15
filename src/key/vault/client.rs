//! Calls to a server: logins, renewals, attempts, and what an answer means.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::answer::Answer;
use super::error::{Fate, VaultError};
use super::http::{Endpoint, Request};
use super::login::{Attempt, Login};
use super::session::{Session, Sessions};
use super::wiped::{Text, Wiped};
use crate::key::KeyProblem;

/// The longest wait between two attempts.
const MAX_WAIT: Duration = Duration::from_secs(5);

/// How long and how often a client tries.
#[derive(Clone, Debug)]
pub(super) struct Limits {
    pub(super) request: Duration,
    pub(super) call: Duration,
    pub(super) attempts: u32,
}

/// A client. All its threads share it.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) endpoint: Endpoint,
    pub(super) namespace: Option<String>,
    pub(super) login: Login,
    pub(super) limits: Limits,
    pub(super) sessions: Sessions,
}

/// A request to the server's API.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask<'a> {
    pub(super) method: &'static str,
    /// Below `/v1/`.
    pub(super) path: &'a str,
    pub(super) body: Option<&'a Wiped>,
    /// Whether it comes to the same when it is done twice.
    pub(super) is_repeatable: bool,
}

impl<'a> Ask<'a> {
    pub(super) fn get(path: &'a str) -> Self {
        Self {
            method: "GET",
            path,
            body: None,
            is_repeatable: true,
        }
    }

    pub(super) fn post(path: &'a str, body: &'a Wiped) -> Self {
        Self {
            method: "POST",
            path,
            body: Some(body),
            is_repeatable: true,
        }
    }

    pub(super) fn once(self) -> Self {
        Self {
            is_repeatable: false,
            ..self
        }
    }

    pub(super) fn error(
        &self,
        problem: KeyProblem,
        detail: impl Into<std::borrow::Cow<'static, str>>,
    ) -> VaultError {
        VaultError::new(problem, format!("{} {}", self.method, self.path), detail)
    }
}

/// What the server has.
#[derive(Debug)]
pub(super) enum Reply {
    Found(Wiped),
    /// It has no such thing; the body may say more.
    Absent(Wiped),
}

impl Reply {
    /// The body, or [`KeyProblem::NotFound`].
    pub(super) fn found(self, ask: &Ask<'_>) -> Result<Wiped, VaultError> {
        match self {
            Self::Found(body) => Ok(body),
            Self::Absent(body) => Err(ask.absent(&body)),
        }
    }
}

impl Ask<'_> {
    pub(super) fn absent(&self, body: &[u8]) -> VaultError {
        let detail = phrase(body).map_or("the server has no such thing", |known| known.text);
        self.error(KeyProblem::NotFound, detail).with_status(404)
    }

    /// The answer as a `T`. What serde says of it could quote it.
    pub(super) fn parse<'b, T: Deserialize<'b>>(&self, body: &'b [u8]) -> Result<T, VaultError> {
        serde_json::from_slice(body).map_err(|error| {
            let detail = match error.classify() {
                serde_json::error::Category::Data => "the answer has not the expected fields",
                _ => "the answer is no JSON",
            };
            self.error(KeyProblem::Malformed, detail)
                .with_fate(Fate::Unknown)
        })
    }
}

#[derive(Deserialize)]
struct LoggedIn<'a> {
    #[serde(borrow)]
    auth: Auth<'a>,
}

#[derive(Deserialize)]
struct Auth<'a> {
    #[serde(borrow)]
    client_token: Text<'a>,
    lease_duration: u64,
    renewable: bool,
}

#[derive(Deserialize)]
struct LookedUp {
    data: TokenData,
}

#[derive(Deserialize)]
struct TokenData {
    ttl: u64,
    #[serde(default)]
    renewable: bool,
}

#[derive(Serialize)]
struct Nothing {}

impl Client {
    /// Asks as the client that has logged in.
    pub(super) fn call(&self, ask: &Ask<'_>) -> Result<Reply, VaultError> {
        let begun = Instant::now();
        let deadline = begun + self.limits.call;
        let session = self.session(deadline)?;
        match self.attempts(ask, Some(&session.token), deadline) {
            Err(error)
                if error.status() == Some(403)
                    && self.login.gives_new_tokens()
                    && !self.is_known(&session, deadline) =>
            {
                // It was revoked, or the server lost it.
                self.sessions.forget(&session);
                let session = self.session(deadline)?;
                self.attempts(ask, Some(&session.token), deadline)
            }
            other => other,
        }
    }

    /// Ends the session at hand, on the server too when its token is this client's own.
    pub(super) fn log_out(&self) -> Result<(), VaultError> {
        let Some(session) = self.sessions.take() else {
            return Ok(());
        };
        if !self.login.owns_tokens() || session.has_ended() {
            return Ok(());
        }
        let body = super::wiped::json(&Nothing {});
        let ask = Ask::post("auth/token/revoke-self", &body);
        let deadline = Instant::now() + self.limits.call;
        self.attempts(&ask, Some(&session.token), deadline)
            .map(drop)
    }

    fn is_known(&self, session: &Session, deadline: Instant) -> bool {
        let ask = Ask::get("auth/token/lookup-self");
        self.attempts(&ask, Some(&session.token), deadline).is_ok()
    }

    fn session(&self, deadline: Instant) -> Result<Arc<Session>, VaultError> {
        // A token that cannot be renewed or replaced is used to its end.
        let is_good = |session: &Session| {
            if session.is_renewable || self.login.gives_new_tokens() {
                !session.is_due()
            } else {
                !session.has_ended()
            }
        };
        self.sessions.get(deadline, is_good, |old| match old {
            None => self.log_in(deadline),
            Some(old) => self.renew(&old, deadline),
        })
    }

    /// A session for one whose lease is nearly or wholly over.
    fn renew(&self, old: &Arc<Session>, deadline: Instant) -> Result<Arc<Session>, VaultError> {
        let mut renewed = Err(VaultError::new(
            KeyProblem::Denied,
            "login",
            "the token has ended, and there is no other",
        ));
        if old.is_renewable && !old.has_ended() {
            renewed = self.renew_self(old, deadline);
            if let Ok(session) = &renewed {
                if !self.login.gives_new_tokens() || !session.is_due() {
                    return renewed;
                }
            }
        }
        if self.login.gives_new_tokens() {
            renewed = self.log_in(deadline);
        }
        match renewed {
            // It is good for a while yet, and the next call tries again.
            Err(_) if !old.has_ended() => Ok(Arc::clone(old)),
            other => other,
        }
    }

    fn renew_self(&self, old: &Session, deadline: Instant) -> Result<Arc<Session>, VaultError> {
        let since = Instant::now();
        let body = super::wiped::json(&Nothing {});
        let ask = Ask::post("auth/token/renew-self", &body);
        let answer = self
            .attempts(&ask, Some(&old.token), deadline)?
            .found(&ask)?;
        let LoggedIn { auth } = ask.parse(&answer)?;
        if self.login.gives_new_tokens() && old.shrinks_to(auth.lease_duration) {
            let detail = "the token nears its end";
            return Err(ask.error(KeyProblem::Denied, detail));
        }
        Ok(Arc::new(Session::new(
            old.token.clone(),
            since,
            auth.lease_duration,
            auth.renewable,
        )))
    }

    fn log_in(&self, deadline: Instant) -> Result<Arc<Session>, VaultError> {
        let since = Instant::now();
        let attempt = self
            .login
            .attempt()
            .map_err(|(problem, why)| VaultError::new(problem, "login", why))?;
        let session = match attempt {
            Attempt::Token(token) => self.look_up(token, since, deadline)?,
            Attempt::Post { path, body } => {
                let ask = Ask::post(&path, &body);
                let answer = self
                    .attempts(&ask, None, deadline)
                    .map_err(|error| match error.status() {
                        // The methods say so of what they do not accept.
                        Some(400) => error.with_problem(KeyProblem::Denied),
                        _ => error,
                    })?
                    .found(&ask)?;
                let LoggedIn { auth } = ask.parse(&answer)?;
                let token = &*auth.client_token;
                if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
                    return Err(ask.error(KeyProblem::Malformed, "the answer has no token"));
                }
                let token = Zeroizing::new(token.to_owned());
                Session::new(token, since, auth.lease_duration, auth.renewable)
            }
        };
        Ok(Arc::new(session))
    }

    /// What the server says of a token. A policy may keep a token from asking; then it is used as it
    /// is.
    fn look_up(
        &self,
        token: Zeroizing<String>,
        since: Instant,
        deadline: Instant,
    ) -> Result<Session, VaultError> {
        let ask = Ask::get("auth/token/lookup-self");
        match self.attempts(&ask, Some(&token), deadline) {
            Ok(reply) => {
                let answer = reply.found(&ask)?;
                let LookedUp { data } = ask.parse(&answer)?;
                Ok(Session::new(token, since, data.ttl, data.renewable))
            }
            Err(error) if error.status() == Some(403) => Ok(Session::new(token, since, 0, false)),
            Err(error) => Err(error),
        }
    }

    fn attempts(
        &self,
        ask: &Ask<'_>,
        token: Option<&str>,
        deadline: Instant,
    ) -> Result<Reply, VaultError> {
        let mut attempt = 1;
        loop {
            let (error, retry_after) = match self.attempt(ask, token, deadline) {
                Ok(reply) => return Ok(reply),
                Err(failed) => failed,
            };
            let may_repeat = ask.is_repeatable || error.fate() == Fate::NotDone;
            if attempt >= self.limits.attempts || !may_repeat || !error.problem().is_transient() {
                return Err(error);
            }
            let wait = retry_after.unwrap_or_default().max(backoff(attempt));
            if wait > MAX_WAIT || Instant::now() + wait >= deadline {
                return Err(error);
            }
            std::thread::sleep(wait);
            attempt += 1;
        }
    }

    fn attempt(
        &self,
        ask: &Ask<'_>,
        token: Option<&str>,
        deadline: Instant,
    ) -> Result<Reply, (VaultError, Option<Duration>)> {
        // Vault's own clients send it with each request, and its agent may insist.
        let mut headers = vec![("X-Vault-Request", "true")];
        headers.extend(
            self.namespace
                .as_deref()
                .map(|it| ("X-Vault-Namespace", it)),
        );
        headers.extend(token.map(|token| ("X-Vault-Token", token)));
        let path = format!("/v1/{}", ask.path);
        let request = Request {
            method: ask.method,
            path: &path,
            headers: &headers,
            body: ask.body.map(|body| &**body),
        };
        let deadline = deadline.min(Instant::now() + self.limits.request);
        let error = |problem, detail: String| {
            let request = format!("{} {}/v1/{}", ask.method, self.endpoint, ask.path);
            VaultError::new(problem, request, detail)
        };
        match self.endpoint.exchange(&request, deadline) {
            Ok(Answer {
                status: 200..=299,
                body,
                ..
            }) => Ok(Reply::Found(body)),
            Ok(Answer {
                status: 404, body, ..
            }) => Ok(Reply::Absent(body)),
            Ok(answer) => {
                let (problem, detail, fate) = meaning(answer.status, &answer.body);
                let error = error(problem, detail.to_owned())
                    .with_status(answer.status)
                    .with_fate(fate);
                Err((error, answer.retry_after))
            }
            Err(failure) => {
                let error = error(failure.problem, failure.detail).with_fate(failure.fate);
                Err((error, None))
            }
        }
    }
}

/// The wait before the attempt after this one: a random part of what doubles each time, so that
/// those who failed together do not come back together.
fn backoff(attempt: u32) -> Duration {
    let whole = Duration::from_millis(100) * 2_u32.saturating_pow(attempt.min(5));
    let random = RandomState::new().hash_one(attempt) % 1000;
    let part = u32::try_from(random).unwrap_or_default();
    whole / 2 + whole / 2 * part / 1000
}

/// What the servers are known to say.
struct Phrase {
    contains: &'static str,
    problem: KeyProblem,
    text: &'static str,
    fate: Fate,
}

const fn phrase_of(contains: &'static str, problem: KeyProblem, text: &'static str) -> Phrase {
    Phrase {
        contains,
        problem,
        text,
        fate: Fate::NotDone,
    }
}

const PHRASES: &[Phrase] = &[
    phrase_of(
        "Vault is sealed",
        KeyProblem::Sealed,
        "the server is sealed",
    ),
    phrase_of(
        "check-and-set parameter",
        KeyProblem::Conflict,
        "another version was stored",
    ),
    phrase_of(
        "pgrading from non-versioned",
        KeyProblem::Failed,
        "the mount is being prepared",
    ),
    phrase_of(
        "no handler for route",
        KeyProblem::NotFound,
        "nothing is mounted there",
    ),
    phrase_of(
        "namespace not found",
        KeyProblem::NotFound,
        "there is no such namespace",
    ),
    phrase_of(
        "encryption key not found",
        KeyProblem::NotFound,
        "there is no such Transit key",
    ),
    phrase_of(
        "nvalid ciphertext",
        KeyProblem::Malformed,
        "it was not wrapped by this key",
    ),
    phrase_of(
        "message authentication failed",
        KeyProblem::Malformed,
        "it was not wrapped by this key",
    ),
    phrase_of(
        "ciphertext or signature version is disallowed",
        KeyProblem::Denied,
        "the Transit key's version is too old",
    ),
    phrase_of(
        "invalid role or secret ID",
        KeyProblem::Denied,
        "the role's id or secret id is not accepted",
    ),
    phrase_of(
        "invalid secret id",
        KeyProblem::Denied,
        "the secret id is not accepted",
    ),
    phrase_of(
        "invalid role name",
        KeyProblem::Denied,
        "there is no such role",
    ),
    phrase_of(
        "not authorized",
        KeyProblem::Denied,
        "the service account may not have this role",
    ),
    phrase_of(
        "invalid token",
        KeyProblem::Denied,
        "the token is not valid",
    ),
    phrase_of("permission denied", KeyProblem::Denied, "permission denied"),
];

fn phrase(body: &[u8]) -> Option<&'static Phrase> {
    let body = std::str::from_utf8(body).ok()?;
    PHRASES.iter().find(|known| body.contains(known.contains))
}

/// What an answer that is neither success nor 404 means. Only known phrases of the server are told
/// on: the rest of it could be anything, what was sent included.
fn meaning(status: u16, body: &[u8]) -> (KeyProblem, &'static str, Fate) {
    if let Some(known) = phrase(body).filter(|_| (400..=599).contains(&status)) {
        return (known.problem, known.text, known.fate);
    }
    match status {
        300..=399 => (
            KeyProblem::Unreachable,
            "it is a standby and names another server",
            Fate::NotDone,
        ),
        401 | 403 => (KeyProblem::Denied, "permission denied", Fate::NotDone),
        408 | 504 => (
            KeyProblem::TimedOut,
            "a server behind it did not answer in time",
            Fate::Unknown,
        ),
        412 => (KeyProblem::Failed, "it is behind the others", Fate::NotDone),
        429 => (KeyProblem::Throttled, "too many requests", Fate::NotDone),
        400..=499 => (
            KeyProblem::Unsupported,
            "the server does not take the request",
            Fate::NotDone,
        ),
        500..=599 => (KeyProblem::Failed, "the server failed", Fate::Unknown),
        _ => (
            KeyProblem::Malformed,
            "it does not answer as such a server",
            Fate::Unknown,
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_and_phrases() {
        let of = |status, body: &str| meaning(status, body.as_bytes()).0;
        assert_eq!(
            of(503, r#"{"errors":["Vault is sealed"]}"#),
            KeyProblem::Sealed
        );
        assert_eq!(of(503, "<html>no backend</html>"), KeyProblem::Failed);
        assert_eq!(of(500, "{}"), KeyProblem::Failed);
        assert_eq!(of(429, ""), KeyProblem::Throttled);
        assert_eq!(of(403, ""), KeyProblem::Denied);
        assert_eq!(of(307, ""), KeyProblem::Unreachable);
        assert_eq!(of(405, ""), KeyProblem::Unsupported);
        assert_eq!(of(700, ""), KeyProblem::Malformed);
        let cas = r#"{"errors":["check-and-set parameter did not match the current version"]}"#;
        assert_eq!(of(400, cas), KeyProblem::Conflict);
    }

    #[test]
    fn an_error_does_not_quote_the_server() {
        let ask = Ask::get("secret/data/a");
        let body = br#"{"data": {"ttl": "c2VjcmV0"}}"#;
        let error = ask.parse::<LookedUp>(body).err().unwrap();
        assert!(!format!("{error} {error:?}").contains("c2VjcmV0"));
        let (_, detail, _) = meaning(400, b"your key was c2VjcmV0");
        assert!(!detail.contains("c2VjcmV0"));
    }

    #[test]
    fn waits_grow_and_are_bounded() {
        for attempt in 1..40 {
            let wait = backoff(attempt);
            assert!(
                wait >= Duration::from_millis(100) && wait <= MAX_WAIT,
                "{attempt}: {wait:?}"
            );
        }
    }
}
