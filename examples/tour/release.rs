//! A release that goes wrong: the guard rail before it, what it destroys, and the way back.

use std::fs;
use std::path::Path;

use helix_zfs::gate::Operation;
use helix_zfs::zfs_core::{ErrorKind, Zfs};
use helix_zfs::{Change, GuardRail, RollbackOptions};

use crate::files::{random, write};
use crate::stage::Stage;
use crate::story::{Bytes, Result, Story};
use crate::tenants::Fleet;

pub(crate) const NAME: &str = "deploy-42";
const GIT_SHA: &str = "4be1f2c09a7d";
const HELM_REVISION: u64 = 17;

pub(crate) struct Release {
    guard_rail: GuardRail,
}

impl Release {
    pub(crate) fn protect(story: &mut Story, stage: &Stage, fleet: &Fleet) -> Result<Self> {
        story.step("A guard rail over all of them", |story| {
            let zfs = stage.pool.zfs();
            let change = Change::new()
                .git_sha(GIT_SHA)
                .helm_revision(HELM_REVISION)
                .reason("orders: schema 9");
            let guard_rail = GuardRail::take(
                &stage.may(Operation::TakeGuardRail)?,
                zfs,
                &fleet.members(),
                NAME,
                &change,
            )?;
            for snapshot in guard_rail.snapshots() {
                let props = snapshot.properties()?;
                let tags = (
                    props.create_txg(),
                    props.user("helix:git_sha"),
                    props.user("helix:helm_revision"),
                );
                let expected = (guard_rail.txg(), Some(GIT_SHA), Some("17"));
                let what = format!(
                    "{}: txg {}, git {GIT_SHA}, helm {HELM_REVISION}",
                    snapshot.name(),
                    tags.0
                );
                story.same(what, tags, expected)?;
            }
            let found = GuardRail::find(&stage.tenants, NAME)?;
            story.same(
                "all it takes to find it again is in ZFS",
                found.map(|found| (found.snapshots().len(), found.change().clone())),
                Some((3, change)),
            )?;
            let figures = format!("3 snapshots in txg {}", guard_rail.txg());
            Ok((Self { guard_rail }, figures))
        })
    }

    pub(crate) fn hold_while_it_runs(&self, story: &mut Story, zfs: &Zfs) -> Result {
        story.step("Held while the release runs", |story| {
            let snapshots = self.guard_rail.snapshots();
            let guard = zfs.hold_until_drop(snapshots, "helix-release")?;
            story.say("The holds end with this process, however it ends.");
            for snapshot in snapshots {
                let holds = snapshot.holds()?;
                let tags: Vec<_> = holds.iter().map(|hold| hold.tag.as_c_str()).collect();
                story.same(
                    format_args!("{} is held, by the guard rail too", snapshot.name()),
                    tags,
                    vec![c"helix-guard-rail", c"helix-release"],
                )?;
            }
            story.refused(
                "a cleanup job that would destroy them",
                zfs.destroy_snapshots(snapshots),
                ErrorKind::Held,
            )?;
            guard.release()?;
            let mut left = 0;
            for snapshot in snapshots {
                left += snapshot.holds()?.len();
            }
            story.same(
                "the release is over, and only the guard rail holds them",
                left,
                snapshots.len(),
            )?;
            Ok(((), String::from("3 holds placed and released")))
        })
    }

    pub(crate) fn migrate_and_roll_back(
        &self,
        story: &mut Story,
        stage: &Stage,
        fleet: &Fleet,
    ) -> Result {
        story.step("A migration that destroys data", |story| {
            let mut written = 0;
            for member in fleet.members() {
                migrate(member.mounted.path())?;
                stage.sync()?;
                let contents = member.contents()?;
                story.check(
                    contents.checksum != member.checksum,
                    format_args!(
                        "{}: {} files, SHA-256 {}: not what it was",
                        member.name, contents.files, contents.checksum
                    ),
                )?;
                let snapshot = member.tenant.dataset().name().snapshot(NAME)?;
                written += member.tenant.dataset().written_since(&snapshot)?.used;
            }
            story.check(
                written > 0,
                format_args!("the kernel counts {} of damage", Bytes(written)),
            )?;
            Ok(((), format!("{} overwritten", Bytes(written))))
        })?;

        story.step("The rollback", |story| {
            let plan = self.guard_rail.rollback_plan()?;
            story.same(
                format_args!(
                    "it would lose {}, no snapshot and no bookmark",
                    Bytes(plan.written())
                ),
                plan.obstacles(&RollbackOptions::new())?,
                Vec::new(),
            )?;
            story.say("They are mounted, so that each goes back on its own, under a mark on all.");
            let report = plan.carry_out(
                &stage.may(Operation::RollBack)?,
                &RollbackOptions::new(),
                &mut |_| {},
            )?;
            story.check(report.is_complete(), "all datasets are at the point")?;
            let mut bytes = 0;
            for member in fleet.members() {
                let contents = member.contents()?;
                story.same(
                    format_args!(
                        "{}: SHA-256 {}: the same bytes",
                        member.name, contents.checksum
                    ),
                    contents.checksum,
                    member.checksum,
                )?;
                bytes += contents.bytes;
            }
            Ok(((), format!("{} as before, in 3 datasets", Bytes(bytes))))
        })
    }

    pub(crate) fn retire(&self, story: &mut Story, stage: &Stage) -> Result {
        story.step("The guard rail retired", |story| {
            let found = GuardRail::find(&stage.tenants, NAME)?
                .ok_or("the guard rail is not to be found")?;
            story.same(
                "its snapshots have outlived all this",
                (found.txg(), found.snapshots().len()),
                (self.guard_rail.txg(), 3),
            )?;
            found.remove(&stage.may(Operation::RemoveGuardRail)?)?;
            story.check(
                GuardRail::list(&stage.tenants)?.is_empty(),
                "now no dataset has a guard rail",
            )?;
            Ok(((), String::from("3 snapshots destroyed")))
        })
    }
}

/// Overwrites the orders, loses the ledger and leaves something of its own.
fn migrate(folder: &Path) -> Result {
    write(&folder.join("orders.db"), &random(256 << 10)?)?;
    fs::remove_dir_all(folder.join("ledger"))?;
    write(&folder.join("schema-9.sql"), b"drop table ledger;\n")?;
    Ok(())
}
