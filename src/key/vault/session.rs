//! The token that a client has, and who gets the next one.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use zeroize::Zeroizing;

use super::error::VaultError;
use crate::key::KeyProblem;

/// A token and its lease.
pub(super) struct Session {
    pub(super) token: Zeroizing<String>,
    since: Instant,
    /// How long the token is good from then on; `None` when it does not end.
    lease: Option<Duration>,
    pub(super) is_renewable: bool,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("since", &self.since)
            .field("lease", &self.lease)
            .field("is_renewable", &self.is_renewable)
            .finish_non_exhaustive()
    }
}

impl Session {
    /// A session that was asked for at `since`, with a lease in seconds, where 0 is no end.
    pub(super) fn new(
        token: Zeroizing<String>,
        since: Instant,
        lease: u64,
        is_renewable: bool,
    ) -> Self {
        Self {
            token,
            since,
            lease: (lease > 0).then(|| Duration::from_secs(lease)),
            is_renewable,
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        self.lease
            .is_some_and(|lease| self.since.elapsed() >= lease)
    }

    /// Whether two thirds of the lease are over.
    pub(super) fn is_due(&self) -> bool {
        self.lease
            .is_some_and(|lease| self.since.elapsed() >= lease / 3 * 2)
    }

    /// Whether a lease of so many seconds is much shorter than this one was: the token nears the end
    /// that no renewal moves.
    pub(super) fn shrinks_to(&self, lease: u64) -> bool {
        self.lease
            .is_some_and(|granted| lease > 0 && Duration::from_secs(lease) < granted / 2)
    }
}

/// The session that the threads of a client share. One of them at a time gets a new one, and the
/// others wait for it and for what it comes to: a hundred threads do not log in a hundred times, nor
/// find out a hundred times, one after the other, that the server is down.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    session: Option<Arc<Session>>,
    is_busy: bool,
    failures: u64,
    last: Option<VaultError>,
}

impl Sessions {
    /// A session that is good: the one at hand when `is_good` says so, or else what `obtain` makes of
    /// it.
    pub(super) fn get(
        &self,
        deadline: Instant,
        is_good: impl Fn(&Session) -> bool,
        obtain: impl FnOnce(Option<Arc<Session>>) -> Result<Arc<Session>, VaultError>,
    ) -> Result<Arc<Session>, VaultError> {
        let mut state = self.lock();
        let failures = state.failures;
        loop {
            if let Some(session) = state.session.as_ref().filter(|session| is_good(session)) {
                return Ok(Arc::clone(session));
            }
            if !state.is_busy {
                break;
            }
            let Some(remaining) = deadline.checked_duration_since(Instant::now()) else {
                let detail = "no answer to another thread's login";
                return Err(VaultError::new(KeyProblem::TimedOut, "login", detail));
            };
            state = self
                .changed
                .wait_timeout(state, remaining)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
            if let (true, Some(error)) = (state.failures != failures, &state.last) {
                return Err(error.clone());
            }
        }
        state.is_busy = true;
        let old = state.session.clone();
        drop(state);
        let obtained = obtain(old);
        let mut state = self.lock();
        state.is_busy = false;
        match &obtained {
            Ok(session) => state.session = Some(Arc::clone(session)),
            Err(error) => {
                state.failures = state.failures.wrapping_add(1);
                state.last = Some(error.clone());
            }
        }
        self.changed.notify_all();
        obtained
    }

    /// Drops this session, which the server does not know any more, if it is still the one at hand.
    pub(super) fn forget(&self, session: &Arc<Session>) {
        let mut state = self.lock();
        if state
            .session
            .as_ref()
            .is_some_and(|held| Arc::ptr_eq(held, session))
        {
            state.session = None;
        }
    }

    /// Drops the session at hand and returns it.
    pub(super) fn take(&self) -> Option<Arc<Session>> {
        self.lock().session.take()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(lease: u64, age: u64) -> Session {
        let since = Instant::now()
            .checked_sub(Duration::from_secs(age))
            .unwrap();
        Session::new(Zeroizing::new(String::from("s.secret")), since, lease, true)
    }

    #[test]
    fn a_lease_is_due_at_two_thirds() {
        assert!(!session(300, 100).is_due());
        assert!(session(300, 201).is_due() && !session(300, 201).has_ended());
        assert!(session(300, 301).has_ended());
        assert!(!session(0, 1000).is_due() && !session(0, 1000).has_ended());
        assert!(session(300, 0).shrinks_to(149) && !session(300, 0).shrinks_to(150));
        assert!(!format!("{:?}", session(1, 0)).contains("secret"));
    }

    #[test]
    fn one_login_serves_all_who_wait_and_so_does_one_failure() {
        for fails in [false, true] {
            let sessions = Sessions::default();
            let deadline = Instant::now() + Duration::from_secs(60);
            let logins = std::sync::atomic::AtomicUsize::new(0);
            let started = std::sync::Barrier::new(8);
            let outcomes: Vec<bool> = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..8)
                    .map(|_| {
                        scope.spawn(|| {
                            started.wait();
                            let got = sessions.get(
                                deadline,
                                |_| true,
                                |_| {
                                    logins.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                                    // Until all the others wait.
                                    std::thread::sleep(Duration::from_millis(300));
                                    if fails {
                                        Err(VaultError::new(KeyProblem::Sealed, "login", "sealed"))
                                    } else {
                                        Ok(Arc::new(session(0, 0)))
                                    }
                                },
                            );
                            got.is_ok()
                        })
                    })
                    .collect();
                threads.into_iter().map(|t| t.join().unwrap()).collect()
            });
            assert_eq!(outcomes, [!fails; 8]);
            if !fails {
                assert_eq!(logins.into_inner(), 1);
            } else {
                assert!(logins.into_inner() <= 8);
            }
        }
    }
}
