//! A load test on a clone of production, which is gone afterwards, also when its process dies.

use std::time::{Duration, SystemTime};

use helix_zfs::ephemeral::{Ephemeral, EphemeralMount, EphemeralSpec, Reaper};
use helix_zfs::gate::Operation;
use helix_zfs::zfs_core::ErrorKind;

use crate::files::{Contents, write};
use crate::release::NAME;
use crate::stage::Stage;
use crate::story::{Bytes, Result, Story};
use crate::tenants::Fleet;

const HOUR: Duration = Duration::from_secs(3600);

pub(crate) fn run(story: &mut Story, stage: &Stage, fleet: &Fleet) -> Result {
    story.step("A load test on a clone", |story| {
        let origin = fleet.acme.tenant.dataset().snapshot(NAME)?;
        let area = stage.pool.root().child("ephemeral")?;
        let folder = stage.folder("load-test")?;
        let spec = EphemeralSpec::new(area.name(), "tour", "load test", HOUR)
            .mount(EphemeralMount::Private(folder.clone()));
        let clone = Ephemeral::create(&stage.may(Operation::CloneEphemeral)?, &origin, &spec)?;
        story.same(
            format_args!("a clone of {}", origin.name()),
            &clone.as_clone().origin,
            origin.name(),
        )?;
        let reading = clone.run(|folder| {
            let folder = folder.ok_or("it is not mounted")?;
            let contents = Contents::read(folder).map_err(|error| error.to_string())?;
            let refused = write(&folder.join("orders.db"), b"oops");
            let refused = refused.map_err(|error| error.kind());
            Ok::<_, String>((contents, refused))
        })?;
        let (contents, refused) = reading?;
        story.same(
            format_args!("it reads as acme did: SHA-256 {}", contents.checksum),
            contents.checksum,
            fleet.acme.checksum,
        )?;
        story.same(
            "it cannot be written to",
            refused,
            Err(std::io::ErrorKind::ReadOnlyFilesystem),
        )?;
        story.check(
            std::fs::read_dir(&folder)?.next().is_none(),
            "nobody sees it but the test: its mount is in a namespace of its own",
        )?;
        let used = clone.dataset().properties()?.used();
        story.check(
            used < contents.bytes / 4,
            format_args!("{} of data take {}", Bytes(contents.bytes), Bytes(used)),
        )?;
        story.refused("destroying its origin", origin.destroy(), ErrorKind::Held)?;

        story.say("The load test dies without a word.");
        let left = clone.keep();
        let plan = Reaper::new(&area).plan()?;
        story.same("an hour has to pass", plan.expired.len(), 0)?;
        let plan = Reaper::new(&area).plan_at(SystemTime::now() + 2 * HOUR)?;
        for reaped in plan.carry_out(&stage.may(Operation::Reap)?, &mut |_| {}) {
            reaped.result?;
        }
        let gone = stage.pool.zfs().dataset(left.dataset.as_str())?;
        story.same(
            "then the reaper removes the clone, and the origin stays",
            (gone.exists()?, origin.stat()?.clones),
            (false, 0),
        )?;
        Ok((
            (),
            format!("{} cloned into {}", Bytes(contents.bytes), Bytes(used)),
        ))
    })
}
