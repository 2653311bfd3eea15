//! What the source does next, decided from what both sides have. No kernel here.

use super::error::Problem;
use super::message::Held;

/// A snapshot or a bookmark of the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Point {
    pub(crate) guid: u64,
    /// The order of a dataset's snapshots.
    pub(crate) txg: u64,
    pub(crate) short: String,
}

/// The source's dataset.
#[derive(Clone, Debug, Default)]
pub(crate) struct SourceState {
    pub(crate) snapshots: Vec<Point>,
    pub(crate) bookmarks: Vec<Point>,
}

/// Where an increment starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Base {
    Snapshot(Point),
    Bookmark(Point),
}

impl Base {
    pub(crate) fn point(&self) -> &Point {
        match self {
            Self::Snapshot(point) | Self::Bookmark(point) => point,
        }
    }
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// The target's newest snapshot is the one that is wanted, or newer.
    UpToDate { guid: u64 },
    /// The target has received a snapshot that was not verified yet.
    Verify { to: Point, from: Option<Base> },
    /// The target needs data.
    Send {
        to: Point,
        from: Option<Base>,
        /// Whether to go on where a cut receive ended.
        resume: bool,
    },
}

/// What was being received when the receive was cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Partial {
    pub(crate) to: u64,
    pub(crate) from: Option<u64>,
}

impl SourceState {
    fn snapshot(&self, guid: u64) -> Option<&Point> {
        self.snapshots.iter().find(|point| point.guid == guid)
    }

    /// A snapshot rather than a bookmark: it may have what a bookmark has not.
    fn base(&self, guid: u64) -> Option<Base> {
        if let Some(point) = self.snapshot(guid) {
            return Some(Base::Snapshot(point.clone()));
        }
        let bookmark = self.bookmarks.iter().find(|point| point.guid == guid)?;
        Some(Base::Bookmark(bookmark.clone()))
    }

    /// What to do for a target that has `held`, oldest first, and was cut in `partial`.
    pub(crate) fn plan(
        &self,
        wanted: Option<&str>,
        held: &[Held],
        partial: Option<Partial>,
    ) -> Result<Plan, (Problem, String)> {
        let to = match wanted {
            Some(short) => self.snapshots.iter().find(|point| point.short == short),
            None => self.snapshots.iter().max_by_key(|point| point.txg),
        };
        let verified = held.iter().rev().find(|snapshot| snapshot.verified);
        let newest = verified
            .map(|verified| {
                self.base(verified.guid)
                    .ok_or_else(|| self.stranger(verified.guid, held))
            })
            .transpose()?;
        if let Some(unverified) = held.last().filter(|newest| !newest.verified) {
            // It can only be verified against the snapshot itself.
            let to = self
                .snapshot(unverified.guid)
                .ok_or_else(|| self.stranger(unverified.guid, held))?;
            return Ok(Plan::Verify {
                to: to.clone(),
                from: newest,
            });
        }
        if let Some(newest) = &newest {
            let newest = newest.point();
            let newer = match to {
                Some(to) => to.guid != newest.guid && to.txg >= newest.txg,
                None => wanted.is_some(),
            };
            if !newer {
                return Ok(Plan::UpToDate { guid: newest.guid });
            }
        }
        let to = to.ok_or_else(|| {
            let detail = match wanted {
                Some(short) => format!("the source has no snapshot {short}"),
                None => String::from("the source has no snapshot"),
            };
            (Problem::NoSnapshot, detail)
        })?;
        // A cut transfer is finished first, even if there is something newer by now.
        let from = newest.as_ref().map(|base| base.point().guid);
        let cut = partial
            .filter(|partial| partial.from == from)
            .and_then(|partial| self.snapshot(partial.to));
        Ok(Plan::Send {
            to: cut.unwrap_or(to).clone(),
            from: newest,
            resume: cut.is_some(),
        })
    }

    /// The target's newest snapshot is none of the source's: is there an older one that is?
    fn stranger(&self, guid: u64, held: &[Held]) -> (Problem, String) {
        let common = held
            .iter()
            .rev()
            .find_map(|snapshot| self.base(snapshot.guid));
        match common {
            Some(base) => (
                Problem::Diverged,
                format!(
                    "the target's snapshot {guid} is unknown to the source; the newest that both \
                     have is {} ({})",
                    base.point().short,
                    base.point().guid
                ),
            ),
            None => (
                Problem::NoCommonBase,
                format!(
                    "none of the target's {} snapshots is a snapshot or a bookmark of the source",
                    held.len()
                ),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(guid: u64) -> Point {
        Point {
            guid,
            txg: guid * 10,
            short: format!("s{guid}"),
        }
    }

    fn source(snapshots: &[u64], bookmarks: &[u64]) -> SourceState {
        SourceState {
            snapshots: snapshots.iter().copied().map(point).collect(),
            bookmarks: bookmarks.iter().copied().map(point).collect(),
        }
    }

    /// Those before the bar are verified.
    fn held(verified: &[u64], unverified: &[u64]) -> Vec<Held> {
        let of = |guids: &[u64], verified| -> Vec<Held> {
            let held = |guid: &u64| Held {
                guid: *guid,
                verified,
            };
            guids.iter().map(held).collect()
        };
        [of(verified, true), of(unverified, false)].concat()
    }

    fn send(to: u64, from: Option<Base>, resume: bool) -> Plan {
        Plan::Send {
            to: point(to),
            from,
            resume,
        }
    }

    #[test]
    fn a_new_target_gets_all_of_the_newest() {
        let plan = source(&[1, 3, 2], &[]).plan(None, &[], None);
        assert_eq!(plan, Ok(send(3, None, false)));
        let plan = source(&[1, 3, 2], &[]).plan(Some("s2"), &[], None);
        assert_eq!(plan, Ok(send(2, None, false)));
    }

    #[test]
    fn the_base_is_found_by_guid_whatever_its_name() {
        let mut source = source(&[1, 2, 3], &[]);
        source.snapshots[1].short = String::from("renamed");
        let base = Base::Snapshot(source.snapshots[1].clone());
        let plan = source.plan(None, &held(&[1, 2], &[]), None);
        assert_eq!(plan, Ok(send(3, Some(base), false)));
    }

    #[test]
    fn a_bookmark_is_base_enough() {
        let plan = source(&[3], &[1, 2]).plan(None, &held(&[1, 2], &[]), None);
        assert_eq!(plan, Ok(send(3, Some(Base::Bookmark(point(2))), false)));
        let both = source(&[2, 3], &[2]).plan(None, &held(&[2], &[]), None);
        assert_eq!(both, Ok(send(3, Some(Base::Snapshot(point(2))), false)));
    }

    #[test]
    fn nothing_newer_is_up_to_date() {
        let up_to_date = Ok(Plan::UpToDate { guid: 2 });
        assert_eq!(
            source(&[1, 2], &[]).plan(None, &held(&[1, 2], &[]), None),
            up_to_date
        );
        // The source dropped the snapshot and kept a bookmark.
        assert_eq!(
            source(&[1], &[2]).plan(None, &held(&[2], &[]), None),
            up_to_date
        );
        assert_eq!(
            source(&[], &[2]).plan(None, &held(&[2], &[]), None),
            up_to_date
        );
        // An older one is wanted.
        assert_eq!(
            source(&[1, 2], &[]).plan(Some("s1"), &held(&[2], &[]), None),
            up_to_date
        );
    }

    #[test]
    fn a_source_without_the_snapshot_has_nothing_to_send() {
        let problem = |plan: Result<Plan, (Problem, String)>| plan.unwrap_err().0;
        assert_eq!(
            problem(source(&[], &[]).plan(None, &[], None)),
            Problem::NoSnapshot
        );
        assert_eq!(
            problem(source(&[1], &[]).plan(Some("s9"), &held(&[1], &[]), None)),
            Problem::NoSnapshot
        );
    }

    #[test]
    fn what_was_not_verified_is_verified_first() {
        let plan = source(&[1, 2, 3], &[]).plan(None, &held(&[1], &[2]), None);
        let verify = |to, from: Option<u64>| {
            Ok(Plan::Verify {
                to: point(to),
                from: from.map(|guid| Base::Snapshot(point(guid))),
            })
        };
        assert_eq!(plan, verify(2, Some(1)));
        // A target that an operator filled by hand.
        let plan = source(&[1, 2, 3], &[]).plan(None, &held(&[], &[1, 2]), None);
        assert_eq!(plan, verify(2, None));
    }

    #[test]
    fn targets_that_went_their_own_way() {
        let problem = |plan: Result<Plan, (Problem, String)>| plan.unwrap_err().0;
        let theirs = source(&[1, 2], &[]);
        assert_eq!(
            problem(theirs.plan(None, &held(&[1, 9], &[]), None)),
            Problem::Diverged
        );
        assert_eq!(
            problem(theirs.plan(None, &held(&[1], &[9]), None)),
            Problem::Diverged
        );
        assert_eq!(
            problem(theirs.plan(None, &held(&[8, 9], &[]), None)),
            Problem::NoCommonBase
        );
        // Verified means nothing to a source that lost the base.
        assert_eq!(
            problem(theirs.plan(None, &held(&[8], &[2]), None)),
            Problem::Diverged
        );
    }

    #[test]
    fn a_cut_transfer_goes_on_when_both_ends_are_still_there() {
        let base = |guid| Some(Base::Snapshot(point(guid)));
        let cut = |to, from| Some(Partial { to, from });
        let theirs = source(&[1, 2, 3], &[]);
        assert_eq!(
            theirs.plan(None, &held(&[1], &[]), cut(2, Some(1))),
            Ok(send(2, base(1), true))
        );
        assert_eq!(
            theirs.plan(None, &[], cut(1, None)),
            Ok(send(1, None, true))
        );
        // Its snapshot is gone, or it was an increment to something else.
        assert_eq!(
            theirs.plan(None, &held(&[1], &[]), cut(9, Some(1))),
            Ok(send(3, base(1), false))
        );
        assert_eq!(
            theirs.plan(None, &held(&[2], &[]), cut(3, Some(1))),
            Ok(send(3, base(2), false))
        );
    }
}
