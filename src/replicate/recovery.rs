//! What a target needs to be whole, decided from what is there. No kernel here.
//!
//! There is no journal: every run looks, and takes one step after another until there is none. A
//! run that dies between two steps leaves a state that the next one looks at in the same way. A
//! promotion is nothing else than the steps that a new verified snapshot calls for.

/// A snapshot of the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) guid: u64,
    pub(crate) short: String,
    pub(crate) verified: bool,
    /// Whether it has our hold.
    pub(crate) held: bool,
}

/// What was to be given up when a run died.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Discard {
    /// All that is newer than the snapshot with this GUID.
    NewerThan(u64),
    /// The whole chain.
    All,
}

/// The dataset that is received into.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Chain {
    /// Oldest first.
    pub(crate) snapshots: Vec<Kept>,
    pub(crate) discard: Option<Discard>,
    pub(crate) encrypted: bool,
    /// The token of a receive that was cut.
    pub(crate) token: Option<String>,
}

/// A target, as it was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Observed {
    pub(crate) chain: Option<Chain>,
    /// The GUID of the snapshot that readers see.
    pub(crate) current: Option<u64>,
    /// The GUID of the snapshot that a clone was made of which readers do not see yet.
    pub(crate) next: Option<u64>,
    /// Clones that readers saw before, by the names of their datasets.
    pub(crate) retired: Vec<String>,
}

/// One step: one change of ZFS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Rolls the chain back to the snapshot, destroying what is newer.
    RollBack(u64),
    /// Forgets that something was to be given up.
    ForgetDiscard,
    /// Destroys the chain with all its snapshots.
    DestroyChain,
    /// Destroys a clone that was not promoted.
    DropNext,
    /// Clones the snapshot.
    MakeNext(u64),
    /// Takes away what readers see, leaving it to those who have it open.
    Retire,
    /// Lets readers see the clone.
    Publish,
    /// Holds the snapshot.
    Hold(u64),
    /// Releases the snapshot.
    Release(u64),
    /// Destroys a clone that readers saw before.
    DropRetired(String),
}

impl Chain {
    /// What is there after a snapshot was received, and marked as verified.
    pub(crate) fn has_verified(&mut self, guid: u64, short: &str) {
        self.token = None;
        self.snapshots.retain(|kept| kept.guid != guid);
        self.snapshots.push(Kept {
            guid,
            short: short.to_owned(),
            verified: true,
            held: false,
        });
    }
}

impl Observed {
    /// The newest verified snapshot: what readers are to see.
    pub(crate) fn verified(&self) -> Option<&Kept> {
        let chain = self.chain.as_ref()?;
        chain.snapshots.iter().rev().find(|kept| kept.verified)
    }

    /// The next step towards a whole target.
    pub(crate) fn next_step(&self) -> Option<Step> {
        let chain = self.chain.as_ref();
        match chain.and_then(|chain| chain.discard) {
            Some(Discard::All) => return Some(Step::DestroyChain),
            Some(Discard::NewerThan(guid)) => {
                let newest = chain.and_then(|chain| chain.snapshots.last());
                return Some(match self.find(guid) {
                    // The snapshots may be gone, and the chain not rolled back yet.
                    Some(_) if newest.is_some() => Step::RollBack(guid),
                    _ => Step::ForgetDiscard,
                });
            }
            None => {}
        }
        let verified = self.verified();
        let wanted = verified.map(|kept| kept.guid);
        if self.next.is_some() && (self.next != wanted || self.current == wanted) {
            return Some(Step::DropNext);
        }
        if let Some(verified) = verified {
            if self.current != wanted {
                return Some(match (self.next, self.current) {
                    (None, _) => Step::MakeNext(verified.guid),
                    (Some(_), Some(_)) => Step::Retire,
                    (Some(_), None) => Step::Publish,
                });
            }
            if !verified.held {
                return Some(Step::Hold(verified.guid));
            }
        }
        let superseded = chain
            .into_iter()
            .flat_map(|chain| &chain.snapshots)
            .find(|kept| kept.held && Some(kept.guid) != wanted);
        if let Some(kept) = superseded {
            return Some(Step::Release(kept.guid));
        }
        self.retired.last().cloned().map(Step::DropRetired)
    }

    fn find(&self, guid: u64) -> Option<&Kept> {
        let chain = self.chain.as_ref()?;
        chain.snapshots.iter().find(|kept| kept.guid == guid)
    }

    /// What is there after a step, so that it need not be looked at again.
    pub(crate) fn apply(&mut self, step: &Step, retired: impl FnOnce() -> String) {
        match step {
            Step::RollBack(guid) => {
                if let Some(chain) = &mut self.chain {
                    let kept = chain.snapshots.iter().position(|kept| kept.guid == *guid);
                    chain.snapshots.truncate(kept.map_or(0, |index| index + 1));
                    chain.discard = None;
                }
            }
            Step::ForgetDiscard => {
                if let Some(chain) = &mut self.chain {
                    chain.discard = None;
                }
            }
            Step::DestroyChain => self.chain = None,
            Step::DropNext => self.next = None,
            Step::MakeNext(guid) => self.next = Some(*guid),
            Step::Retire => {
                self.current = None;
                self.retired.push(retired());
            }
            Step::Publish => self.current = self.next.take(),
            Step::Hold(guid) => self.set_held(*guid, true),
            Step::Release(guid) => self.set_held(*guid, false),
            Step::DropRetired(name) => self.retired.retain(|kept| kept != name),
        }
    }

    fn set_held(&mut self, guid: u64, held: bool) {
        let snapshots = self.chain.iter_mut().flat_map(|chain| &mut chain.snapshots);
        for kept in snapshots.filter(|kept| kept.guid == guid) {
            kept.held = held;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(guid: u64, verified: bool) -> Kept {
        Kept {
            guid,
            short: format!("s{guid}"),
            verified,
            held: false,
        }
    }

    fn chain(snapshots: &[(u64, bool)]) -> Option<Chain> {
        Some(Chain {
            snapshots: snapshots.iter().map(|(g, v)| kept(*g, *v)).collect(),
            ..Chain::default()
        })
    }

    /// The steps until there is none.
    fn steps(mut observed: Observed) -> (Vec<Step>, Observed) {
        let mut steps = Vec::new();
        while let Some(step) = observed.next_step() {
            let retired = format!("retired-{}", steps.len());
            observed.apply(&step, || retired);
            steps.push(step);
            assert!(steps.len() < 30, "it does not end: {steps:?}");
        }
        (steps, observed)
    }

    #[test]
    fn nothing_is_whole() {
        assert_eq!(Observed::default().next_step(), None);
    }

    #[test]
    fn the_first_verified_snapshot_is_published() {
        let observed = Observed {
            chain: chain(&[(1, true)]),
            ..Observed::default()
        };
        assert_eq!(
            steps(observed).0,
            [Step::MakeNext(1), Step::Publish, Step::Hold(1)]
        );
    }

    #[test]
    fn a_newer_one_takes_its_place() {
        let (_, mut observed) = steps(Observed {
            chain: chain(&[(1, true)]),
            ..Observed::default()
        });
        if let Some(chain) = &mut observed.chain {
            chain.snapshots.push(kept(2, true));
        }
        assert_eq!(
            steps(observed).0,
            [
                Step::MakeNext(2),
                Step::Retire,
                Step::Publish,
                Step::Hold(2),
                Step::Release(1),
                Step::DropRetired(String::from("retired-1")),
            ]
        );
    }

    #[test]
    fn what_is_not_verified_is_never_seen() {
        let observed = Observed {
            chain: chain(&[(1, true), (2, false)]),
            current: Some(1),
            next: Some(2),
            ..Observed::default()
        };
        assert_eq!(steps(observed).0, [Step::DropNext, Step::Hold(1)]);
        let nothing_verified = Observed {
            chain: chain(&[(1, false)]),
            ..Observed::default()
        };
        assert_eq!(nothing_verified.next_step(), None);
    }

    #[test]
    fn what_was_to_be_given_up_is_given_up_first() {
        let mut observed = Observed {
            chain: chain(&[(1, true), (2, false)]),
            ..Observed::default()
        };
        let set = |observed: &mut Observed, discard| {
            if let Some(chain) = &mut observed.chain {
                chain.discard = discard;
            }
        };
        set(&mut observed, Some(Discard::NewerThan(1)));
        assert_eq!(observed.next_step(), Some(Step::RollBack(1)));
        set(&mut observed, Some(Discard::NewerThan(9)));
        assert_eq!(observed.next_step(), Some(Step::ForgetDiscard));
        set(&mut observed, Some(Discard::All));
        assert_eq!(observed.next_step(), Some(Step::DestroyChain));
    }

    /// From every state that can be made of a few snapshots: every step but the last leads on, what
    /// readers see is verified all the time, and a run that dies anywhere changes nothing of it.
    #[test]
    fn every_state_leads_to_a_whole_target_and_no_step_shows_what_is_bad() {
        let options = [None, Some(1), Some(2), Some(3)];
        for bits in 0..64_u64 {
            for next in options {
                for current in options {
                    for discard in [
                        None,
                        Some(Discard::NewerThan(1)),
                        Some(Discard::NewerThan(9)),
                    ] {
                        let snapshots = (1..=3).map(|guid| Kept {
                            held: bits & (1 << guid) != 0,
                            ..kept(guid, bits & (8 << guid) != 0)
                        });
                        let mut observed = Observed {
                            chain: Some(Chain {
                                snapshots: snapshots.collect(),
                                discard,
                                ..Chain::default()
                            }),
                            current,
                            next,
                            retired: vec![String::from("retired-old")],
                        };
                        let seen = observed.current;
                        let mut count = 0;
                        while let Some(step) = observed.next_step() {
                            observed.apply(&step, || format!("retired-{count}"));
                            count += 1;
                            assert!(count < 30);
                            let sound = observed.current.is_none()
                                || observed.current == seen
                                || observed.current == observed.verified().map(|v| v.guid);
                            assert!(sound, "{observed:?}");
                        }
                        let wanted = observed.verified().map(|kept| kept.guid);
                        if wanted.is_some() {
                            assert_eq!(observed.current, wanted);
                        }
                        assert_eq!(observed.next, None);
                        assert!(observed.retired.is_empty());
                        let held: Vec<u64> = observed
                            .chain
                            .iter()
                            .flat_map(|c| &c.snapshots)
                            .filter(|kept| kept.held)
                            .map(|kept| kept.guid)
                            .collect();
                        assert_eq!(held, Vec::from_iter(wanted));
                    }
                }
            }
        }
    }
}
