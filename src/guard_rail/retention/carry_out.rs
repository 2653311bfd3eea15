use std::collections::BTreeMap;
use std::fmt;

use serde::{Serialize, Serializer};
use zfs_core::program::ChannelProgram;
use zfs_core::{Dataset, DatasetName, Errno, ErrorKind, Result, Snapshot, SnapshotName};

use super::{RailInfo, RetentionPlan};
use crate::gate::{Capability, Operation};
use crate::guard_rail::{GuardRail, HOLD_TAG, UnfinishedRollback};
use crate::guard_rail::{hold_where_not_held, release, told};
use crate::{Error, Step};

/// How a [`RetentionPlan`] is carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetentionOptions {
    /// How many snapshots are destroyed in one transaction group. A guard rail that has more is a
    /// batch of its own.
    pub batch: usize,
}

impl RetentionOptions {
    /// 128 snapshots in one transaction group.
    #[must_use]
    pub fn new() -> Self {
        Self { batch: 128 }
    }

    /// Destroys so many snapshots in one transaction group.
    #[must_use]
    pub fn batch(mut self, snapshots: usize) -> Self {
        self.batch = snapshots;
        self
    }
}

impl Default for RetentionOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// A change that the carrying out of a [`RetentionPlan`] makes. It names guard rails.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RetentionChange {
    /// Those that stay, or stay after all, are held again where they are not.
    Hold(Vec<String>),
    /// The guard rails' own holds of those that go are released.
    Release(Vec<String>),
    /// Those that go are destroyed.
    Destroy(Vec<String>),
}

impl fmt::Display for RetentionChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hold(names) => write!(f, "hold {}", names.join(", ")),
            Self::Release(names) => write!(f, "release {}", names.join(", ")),
            Self::Destroy(names) => write!(f, "destroy {}", names.join(", ")),
        }
    }
}

/// Why a guard rail that was to go stays for now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Spared {
    /// Somebody else holds one of its snapshots.
    Held {
        /// The snapshot.
        #[serde(serialize_with = "text")]
        snapshot: SnapshotName,
        /// The holds' tags.
        tags: Vec<String>,
    },
    /// One of its snapshots has clones.
    Cloned(#[serde(serialize_with = "text")] SnapshotName),
    /// One of its snapshots is being sent, or is mounted.
    InUse(#[serde(serialize_with = "text")] SnapshotName),
    /// A dataset is being rolled back to it.
    RollingBack(#[serde(serialize_with = "text")] DatasetName),
    /// One of its snapshots is not the one that it was.
    Changed(#[serde(serialize_with = "text")] SnapshotName),
    /// The kernel refused to destroy one of its snapshots, for a reason that is none of the others.
    Refused {
        /// The snapshot.
        #[serde(serialize_with = "text")]
        snapshot: SnapshotName,
        /// What the kernel said.
        #[serde(serialize_with = "text")]
        errno: Errno,
    },
}

impl fmt::Display for Spared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Held { snapshot, tags } => write!(f, "{snapshot} is held: {}", tags.join(", ")),
            Self::Cloned(snapshot) => write!(f, "{snapshot} has clones"),
            Self::InUse(snapshot) => write!(f, "{snapshot} is being sent or mounted"),
            Self::RollingBack(dataset) => write!(f, "{dataset} is being rolled back to it"),
            Self::Changed(snapshot) => write!(f, "{snapshot} is another one now"),
            Self::Refused { snapshot, errno } => write!(f, "{snapshot}: {errno}"),
        }
    }
}

fn text<T: fmt::Display, S: Serializer>(
    value: &T,
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// What became of the guard rails that were to go.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct RetentionReport {
    /// Those that are gone, those that somebody else removed meanwhile among them.
    pub removed: Vec<RailInfo>,
    /// Those that stay for now, with the reason. They are held as before.
    pub spared: Vec<(RailInfo, Spared)>,
    /// What ended the run before its end, a refusal of the capability among them. What is in neither of the other lists is as it was, but
    /// for a hold that the next run puts back.
    pub stopped: Option<Error>,
}

impl RetentionReport {
    /// Whether all are gone that were to go.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.spared.is_empty() && self.stopped.is_none()
    }
}

/// Destroys the snapshots of each guard rail, all or none of them, and answers with a text for each:
/// an empty one, or a snapshot's name and what is the matter with it.
const REMOVE: &str = "
local answers = {}
for key, rail in pairs((...).rails) do
    local names, problem = {}, ''
    for _, name in ipairs(rail.snapshots) do
        if zfs.exists(name) then
            if zfs.get_prop(name, 'createtxg') ~= rail.txg then
                problem = 'changed ' .. name
                break
            end
            local errno = zfs.check.destroy(name)
            if errno ~= 0 then
                problem = errno .. ' ' .. name
                break
            end
            names[#names + 1] = name
        end
    end
    if problem == '' then
        for _, name in ipairs(names) do
            local errno = zfs.sync.destroy(name)
            if errno ~= 0 then
                problem = errno .. ' ' .. name
                break
            end
        end
    end
    answers[key] = problem
end
return answers";

#[derive(Serialize)]
struct Arguments<'a> {
    rails: Vec<Going<'a>>,
}

#[derive(Serialize)]
struct Going<'a> {
    txg: u64,
    snapshots: Vec<&'a str>,
}

impl RetentionPlan {
    /// Removes the guard rails of `parent` and the datasets below it that the plan says go, in
    /// batches, oldest first.
    ///
    /// The snapshots of a guard rail go in one transaction group, all or none. It stays, and is held as
    /// before, while somebody else holds one of them, one has clones, is being sent or is mounted, or
    /// a rollback to it is not finished. A guard rail that the plan keeps and that has lost its own
    /// hold gets it back.
    ///
    /// A run that was interrupted is finished by the next one: a guard rail is there with all its
    /// snapshots until it is gone, and at worst without its hold.
    ///
    /// `parent` must have all datasets of the guard rails below it, as it had when the plan was made:
    /// of a guard rail that has others too, those stay.
    ///
    /// The capability has to be for [`Retain`](Operation::Retain) of the guard rails' datasets. It is
    /// asked before each change: what it refuses ends the run there.
    ///
    /// # Errors
    ///
    /// `NotFound` when `parent` does not exist; `PoolSuspended`; with nothing changed. Later errors
    /// are in the [report](RetentionReport::stopped), those of [`Zfs::hold`](zfs_core::Zfs::hold),
    /// [`Zfs::release`](zfs_core::Zfs::release) and
    /// [`Pool::run_program`](zfs_core::Pool::run_program).
    ///
    /// # Privileges
    ///
    /// Root.
    ///
    /// `lzc_release`, `lzc_hold`; `zfs.sync.destroy` of `zfs-program(8)`.
    pub fn carry_out(
        &self,
        capability: &Capability,
        parent: &Dataset,
        options: &RetentionOptions,
        observe: &mut dyn FnMut(Step<'_, RetentionChange>),
    ) -> Result<RetentionReport> {
        let rails = GuardRail::list(parent)?;
        let rolling_back = UnfinishedRollback::list(parent)?;
        let mut report = RetentionReport::default();
        let find = |info: &RailInfo| {
            let same = |rail: &&GuardRail| rail.txg() == info.txg && rail.name() == info.name;
            rails.iter().find(same)
        };
        let kept = self.keep.iter().filter_map(|kept| find(&kept.rail));
        if let Err(error) = hold(Some(capability), &kept.collect::<Vec<_>>(), observe) {
            report.stopped = Some(error);
            return Ok(report);
        }
        let mut batch = Batch::default();
        for info in &self.remove {
            let Some(rail) = find(info) else {
                report.removed.push(info.clone());
                continue;
            };
            let size = rail.snapshots().len();
            if !batch.rails.is_empty() && batch.snapshots + size > options.batch {
                let full = std::mem::take(&mut batch);
                if let Err(error) = full.remove(capability, parent, &mut report, observe) {
                    report.stopped = Some(error);
                    return Ok(report);
                }
            }
            match obstacle(rail, &rolling_back) {
                Ok(None) => {
                    batch.snapshots += size;
                    batch.rails.push((info, rail));
                }
                Ok(Some(spared)) => report.spared.push((info.clone(), spared)),
                Err(error) => {
                    report.stopped = Some(error.into());
                    return Ok(report);
                }
            }
        }
        let removed = batch.remove(capability, parent, &mut report, observe);
        report.stopped = removed.err();
        Ok(report)
    }
}

/// What is against the removal of a guard rail, as far as it can be seen while it is held.
fn obstacle(rail: &GuardRail, rolling_back: &[UnfinishedRollback]) -> Result<Option<Spared>> {
    for snapshot in rail.snapshots() {
        let dataset = snapshot.name().dataset();
        let is_back = |back: &UnfinishedRollback| {
            back.point() == rail.name() && back.datasets().contains(&dataset)
        };
        if rolling_back.iter().any(is_back) {
            return Ok(Some(Spared::RollingBack(dataset)));
        }
        let name = snapshot.name().clone();
        match snapshot.stat() {
            Ok(entry) if entry.create_txg != rail.txg() => {
                return Ok(Some(Spared::Changed(name)));
            }
            Ok(entry) if entry.clones > 0 => return Ok(Some(Spared::Cloned(name))),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        }
        let tags = others(snapshot)?;
        if !tags.is_empty() {
            return Ok(Some(Spared::Held {
                snapshot: name,
                tags,
            }));
        }
    }
    Ok(None)
}

/// The tags of holds that are not a guard rail's.
fn others(snapshot: &Snapshot) -> Result<Vec<String>> {
    let holds = match snapshot.holds() {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        holds => holds?,
    };
    let tags = holds.iter().map(|hold| hold.tag.to_string_lossy());
    Ok(tags
        .filter(|tag| tag != HOLD_TAG)
        .map(|tag| tag.into_owned())
        .collect())
}

/// Holds what is not held of these guard rails. Who puts back the holds that were released here needs
/// no capability for it.
fn hold(
    capability: Option<&Capability>,
    rails: &[&GuardRail],
    observe: &mut dyn FnMut(Step<'_, RetentionChange>),
) -> crate::Result<()> {
    let mut missing: BTreeMap<&str, Vec<Snapshot>> = BTreeMap::new();
    for rail in rails {
        for snapshot in rail.snapshots() {
            let ours = |hold: &zfs_core::Hold| hold.tag.as_bytes() == HOLD_TAG.as_bytes();
            match snapshot.holds() {
                Ok(holds) if holds.iter().any(ours) => {}
                Ok(_) => missing
                    .entry(rail.name())
                    .or_default()
                    .push(snapshot.clone()),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    let Some(zfs) = rails.first().map(|rail| &rail.zfs) else {
        return Ok(());
    };
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing.keys().map(|name| (*name).to_owned()).collect();
    let snapshots: Vec<Snapshot> = missing.into_values().flatten().collect();
    told(observe, &RetentionChange::Hold(names), || {
        if let Some(capability) = capability {
            allow(capability, &snapshots)?;
        }
        Ok(hold_where_not_held(zfs, &snapshots)?)
    })
}

fn allow<S: AsRef<SnapshotName>>(capability: &Capability, snapshots: &[S]) -> crate::Result<()> {
    let datasets: Vec<DatasetName> = snapshots.iter().map(|s| s.as_ref().dataset()).collect();
    Ok(capability.allow_all(Operation::Retain, &datasets)?)
}

/// Guard rails that go together.
#[derive(Default)]
struct Batch<'a> {
    rails: Vec<(&'a RailInfo, &'a GuardRail)>,
    snapshots: usize,
}

impl Batch<'_> {
    fn remove(
        self,
        capability: &Capability,
        parent: &Dataset,
        report: &mut RetentionReport,
        observe: &mut dyn FnMut(Step<'_, RetentionChange>),
    ) -> crate::Result<()> {
        if self.rails.is_empty() {
            return Ok(());
        }
        let zfs = parent.zfs();
        let rails: Vec<&GuardRail> = self.rails.iter().map(|(_, rail)| *rail).collect();
        let names = || rails.iter().map(|rail| rail.name().to_owned()).collect();
        let snapshots: Vec<&Snapshot> = rails.iter().flat_map(|rail| rail.snapshots()).collect();
        told(observe, &RetentionChange::Release(names()), || {
            allow(capability, &snapshots)?;
            Ok::<_, Error>(release(zfs, &snapshots)?)
        })?;
        let program = ChannelProgram::new(REMOVE).arguments(&Arguments {
            rails: rails.iter().map(|rail| going(rail)).collect(),
        })?;
        let destroy = RetentionChange::Destroy(names());
        let answers = told(observe, &destroy, || {
            allow(capability, &snapshots)?;
            let pool = zfs.pool(parent.name().pool())?;
            Ok::<_, Error>(pool.run_program(&program)?.get::<Vec<String>>()?)
        });
        let answers = match answers {
            Ok(answers) => answers,
            Err(error) => {
                // What is not destroyed must not be left without its hold. That this fails too is
                // not worth more than what it failed of.
                let _ = hold(None, &rails, observe);
                return Err(error);
            }
        };
        let mut staying = Vec::new();
        for ((info, rail), answer) in self.rails.iter().zip(answers) {
            match answer.split_once(' ') {
                None => report.removed.push((*info).clone()),
                Some((problem, name)) => {
                    staying.push((*info, *rail, problem.to_owned(), name.to_owned()));
                }
            }
        }
        let rails: Vec<&GuardRail> = staying.iter().map(|(_, rail, _, _)| *rail).collect();
        hold(None, &rails, observe)?;
        for (info, _, problem, name) in staying {
            report
                .spared
                .push((info.clone(), spared(zfs, &problem, &name)?));
        }
        Ok(())
    }
}

fn going(rail: &GuardRail) -> Going<'_> {
    let names = rail
        .snapshots()
        .iter()
        .map(|snapshot| snapshot.name().as_str());
    Going {
        txg: rail.txg(),
        snapshots: names.collect(),
    }
}

/// What the program's answer means.
fn spared(zfs: &zfs_core::Zfs, problem: &str, name: &str) -> Result<Spared> {
    let snapshot = zfs.snapshot(name)?;
    let name = snapshot.name().clone();
    let Ok(errno) = problem.parse().map(Errno::from_raw) else {
        return Ok(Spared::Changed(name));
    };
    Ok(match errno {
        Errno::EEXIST => Spared::Cloned(name),
        Errno::EBUSY => match others(&snapshot)? {
            tags if tags.is_empty() => Spared::InUse(name),
            tags => Spared::Held {
                snapshot: name,
                tags,
            },
        },
        errno => Spared::Refused {
            snapshot: name,
            errno,
        },
    })
}
