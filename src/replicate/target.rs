//! The target in ZFS: its layout, how it is looked at, and how its steps are taken.

use std::time::Duration;

use zfs_core::props::{CanMount, Compression, PropertySet, ReadOnly, UserProps};
use zfs_core::receive::ReceiveOptions;
use zfs_core::{
    CreateOptions, Dataset, DatasetKind, DatasetName, ErrorKind, HoldGuard, Snapshot,
    SnapshotFilter, Zfs,
};

use crate::replica::SiteRole;
use crate::replica::role::{PROMOTED, ROLE, own};

use super::error::{Problem, ReplicateError, Side};
use super::message::Encrypted;
use super::recovery::{Chain, Discard, Kept, Observed, Step};
use crate::gate::{Capability, Operation};

/// Marks a target. Its value is the version of the layout.
const MARK: &str = "helix:replica";
const LAYOUT: &str = "1";
/// Set on a verified snapshot of the chain: its GUID, and the root of its content digest.
const VERIFIED: &str = "helix:verified";
/// Set on the chain while something of it is given up: the GUID of the snapshot that stays.
const DISCARDING: &str = "helix:discarding";
const DISCARD_ALL: &str = "all";
/// The tag of the hold on the newest verified snapshot.
const HOLD: &str = "helix-replicate";
/// The snapshot of the target itself that a run holds, so that there is one run at a time; and the
/// tag of that hold.
const LOCK: &str = "helix-replicate";

const LOCK_TRIES: u32 = 20;
const LOCK_WAIT: Duration = Duration::from_millis(100);

const CHAIN: &str = "chain";
const CURRENT: &str = "current";
const NEXT: &str = "next";
const RETIRED: &str = "retired-";

/// A target that this run has for itself.
#[derive(Debug)]
pub(crate) struct Target<'c> {
    container: Dataset,
    pub(super) chain: Dataset,
    current: Dataset,
    next: Dataset,
    /// The GUID of the container: it stays when the target is renamed.
    pub(super) replica: u64,
    encrypted: bool,
    /// None while one only looks.
    run: Option<Run<'c>>,
}

/// What a capability lets a run do with a target.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Permit<'c> {
    pub(crate) capability: &'c Capability,
    pub(crate) operation: Operation,
}

impl Permit<'_> {
    fn allow(self, target: &DatasetName) -> Result<(), ReplicateError> {
        self.capability
            .allow(self.operation, target)
            .map_err(|refusal| ReplicateError::refused(Side::Target, refusal))
    }
}

/// A run that changes the target.
#[derive(Debug)]
struct Run<'c> {
    permit: Permit<'c>,
    /// Ends with its descriptor, and is never released by name: that would leave the descriptor's end
    /// to release the next run's hold of the same tag.
    _lock: HoldGuard,
}

fn zfs_error(error: zfs_core::Error) -> ReplicateError {
    ReplicateError::zfs(Side::Target, error)
}

fn modified(detail: String) -> ReplicateError {
    ReplicateError::new(Problem::TargetModified, Side::Target, detail)
}

/// Whether readers, or what they made of a clone, are the reason why it cannot go.
fn is_in_use(error: &zfs_core::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Busy | ErrorKind::HasSnapshots | ErrorKind::HasChildren
    )
}

impl<'c> Target<'c> {
    /// Opens the target, makes it if it does not exist, and keeps other runs away from it. Not one
    /// whose chain is, or becomes, something else than a replica.
    pub(crate) fn open(
        permit: Permit<'c>,
        zfs: &Zfs,
        name: &DatasetName,
    ) -> Result<Self, ReplicateError> {
        let target = Self::open_barred(permit, zfs, name)?;
        let props = target.container.properties().map_err(zfs_error)?;
        if let Some(data) = own(&props, PROMOTED) {
            return Err(modified(format!("it was promoted to {data}")));
        }
        match target.chain.properties() {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(zfs_error(error)),
            Ok(props) => match own(&props, ROLE) {
                None => {}
                Some(role) if role == SiteRole::Replica.name() => {}
                Some(role) => {
                    return Err(modified(format!("{} is {role}", target.chain.name())));
                }
            },
        }
        Ok(target)
    }

    /// Keeps runs away from a target until [`unbar`](Self::unbar): its chain goes to `data`.
    pub(crate) fn bar(container: &Dataset, data: &DatasetName) -> zfs_core::Result<()> {
        let mark = UserProps::new().set(PROMOTED, data.as_str())?;
        container.set_user(&mark)
    }

    /// Lets runs come again.
    pub(crate) fn unbar(container: &Dataset) -> zfs_core::Result<()> {
        container.inherit(PROMOTED)
    }

    /// As [`open`](Self::open), whatever became of the chain.
    pub(crate) fn open_barred(
        permit: Permit<'c>,
        zfs: &Zfs,
        name: &DatasetName,
    ) -> Result<Self, ReplicateError> {
        // Before anything of it is looked at.
        permit.allow(name)?;
        let container = zfs.dataset(name.as_str()).map_err(zfs_error)?;
        let child = |short| container.child(short).map_err(zfs_error);
        let (chain, current, next) = (child(CHAIN)?, child(CURRENT)?, child(NEXT)?);
        let exists = container.exists().map_err(zfs_error)?;
        if !exists {
            let options = CreateOptions::filesystem()
                .set(CanMount::Off)
                .user(MARK, LAYOUT)
                .map_err(zfs_error)?;
            permit.allow(name)?;
            container.create(&options).map_err(zfs_error)?;
        }
        let props = container.properties().map_err(zfs_error)?;
        match own(&props, MARK) {
            Some(LAYOUT) => {}
            Some(other) => {
                return Err(ReplicateError::new(
                    Problem::Protocol,
                    Side::Target,
                    format!("{name} has the layout {other}, and this is {LAYOUT}"),
                ));
            }
            None => {
                for dataset in [&chain, &current, &next] {
                    if dataset.exists().map_err(zfs_error)? {
                        return Err(modified(format!("{} is not ours", dataset.name())));
                    }
                }
                let mark = UserProps::new().set(MARK, LAYOUT).map_err(zfs_error)?;
                permit.allow(name)?;
                container.set_user(&mark).map_err(zfs_error)?;
            }
        }
        permit.allow(name)?;
        let lock = Self::lock(zfs, &container)?;
        Ok(Self {
            replica: props.guid(),
            encrypted: props.encryption().is_some(),
            container,
            chain,
            current,
            next,
            run: Some(Run {
                permit,
                _lock: lock,
            }),
        })
    }

    /// Opens the target to look at it; a run may be changing it. `None` when it is no target.
    pub(super) fn look(zfs: &Zfs, name: &DatasetName) -> Result<Option<Self>, ReplicateError> {
        let container = zfs.dataset(name.as_str()).map_err(zfs_error)?;
        let child = |short| container.child(short).map_err(zfs_error);
        let (chain, current, next) = (child(CHAIN)?, child(CURRENT)?, child(NEXT)?);
        let props = container.properties().map_err(zfs_error)?;
        Ok(own(&props, MARK).is_some().then(|| Self {
            replica: props.guid(),
            encrypted: props.encryption().is_some(),
            container,
            chain,
            current,
            next,
            run: None,
        }))
    }

    /// Whether a run is at work.
    pub(super) fn is_locked(&self) -> Result<bool, ReplicateError> {
        let snapshot = self.container.snapshot(LOCK).map_err(zfs_error)?;
        match snapshot.holds() {
            Ok(holds) => Ok(!holds.is_empty()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(zfs_error(error)),
        }
    }

    /// The name of what readers see.
    pub(super) fn current(&self) -> &DatasetName {
        self.current.name()
    }

    /// A hold that ends with this process, on a snapshot of the container, which has no data.
    fn lock(zfs: &Zfs, container: &Dataset) -> Result<HoldGuard, ReplicateError> {
        let snapshot = container.snapshot(LOCK).map_err(zfs_error)?;
        match snapshot.create(&UserProps::new()) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(zfs_error(error)),
            _ => {}
        }
        // The kernel lets go of a killed process's holds some time after it has told its parent.
        for _ in 0..LOCK_TRIES {
            match zfs.hold_until_drop(&[&snapshot], LOCK) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                    std::thread::sleep(LOCK_WAIT);
                }
                result => return result.map_err(zfs_error),
            }
        }
        Err(ReplicateError::new(
            Problem::Busy,
            Side::Target,
            container.name().as_str(),
        ))
    }

    /// Whether what is received is, or would be, encrypted here.
    pub(super) fn encrypted(&self, observed: &Observed) -> Encrypted {
        match &observed.chain {
            Some(chain) => Encrypted::Chain(chain.encrypted),
            None => Encrypted::Target(self.encrypted),
        }
    }

    /// What is there.
    pub(crate) fn observe(&self) -> Result<Observed, ReplicateError> {
        let chain = self.observe_chain()?;
        let mut observed = Observed {
            chain,
            ..Observed::default()
        };
        for child in self.container.children().map_err(zfs_error)? {
            let short = child.name.base();
            let origin = || match &child.origin {
                Some(origin) if origin.dataset() == *self.chain.name() => {
                    let snapshots = observed.chain.as_ref().map(|chain| &chain.snapshots);
                    let kept = snapshots
                        .into_iter()
                        .flatten()
                        .find(|kept| kept.short == origin.short());
                    kept.map(|kept| kept.guid)
                        .ok_or_else(|| modified(format!("{} changed meanwhile", child.name)))
                }
                _ => Err(modified(format!(
                    "{} is no clone of {}",
                    child.name,
                    self.chain.name()
                ))),
            };
            match short {
                CURRENT => observed.current = Some(origin()?),
                NEXT => observed.next = Some(origin()?),
                _ if short.starts_with(RETIRED) => observed.retired.push(short.to_owned()),
                _ => {}
            }
        }
        Ok(observed)
    }

    fn observe_chain(&self) -> Result<Option<Chain>, ReplicateError> {
        let props = match self.chain.properties() {
            Ok(props) => props,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(zfs_error(error)),
        };
        let discard = match own(&props, DISCARDING) {
            None => None,
            Some(DISCARD_ALL) => Some(Discard::All),
            Some(guid) => Some(Discard::NewerThan(guid.parse().map_err(|_| {
                modified(format!("{}: {DISCARDING} is {guid}", self.chain.name()))
            })?)),
        };
        let snapshots = self
            .chain
            .snapshots_with_properties(&SnapshotFilter::new())
            .map_err(zfs_error)?;
        let mut kept = Vec::with_capacity(snapshots.len());
        for (entry, props) in snapshots {
            let verified = own(&props, VERIFIED).and_then(|mark| mark.split(' ').next());
            let held = props.user_refs().unwrap_or(0) > 0 && {
                let snapshot = self.chain.snapshot(entry.name.short()).map_err(zfs_error)?;
                let holds = snapshot.holds().map_err(zfs_error)?;
                holds
                    .iter()
                    .any(|hold| hold.tag.to_bytes() == HOLD.as_bytes())
            };
            kept.push((
                entry.create_txg,
                Kept {
                    guid: entry.guid,
                    short: entry.name.short().to_owned(),
                    verified: verified == Some(entry.guid.to_string().as_str()),
                    held,
                },
            ));
        }
        kept.sort_by_key(|(txg, _)| *txg);
        Ok(Some(Chain {
            snapshots: kept.into_iter().map(|(_, kept)| kept).collect(),
            discard,
            encrypted: props.encryption().is_some(),
            token: props.receive_resume_token().map(str::to_owned),
        }))
    }

    /// Asks the capability, before a change of the target.
    pub(crate) fn allow(&self) -> Result<(), ReplicateError> {
        match &self.run {
            Some(run) => run.permit.allow(self.container.name()),
            None => Err(ReplicateError::new(
                Problem::Refused,
                Side::Target,
                "it was opened to be looked at",
            )),
        }
    }

    /// Takes all steps that the target needs. Returns the clones that readers saw before and that
    /// are still in use.
    pub(crate) fn settle(
        &self,
        observed: &mut Observed,
    ) -> Result<Vec<DatasetName>, ReplicateError> {
        let mut in_use = Vec::new();
        while let Some(step) = observed.next_step() {
            // A GUID of its own: two clones of one snapshot can both be in use.
            let mut retired = String::new();
            if step == Step::Retire {
                let current = self.current.stat().map_err(zfs_error)?;
                retired = format!("{RETIRED}{:016x}", current.guid);
            }
            self.allow()?;
            match (self.perform(observed, &step, &retired), &step) {
                (Err(error), Step::DropRetired(name)) if is_in_use(&error) => {
                    in_use.push(
                        self.container
                            .name()
                            .child(name)
                            .map_err(|error| zfs_error(zfs_core::Error::from(error)))?,
                    );
                }
                (result, _) => result.map_err(zfs_error)?,
            }
            observed.apply(&step, || retired);
        }
        Ok(in_use)
    }

    fn perform(&self, observed: &Observed, step: &Step, retired: &str) -> zfs_core::Result<()> {
        match step {
            Step::RollBack(guid) => {
                let short = self.short(observed, *guid)?;
                self.chain
                    .rollback_to_discarding_newer(short.name().short())?;
                self.chain.inherit(DISCARDING)
            }
            Step::ForgetDiscard => self.chain.inherit(DISCARDING),
            Step::DestroyChain => {
                let snapshots = self.chain.snapshots(&SnapshotFilter::new())?;
                let names: Vec<_> = snapshots.into_iter().map(|entry| entry.name).collect();
                self.chain.zfs().destroy_snapshots(&names)?;
                self.chain.destroy()
            }
            Step::DropNext => self.next.destroy(),
            Step::MakeNext(guid) => {
                let props = Self::properties(self.chain.kind()?);
                let snapshot = self.short(observed, *guid)?;
                snapshot.clone_to(self.next.name(), &props).map(drop)
            }
            Step::Retire => {
                let to = self.container.name().child(retired)?;
                self.current.rename(&to).map(drop)
            }
            Step::Publish => self.next.rename(self.current.name()).map(drop),
            Step::Hold(guid) => self.short(observed, *guid)?.hold(HOLD),
            Step::Release(guid) => self.short(observed, *guid)?.release(HOLD),
            Step::DropRetired(name) => self.container.child(name)?.destroy(),
        }
    }

    fn short(&self, observed: &Observed, guid: u64) -> zfs_core::Result<Snapshot> {
        let mut chain = observed.chain.iter().flat_map(|chain| &chain.snapshots);
        let kept = chain.find(|kept| kept.guid == guid);
        // A step names a snapshot that was seen; an empty name would be refused.
        self.chain.snapshot(kept.map_or("", |kept| &kept.short))
    }

    /// Takes away what readers see, leaving it to those who have it open: a later run shows them
    /// what is verified then.
    pub(crate) fn retire_current(&self) -> zfs_core::Result<()> {
        if self.next.exists()? {
            self.next.destroy()?;
        }
        match self.current.stat() {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
            Ok(current) => {
                let retired = format!("{RETIRED}{:016x}", current.guid);
                let to = self.container.name().child(&retired)?;
                self.current.rename(&to).map(drop)
            }
        }
    }

    /// Releases what the target held of a dataset that is its chain no more.
    pub(crate) fn let_go(dataset: &Dataset) -> zfs_core::Result<()> {
        let snapshots = dataset.snapshots_with_properties(&SnapshotFilter::new())?;
        let held: Vec<_> = snapshots
            .into_iter()
            .filter(|(_, props)| props.user_refs().unwrap_or(0) > 0)
            .map(|(entry, _)| entry.name)
            .collect();
        if held.is_empty() {
            return Ok(());
        }
        // What has other holds only stays held by those.
        dataset.zfs().release(&held, HOLD).map(drop)
    }

    /// Sets a dataset to what a chain is set to.
    pub(crate) fn make_chain(dataset: &Dataset) -> zfs_core::Result<()> {
        dataset.set_all(&Self::chain_properties(dataset.kind()?))
    }

    /// What a chain is set to. What arrives compressed is stored as it is. What does not is not to be
    /// compressed here: it could not be sent again as it came.
    pub(crate) fn chain_properties(kind: DatasetKind) -> PropertySet {
        Self::properties(kind).set(Compression::Off)
    }

    /// What chain and clones are set to: nothing writes to them, and nothing mounts them by itself.
    fn properties(kind: DatasetKind) -> PropertySet {
        let props = PropertySet::new().set(ReadOnly(true));
        match kind {
            DatasetKind::Filesystem => props.set(CanMount::NoAuto),
            _ => props,
        }
    }

    /// How a stream is received into the chain.
    pub(super) fn receive_options(&self, volume: bool, new: bool) -> ReceiveOptions {
        let options = ReceiveOptions::new().resumable(true);
        let kind = match volume {
            true => DatasetKind::Volume,
            false => DatasetKind::Filesystem,
        };
        match new {
            true => options.properties(&Self::chain_properties(kind)),
            false => options,
        }
    }

    /// Writes down that a snapshot is verified. From here on readers may see it.
    pub(crate) fn mark_verified(
        &self,
        snapshot: &Snapshot,
        guid: u64,
        root: &str,
    ) -> Result<(), ReplicateError> {
        self.allow()?;
        UserProps::new()
            .set(VERIFIED, &format!("{guid} {root}"))
            .and_then(|mark| snapshot.set_user(&mark))
            .map_err(zfs_error)
    }

    /// Writes down that everything newer than the newest verified snapshot is to be given up, and
    /// gives it up.
    pub(crate) fn give_up_unverified(&self) -> Result<(), ReplicateError> {
        let mut observed = self.observe()?;
        let kept = observed.verified().map(|kept| kept.guid);
        let value = kept.map_or_else(|| String::from(DISCARD_ALL), |guid| guid.to_string());
        self.allow()?;
        UserProps::new()
            .set(DISCARDING, &value)
            .and_then(|intent| self.chain.set_user(&intent))
            .map_err(zfs_error)?;
        if let Some(chain) = &mut observed.chain {
            chain.discard = Some(kept.map_or(Discard::All, Discard::NewerThan));
        }
        self.settle(&mut observed).map(drop)
    }
}
