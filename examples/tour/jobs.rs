//! Nightly jobs of all tenants, which ask for a snapshot at the same moment.

use std::time::Duration;

use helix_zfs::gate::Operation;
use helix_zfs::group_commit::{GroupCommit, GroupCommitOptions};
use helix_zfs::zfs_core::ErrorKind;
use helix_zfs::zfs_core::props::UserProps;

use crate::stage::Stage;
use crate::story::{Result, Story};
use crate::tenants::Fleet;

const NAME: &str = "nightly";

pub(crate) fn ask_at_once(story: &mut Story, stage: &Stage, fleet: &Fleet) -> Result {
    story.step("Snapshots for many at once", |story| {
        let zfs = stage.pool.zfs();
        // Threads of an emulated machine start slowly.
        let options = GroupCommitOptions::new()
            .gather(Duration::from_millis(500))
            .max_wait(Duration::from_secs(2));
        let commits = GroupCommit::new(zfs, options);
        let may = stage.may(Operation::Snapshot)?;
        let mut names = Vec::new();
        for tenant in ["acme", "birch", "cedar", "nobody"] {
            names.push(stage.tenants.child(tenant)?.name().snapshot(NAME)?);
        }
        let answers: Vec<helix_zfs::Result<Option<u64>>> = std::thread::scope(|scope| {
            let asking: Vec<_> = names
                .iter()
                .map(|name| {
                    let (commits, may) = (&commits, &may);
                    scope.spawn(move || {
                        let job = name.dataset().base().to_owned();
                        let props = UserProps::new().set("helix:reason", &job)?;
                        Ok(commits.snapshot(may, name.clone(), props)?.txg)
                    })
                })
                .collect();
            let answer = |thread: std::thread::ScopedJoinHandle<'_, _>| {
                thread
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            asking.into_iter().map(answer).collect()
        });
        let mut txgs = Vec::new();
        for (name, answer) in names.iter().zip(answers) {
            match answer {
                Ok(txg) => {
                    story.say(format_args!("{name}: taken"));
                    txgs.extend(txg);
                }
                Err(error) => {
                    story.same(
                        format_args!("a bad request fails alone: {error}"),
                        error.kind(),
                        ErrorKind::NotFound,
                    )?;
                }
            }
        }
        story.same(
            "each of the tenants has its own",
            txgs.len(),
            fleet.members().len(),
        )?;
        txgs.sort_unstable();
        txgs.dedup();
        let taken = zfs.snapshots(
            names
                .iter()
                .take(fleet.members().len())
                .map(|name| name.as_str()),
        )?;
        zfs.destroy_snapshots(&taken)?;
        let figures = format!("3 snapshots in {} transaction groups", txgs.len());
        Ok(((), figures))
    })
}
