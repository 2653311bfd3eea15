use std::fmt;

use serde::Serialize;
use zfs_core::props::{CanMount, PropertySet, UserProps};
use zfs_core::{CreateOptions, DatasetName, ErrorKind, SnapshotFilter, SnapshotName};

use super::clone::promote_together;
use super::program::{self, CLONE, DESTROY, Ran};
use super::snapshot::check_foreign_clones;
use super::tree::{Member, check_limit};
use super::{CountLimit, Escape, ScopeError, TenantDataset, TenantSnapshot};
use crate::gate::{Capability, Operation};
use crate::{Step, Tenant};

/// The user property by which a staging's root is known: the snapshot that it was made from.
const STAGING: &str = "helix:staging";
/// The user property that the root has once everything is there.
const READY: &str = "helix:staging_ready";

/// A copy of what a tenant had at one moment, in clones: `staging/NAME` below the tenant's filesystem.
///
/// It has the shape of the tenant: `staging/NAME` is the clone of the tenant's own filesystem, and
/// `staging/NAME/db/wal` that of `db/wal`. It shares the tenant's key, quota and limits, takes no space
/// but for what is changed in it, and is not mounted. Stagings are not part of stagings.
///
/// This is a name, and promises nothing about existence.
#[derive(Clone, Debug)]
pub struct Staging {
    root: TenantDataset,
}

/// What a [`Staging`] is like.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct StagingStatus {
    /// The name after the `@` of the snapshot that it was made from.
    pub snapshot: String,
    /// Whether all of it was made. If not, [`Staging::create`] goes on, and [`Staging::destroy`] undoes.
    pub ready: bool,
    /// What is in it, parents first, the root included.
    pub datasets: Vec<DatasetName>,
    /// The bytes that it takes itself: what was changed in it, and its snapshots.
    pub used: u64,
}

/// A change that [`Staging::create`] makes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum StagingChange {
    /// The filesystem in which all stagings are.
    Area(DatasetName),
    /// A clone.
    Clone {
        /// The tenant's snapshot.
        origin: SnapshotName,
        /// Its clone.
        target: DatasetName,
    },
    /// All clones at once.
    CloneAll {
        /// The first one.
        root: DatasetName,
        /// How many there are.
        datasets: usize,
    },
    /// The mark that all of it is there.
    Ready(DatasetName),
}

impl fmt::Display for StagingChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Area(area) => write!(f, "create {area}"),
            Self::Clone { origin, target } => write!(f, "clone {origin} to {target}"),
            Self::CloneAll { root, datasets } => write!(f, "clone {datasets} datasets to {root}"),
            Self::Ready(root) => write!(f, "mark {root} as ready"),
        }
    }
}

/// A clone that is yet to be made.
struct Wanted {
    origin: SnapshotName,
    target: TenantDataset,
}

impl Wanted {
    fn allow(&self, capability: &Capability) -> Result<(), ScopeError> {
        let objects = [&self.origin.dataset(), self.target.name()];
        Ok(capability.allow_all(Operation::Clone, objects)?)
    }
}

impl Tenant {
    /// The name of the filesystem that the stagings are in.
    pub const STAGING: &'static str = "staging";

    /// The staging `name`. Does not call the kernel.
    ///
    /// # Errors
    ///
    /// [`Outside`](ScopeError::Outside) for what is not one component of a name.
    pub fn staging(&self, name: &str) -> Result<Staging, ScopeError> {
        if name.contains('/') && !name.starts_with('/') {
            return Err(ScopeError::Outside {
                tenant: self.dataset().name().clone(),
                name: name.to_owned(),
                escape: Escape::Invalid,
            });
        }
        let root = self.at(Self::STAGING)?.child(name)?;
        Ok(Staging { root })
    }

    /// The tenant's stagings, by name, those that are not whole included.
    ///
    /// # Errors
    ///
    /// `PoolSuspended`.
    ///
    /// # Privileges
    ///
    /// None.
    pub fn stagings(&self) -> Result<Vec<Staging>, ScopeError> {
        let area = self.at(Self::STAGING)?;
        let children = match area.dataset().children() {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            children => children?,
        };
        let mut stagings = Vec::new();
        for child in children {
            let staging = Staging {
                root: self.resolve(&child.name)?,
            };
            match staging.status() {
                Ok(_) => stagings.push(staging),
                Err(ScopeError::NoStaging { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(stagings)
    }
}

impl Staging {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.root.name().base()
    }

    /// The clone of the tenant's own filesystem, with everything else below.
    #[must_use]
    pub fn root(&self) -> &TenantDataset {
        &self.root
    }

    /// The clone of the tenant's dataset at `path`.
    ///
    /// # Errors
    ///
    /// As [`Tenant::at`].
    pub fn at(&self, path: &str) -> Result<TenantDataset, ScopeError> {
        self.root.child(path)
    }

    /// What it is like.
    ///
    /// # Errors
    ///
    /// [`NoStaging`](ScopeError::NoStaging) when it is not there, or was not made by
    /// [`create`](Self::create); as [`Tenant::datasets`].
    ///
    /// # Privileges
    ///
    /// None.
    pub fn status(&self) -> Result<StagingStatus, ScopeError> {
        let members = self.members()?;
        let root = members.first();
        let own = |name| root.and_then(|root| root.own_property(name));
        Ok(StagingStatus {
            snapshot: own(STAGING).unwrap_or_default().to_owned(),
            ready: own(READY).is_some(),
            used: root.map_or(0, |root| root.props.used()),
            datasets: members.iter().map(|member| member.name().clone()).collect(),
        })
    }

    /// All that is in it, if it is a staging.
    fn members(&self) -> Result<Vec<Member>, ScopeError> {
        let tenant = self.root.tenant();
        let members = match tenant.members(&self.root) {
            Err(ScopeError::Zfs(error)) if error.kind() == ErrorKind::NotFound => Vec::new(),
            members => members?,
        };
        match members.first() {
            Some(root) if root.own_property(STAGING).is_some() => Ok(members),
            _ => Err(ScopeError::NoStaging {
                tenant: tenant.dataset().name().clone(),
                staging: self.root.name().clone(),
            }),
        }
    }

    /// Makes it: clones of everything of `of` that is not in a staging itself, with the properties
    /// `props`. Returns the datasets, parents first.
    ///
    /// One transaction where the kernel can clone in a program (ZFS 2.4), the caller is root and there
    /// are no `props`; otherwise one clone after the other. `observe` is told before and after each
    /// change. A call that died, or failed, is finished by the same call, and undone by
    /// [`destroy`](Self::destroy). One that is whole already is returned as it is.
    ///
    /// The capability has to be for [`Clone`](Operation::Clone) of the datasets that are cloned, and of
    /// the staging. It is asked before each change: what it refuses ends the call there.
    ///
    /// # Errors
    ///
    /// | error | when |
    /// |---|---|
    /// | [`Refused`](ScopeError::Refused) | the capability does not cover it |
    /// | [`InTheWay`](ScopeError::InTheWay) | something else is there, a staging of another snapshot for example |
    /// | [`NoSnapshot`](ScopeError::NoSnapshot) | a dataset has the snapshot, and the one above it has not |
    /// | [`Outside`](ScopeError::Outside) | the snapshot is of another tenant, or a name would be too long |
    /// | [`AnotherTenant`](ScopeError::AnotherTenant) | there is another tenant within |
    /// | [`LimitReached`](ScopeError::LimitReached) | a `filesystem_limit` does not leave the room |
    ///
    /// Otherwise as [`Snapshot::clone_to`](zfs_core::Snapshot::clone_to), `KeyNotLoaded` included.
    ///
    /// # Privileges
    ///
    /// Root, or the delegated permissions `create`, `mount`, `clone`, `canmount` and `userprop` on the
    /// tenant's filesystem, and one for each property.
    ///
    /// `lzc_clone`, `zfs.sync.clone` of `zfs-program(8)`.
    pub fn create(
        &self,
        capability: &Capability,
        of: &TenantSnapshot,
        props: &PropertySet,
        observe: &mut dyn FnMut(Step<'_, StagingChange>),
    ) -> Result<Vec<TenantDataset>, ScopeError> {
        let tenant = self.root.tenant();
        let all = self.wanted(of)?;
        let members = tenant.members(&tenant.root())?;
        let find = |name: &DatasetName| members.iter().find(|member| member.name() == name);
        let mut missing = Vec::new();
        for wanted in &all {
            match find(wanted.target.name()) {
                None => missing.push(wanted),
                Some(there) if there.props.origin().as_ref() == Some(&wanted.origin) => {}
                // What was promoted has no origin any more.
                Some(_) if self.is_whole(&members, of) => {}
                Some(there) => {
                    return Err(ScopeError::InTheWay {
                        dataset: there.name().clone(),
                        origin: wanted.origin.clone(),
                    });
                }
            }
        }
        let targets = all.iter().map(|wanted| wanted.target.clone()).collect();
        if self.is_whole(&members, of) {
            return Ok(targets);
        }
        // The program that clones all at once asks no guard.
        for wanted in &missing {
            let origin = tenant.dataset().zfs().snapshot(wanted.origin.as_str())?;
            origin.check_clone_to(wanted.target.name())?;
        }
        let area = tenant.at(Tenant::STAGING)?;
        let has_area = find(area.name()).is_some();
        let mut new: Vec<&DatasetName> = missing.iter().map(|one| one.target.name()).collect();
        if !has_area {
            new.push(area.name());
        }
        check_limit(&members, CountLimit::Filesystems, &new)?;

        if !has_area {
            step(observe, &StagingChange::Area(area.name().clone()), || {
                capability.allow(Operation::Clone, area.name())?;
                let options = CreateOptions::filesystem().set(CanMount::Off);
                Ok(area.dataset().create(&options)?)
            })?;
        }
        let at_once = missing.len() == all.len() && props.is_empty();
        if at_once && self.clone_at_once(capability, &missing, of, observe)? {
            return Ok(targets);
        }
        let root = props.clone().user(STAGING, of.name())?;
        for wanted in missing {
            let props = match wanted.target.name() == self.root.name() {
                true => &root,
                false => props,
            };
            let change = StagingChange::Clone {
                origin: wanted.origin.clone(),
                target: wanted.target.name().clone(),
            };
            step(observe, &change, || {
                wanted.allow(capability)?;
                let origin = tenant.dataset().zfs().snapshot(wanted.origin.as_str())?;
                origin.clone_to(wanted.target.name(), props)?;
                Ok(())
            })?;
        }
        let ready = StagingChange::Ready(self.root.name().clone());
        step(observe, &ready, || {
            capability.allow(Operation::Clone, self.root.name())?;
            // A program that was stopped may have cloned the root and not marked it.
            let marks = UserProps::new()
                .set(STAGING, of.name())?
                .set(READY, "yes")?;
            Ok(self.root.dataset().set_user(&marks)?)
        })?;
        Ok(targets)
    }

    /// Whether it was made of this snapshot, all of it.
    fn is_whole(&self, members: &[Member], of: &TenantSnapshot) -> bool {
        members
            .iter()
            .find(|member| member.name() == self.root.name())
            .is_some_and(|root| {
                root.own_property(READY).is_some()
                    && root.own_property(STAGING) == Some(of.name())
                    && root.props.origin().is_some_and(|origin| {
                        origin.short() == of.name()
                            && origin.dataset() == *self.root.tenant().dataset().name()
                    })
            })
    }

    /// The clones that it is to have, parents first.
    fn wanted(&self, of: &TenantSnapshot) -> Result<Vec<Wanted>, ScopeError> {
        let tenant = self.root.tenant();
        let area = tenant.at(Tenant::STAGING)?;
        let mut all: Vec<Wanted> = Vec::new();
        for dataset in of.datasets() {
            // A snapshot of another tenant ends here.
            let source = tenant.resolve(dataset.name())?;
            if source.name() == area.name() || area.name().is_ancestor_of(source.name()) {
                continue;
            }
            let target = match source.path() {
                Some(path) => self.root.child(path)?,
                None => self.root.clone(),
            };
            let parent = target.name().parent();
            let has_parent = source.path().is_none()
                || all
                    .iter()
                    .any(|one| Some(one.target.name()) == parent.as_ref());
            if !has_parent {
                let above = source.name().parent();
                return Err(ScopeError::NoSnapshot {
                    tenant: above.unwrap_or_else(|| source.name().clone()),
                    snapshot: of.name().to_owned(),
                });
            }
            let origin = source.dataset().snapshot(of.name())?.name().clone();
            all.push(Wanted { origin, target });
        }
        Ok(all)
    }

    /// Whether a program made all clones, marked as ready.
    fn clone_at_once(
        &self,
        capability: &Capability,
        all: &[&Wanted],
        of: &TenantSnapshot,
        observe: &mut dyn FnMut(Step<'_, StagingChange>),
    ) -> Result<bool, ScopeError> {
        let origins: Vec<String> = all.iter().map(|one| one.origin.to_string()).collect();
        let targets: Vec<String> = all
            .iter()
            .map(|one| one.target.name().to_string())
            .collect();
        let change = StagingChange::CloneAll {
            root: self.root.name().clone(),
            datasets: all.len(),
        };
        let mut ran = Ran::Unsupported;
        step(observe, &change, || {
            all.iter().try_for_each(|one| one.allow(capability))?;
            let arguments = |program: zfs_core::program::ChannelProgram| {
                program
                    .argument("origins", origins)
                    .argument("targets", targets)
                    .argument("names", [STAGING, READY])
                    .argument("values", [of.name(), "yes"])
            };
            ran = match program::run(self.root.tenant(), CLONE, arguments) {
                // Who is not root may still clone one by one.
                Err(ScopeError::Zfs(error)) if error.kind() == ErrorKind::PermissionDenied => {
                    Ran::Unsupported
                }
                ran => ran?,
            };
            Ok(())
        })?;
        Ok(ran == Ran::Done)
    }

    /// Promotes its clones, so that they depend on nothing and the tenant's datasets become their
    /// clones: all in one transaction, or none. Returns those that were promoted.
    ///
    /// The clone of the tenant's own filesystem stays one, for it would take the tenant's key along.
    /// What is no clone of its counterpart, because it was promoted already for example, is left out.
    ///
    /// The capability has to be for [`Promote`](Operation::Promote) of these clones and their
    /// counterparts.
    ///
    /// # Errors
    ///
    /// [`NoStaging`](ScopeError::NoStaging); as [`TenantDataset::promote`].
    ///
    /// # Privileges
    ///
    /// Root.
    pub fn promote(&self, capability: &Capability) -> Result<Vec<TenantDataset>, ScopeError> {
        let tenant = self.root.tenant();
        let mut clones = Vec::new();
        for member in self.members()? {
            let (Some(origin), Some(path)) = (member.props.origin(), self.path(&member.dataset))
            else {
                continue;
            };
            if origin.dataset() == *tenant.at(path)?.name() {
                clones.push(member.dataset);
            }
        }
        promote_together(capability, tenant, &clones)?;
        Ok(clones)
    }

    /// The place of a dataset below the root.
    fn path<'d>(&self, dataset: &'d TenantDataset) -> Option<&'d str> {
        let below = dataset
            .name()
            .as_str()
            .strip_prefix(self.root.name().as_str())?;
        below.strip_prefix('/')
    }

    /// Destroys it with its snapshots, in one transaction or not at all. Returns what was destroyed.
    ///
    /// The capability has to be for [`Destroy`](Operation::Destroy) of its datasets.
    ///
    /// # Errors
    ///
    /// | error | when |
    /// |---|---|
    /// | [`Refused`](ScopeError::Refused) | the capability does not cover it |
    /// | [`NoStaging`](ScopeError::NoStaging) | it is not there, or was not made by [`create`](Self::create) |
    /// | [`HasClones`](ScopeError::HasClones) | something of the tenant depends on it: after a promotion, the tenant's datasets |
    /// | [`ForeignClones`](ScopeError::ForeignClones) | somebody else's clone depends on it |
    /// | [`AnotherTenant`](ScopeError::AnotherTenant) | there is another tenant within |
    /// | [`Changed`](ScopeError::Changed) | a dataset was made in it meanwhile |
    ///
    /// `Busy` while something in it is mounted, held, sent or received into; otherwise as
    /// [`Pool::run_program`](zfs_core::Pool::run_program).
    ///
    /// # Privileges
    ///
    /// Root.
    ///
    /// `zfs.sync.destroy` of `zfs-program(8)`.
    pub fn destroy(&self, capability: &Capability) -> Result<Vec<DatasetName>, ScopeError> {
        let tenant = self.root.tenant();
        let members = self.members()?;
        let own = self.root.name();
        for member in &members {
            let dataset = member.dataset.dataset();
            for (snapshot, props) in dataset.snapshots_with_properties(&SnapshotFilter::new())? {
                let is_other = |clone: &DatasetName| clone != own && !own.is_ancestor_of(clone);
                let clones: Vec<DatasetName> =
                    props.clones().into_iter().filter(is_other).collect();
                check_foreign_clones(tenant, &snapshot.name, &clones)?;
                if !clones.is_empty() {
                    return Err(ScopeError::HasClones {
                        snapshot: snapshot.name,
                        clones,
                    });
                }
            }
        }
        let going: Vec<DatasetName> = members
            .iter()
            .rev()
            .map(|member| member.name().clone())
            .collect();
        capability.allow_all(Operation::Destroy, &going)?;
        let datasets: Vec<String> = going.iter().map(DatasetName::to_string).collect();
        program::run(tenant, DESTROY, |program| {
            program.argument("datasets", datasets)
        })?;
        Ok(going)
    }
}

/// Makes one change, and tells of it.
fn step<T>(
    observe: &mut dyn FnMut(Step<'_, T>),
    change: &T,
    make: impl FnOnce() -> Result<(), ScopeError>,
) -> Result<(), ScopeError> {
    observe(Step::Starting(change));
    let made = make();
    observe(match made {
        Ok(()) => Step::Done(change),
        Err(_) => Step::Failed(change),
    });
    made
}
