use crate::list::SnapshotFilter;
use crate::props::Prop;
use std::collections::BTreeSet;
use std::num::NonZeroUsize;

bitflags::bitflags! {
    /// Which kinds of objects a [`Listing`] has.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct Listed: u8 {
        /// Filesystems.
        const FILESYSTEMS = 1;
        /// Volumes.
        const VOLUMES = 2;
        /// Filesystems and volumes, and what this crate does not know.
        const DATASETS = 1 | 2 | 16;
        /// Snapshots.
        const SNAPSHOTS = 4;
        /// Bookmarks.
        const BOOKMARKS = 8;
    }
}

/// In which order a [`Listing`] comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Order {
    /// Each dataset, then its snapshots and its bookmarks, oldest first, then what is below it;
    /// datasets side by side by name.
    ///
    /// `zfs list` has bookmarks among the snapshots, and `a-b` between `a` and `a/x`: it compares
    /// whole names.
    ///
    /// It needs the snapshots' [`stats`](Listing::stats), which costs something where only names
    /// are asked for.
    #[default]
    Age,
    /// The same, but snapshots and bookmarks by name.
    Name,
    /// As it comes: what is listed is in the order of the kernel's hash tables, and one of several
    /// threads comes before the other. This alone has no use for memory that grows with the list.
    Any,
}

/// What [`Dataset::list`](crate::Dataset::list) is to list.
///
/// Nothing but names is asked for, in the order of `zfs list`, without a limit of depth, by one
/// thread, where nothing else is said.
#[derive(Clone, Debug)]
pub struct Listing {
    pub(super) listed: Listed,
    pub(super) depth: Option<usize>,
    pub(super) created: SnapshotFilter,
    pub(super) stats: bool,
    pub(super) all: bool,
    pub(super) native: BTreeSet<Prop>,
    pub(super) user: BTreeSet<String>,
    pub(super) order: Order,
    pub(super) threads: NonZeroUsize,
}

impl Listing {
    /// Objects of these kinds.
    #[must_use]
    pub fn new(listed: Listed) -> Self {
        Self {
            listed,
            depth: None,
            created: SnapshotFilter::new(),
            stats: false,
            all: false,
            native: BTreeSet::new(),
            user: BTreeSet::new(),
            order: Order::default(),
            threads: NonZeroUsize::MIN,
        }
    }

    /// Only datasets that are at most `levels` below the one that is listed: 0 is this one alone.
    /// Snapshots and bookmarks are as deep as their dataset.
    #[must_use]
    pub fn depth(mut self, levels: usize) -> Self {
        self.depth = Some(levels);
        self
    }

    /// Only snapshots, and bookmarks of snapshots, that were created in these transaction groups.
    #[must_use]
    pub fn created(mut self, filter: SnapshotFilter) -> Self {
        self.created = filter;
        self
    }

    /// With GUID, transaction group and origin: [`Row::stats`](super::Row::stats).
    #[must_use]
    pub fn stats(mut self) -> Self {
        self.stats = true;
        self
    }

    /// With this property, as [`Row::get`](super::Row::get) gives it.
    #[must_use]
    pub fn property(mut self, prop: Prop) -> Self {
        self.native.insert(prop);
        self
    }

    /// With these properties.
    #[must_use]
    pub fn properties(mut self, props: impl IntoIterator<Item = Prop>) -> Self {
        self.native.extend(props);
        self
    }

    /// With the user property of this name, as [`Row::user`](super::Row::user) gives it.
    #[must_use]
    pub fn user_property(mut self, name: impl Into<String>) -> Self {
        self.user.insert(name.into());
        self
    }

    /// With all properties: [`Row::properties`](super::Row::properties). Those of files are with them only if they are
    /// asked for by [`property`](Self::property).
    #[must_use]
    pub fn all_properties(mut self) -> Self {
        self.all = true;
        self
    }

    /// In this order.
    #[must_use]
    pub fn order(mut self, order: Order) -> Self {
        self.order = order;
        self
    }

    /// By so many threads, which ask the kernel about different datasets at the same time and run
    /// ahead of whoever takes the rows by a few thousand of them. One, or none, is the thread that
    /// takes the rows.
    ///
    /// It pays where there are processors for them and many datasets: the snapshots of one dataset
    /// are listed by one thread.
    #[must_use]
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = NonZeroUsize::new(threads).unwrap_or(NonZeroUsize::MIN);
        self
    }
}
