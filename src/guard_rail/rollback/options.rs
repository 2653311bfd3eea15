use std::collections::BTreeSet;

/// What a rollback may destroy, and whether it keeps what it discards.
///
/// Unless told otherwise it destroys no snapshot and no bookmark: a newer one is an
/// [`Obstacle`](super::Obstacle).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RollbackOptions {
    pub(super) all: bool,
    pub(super) named: BTreeSet<String>,
    pub(super) guard_rails: BTreeSet<String>,
    pub(super) keep: Option<String>,
}

impl RollbackOptions {
    /// Destroys nothing but what was written since, and keeps nothing of it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Destroys every newer snapshot and bookmark on the way, except those of guard rails, which
    /// are [named](Self::destroy_guard_rail).
    #[must_use]
    pub fn destroy_newer(mut self) -> Self {
        self.all = true;
        self
    }

    /// Destroys this newer snapshot or bookmark on the way, which is named in full
    /// (`tank/a@hourly-7`, `tank/a#sent-7`).
    #[must_use]
    pub fn destroy(mut self, name: impl Into<String>) -> Self {
        self.named.insert(name.into());
        self
    }

    /// Destroys the snapshots of the newer guard rail `name` on the way, as far as they are of
    /// datasets that are rolled back, and releases its hold of them before.
    #[must_use]
    pub fn destroy_guard_rail(mut self, name: impl Into<String>) -> Self {
        self.guard_rails.insert(name.into());
        self
    }

    /// Keeps the state that is discarded, as a clone of the point that is rolled back to.
    ///
    /// It is `NAME` below a filesystem, and `VOLUME-NAME` beside a volume. It has one snapshot,
    /// `NAME`, is read-only and not mounted by itself, and has the user property `helix:kept`. It is
    /// the datasets' state of one moment, before anything else is done; newer snapshots are not in
    /// it. What was written since the point is copied, so that it takes that much space, and time.
    /// An encrypted dataset's data are copied as they are; no key is needed.
    ///
    /// While a clone is there, the point's snapshot cannot be destroyed.
    #[must_use]
    pub fn keep(mut self, name: impl Into<String>) -> Self {
        self.keep = Some(name.into());
        self
    }

    pub(super) fn allows(&self, name: &str) -> bool {
        self.all || self.named.contains(name)
    }
}
