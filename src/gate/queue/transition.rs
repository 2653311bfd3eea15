//! What becomes of a job: the part that all stores have in common.

use std::time::{Duration, SystemTime};

use super::moment;
use super::{AfterFailure, Job, JobState, Lease, LeaseLoss, QueueError};

impl Job {
    fn is_expired(&self, now: SystemTime) -> bool {
        self.leased_until.is_none_or(|until| until <= now)
    }

    /// Makes a dead letter of what nobody may have any more. Whether it did.
    pub(super) fn bury(&mut self, now: SystemTime) -> bool {
        let waits = match self.state {
            JobState::Queued => true,
            JobState::Leased => self.is_expired(now),
            JobState::Done | JobState::Dead | JobState::Cancelled => false,
        };
        if !waits {
            return false;
        }
        let why = if self.spec.ends().is_some_and(|end| end <= now) {
            "its deadline passed".to_owned()
        } else if self.attempts >= self.spec.attempts() {
            let worker = self.worker.as_deref().unwrap_or("nobody");
            let attempts = self.attempts;
            format!("worker {worker} let its lease end, at attempt {attempts}")
        } else {
            return false;
        };
        self.end(JobState::Dead, now);
        self.failure = Some(why);
        true
    }

    fn end(&mut self, state: JobState, now: SystemTime) {
        self.state = state;
        self.leased_until = None;
        self.ended = Some(now);
    }

    /// Whether a worker may have it now.
    pub(super) fn is_free(&self, now: SystemTime) -> bool {
        let waits = match self.state {
            JobState::Queued => self.due <= now,
            JobState::Leased => self.is_expired(now),
            JobState::Done | JobState::Dead | JobState::Cancelled => false,
        };
        waits
            && self.attempts < self.spec.attempts()
            && self.spec.ends().is_none_or(|end| now < end)
    }

    pub(super) fn lease(&mut self, worker: &str, until: SystemTime) {
        if self.state == JobState::Leased {
            let before = self.worker.as_deref().unwrap_or("nobody");
            let attempts = self.attempts;
            self.failure = Some(format!(
                "worker {before} let its lease end, at attempt {attempts}"
            ));
        }
        self.state = JobState::Leased;
        self.attempts = self.attempts.saturating_add(1);
        self.token = self.token.saturating_add(1);
        self.worker = Some(worker.to_owned());
        self.leased_until = Some(until);
    }

    fn held(&self, lease: &Lease, now: SystemTime) -> Result<(), QueueError> {
        let why = match self.state {
            _ if self.token != lease.token() => LeaseLoss::Superseded,
            JobState::Leased if self.is_expired(now) => LeaseLoss::Expired,
            JobState::Leased => return Ok(()),
            // Only a lease that was given back leaves that: there is none any more.
            JobState::Queued => LeaseLoss::Superseded,
            ended => LeaseLoss::Ended(ended),
        };
        Err(QueueError::LeaseLost {
            job: self.id.clone(),
            token: lease.token(),
            why,
        })
    }

    pub(super) fn renew(
        &mut self,
        lease: &Lease,
        now: SystemTime,
        until: SystemTime,
    ) -> Result<(), QueueError> {
        self.held(lease, now)?;
        self.leased_until = Some(until);
        Ok(())
    }

    pub(super) fn complete(
        &mut self,
        lease: &Lease,
        result: &str,
        now: SystemTime,
    ) -> Result<(), QueueError> {
        // Its holder did not hear that it had been done, and says so again.
        if self.state == JobState::Done && self.token == lease.token() {
            return Ok(());
        }
        self.held(lease, now)?;
        self.end(JobState::Done, now);
        self.result = Some(storable(result));
        Ok(())
    }

    pub(super) fn fail(
        &mut self,
        lease: &Lease,
        why: &str,
        now: SystemTime,
    ) -> Result<AfterFailure, QueueError> {
        if self.token == lease.token() {
            match self.state {
                JobState::Queued => return Ok(AfterFailure::RetryAt(self.due)),
                JobState::Dead => return Ok(AfterFailure::Dead),
                JobState::Leased | JobState::Done | JobState::Cancelled => {}
            }
        }
        self.held(lease, now)?;
        self.failure = Some(storable(why));
        let due = moment::later(now, self.spec.delay_after(self.attempts));
        let too_late = self.spec.ends().is_some_and(|end| end <= due);
        if too_late || self.attempts >= self.spec.attempts() {
            self.end(JobState::Dead, now);
            return Ok(AfterFailure::Dead);
        }
        self.state = JobState::Queued;
        self.leased_until = None;
        self.due = due;
        Ok(AfterFailure::RetryAt(due))
    }

    fn unfit(&self, action: &'static str) -> QueueError {
        QueueError::State {
            job: self.id.clone(),
            action,
            state: self.state,
        }
    }

    pub(super) fn revive(&mut self, now: SystemTime) -> Result<(), QueueError> {
        if !matches!(self.state, JobState::Dead | JobState::Cancelled) {
            return Err(self.unfit("revived"));
        }
        if self.spec.ends().is_some_and(|end| end <= now) {
            return Err(QueueError::Invalid {
                what: "deadline",
                why: format!("that of job {} has passed", self.id),
            });
        }
        self.state = JobState::Queued;
        self.attempts = 0;
        // Whoever still has an old lease has none of this.
        self.token = self.token.saturating_add(1);
        self.due = now;
        self.ended = None;
        Ok(())
    }

    pub(super) fn cancel(&mut self, now: SystemTime) -> Result<(), QueueError> {
        match self.state {
            JobState::Queued | JobState::Leased => {
                self.end(JobState::Cancelled, now);
                Ok(())
            }
            JobState::Cancelled => Ok(()),
            JobState::Done | JobState::Dead => Err(self.unfit("cancelled")),
        }
    }
}

/// What is too long for a store is cut, and no store has to take a NUL.
fn storable(text: &str) -> String {
    const MOST: usize = 16 * 1024;
    let mut end = text.len().min(MOST);
    while !text.is_char_boundary(end) {
        end = end.saturating_sub(1);
    }
    let kept = text.get(..end).unwrap_or_default();
    kept.replace('\0', "\u{fffd}")
}

pub(super) fn check_lease(worker: &str, duration: Duration) -> Result<(), QueueError> {
    super::spec::one_line("worker", worker, 1..=255)?;
    if duration < Duration::from_millis(1) {
        return Err(QueueError::Invalid {
            what: "lease",
            why: "it would be over at once".to_owned(),
        });
    }
    Ok(())
}
