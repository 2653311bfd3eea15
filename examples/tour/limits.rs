//! A tenant that runs into its quota, and is told before.

use std::fs;
use std::io::ErrorKind;

use helix_zfs::QuotaState;

use crate::files::{random, write};
use crate::stage::Stage;
use crate::story::{Bytes, Result, Story};
use crate::tenants::Fleet;

/// Percent of the quota from which on the tenant is warned.
const THRESHOLD: u8 = 75;
/// More than the tenant may have.
const GIANT: u64 = 1 << 30;
const CHUNK: u64 = 512 << 10;
/// More chunks than the quota has room for.
const MOST_CHUNKS: u64 = 32;
/// Freeing what was deleted goes on in the background, over a few transaction groups.
const MOST_SYNCS: usize = 50;

pub(crate) fn reach_the_quota(story: &mut Story, stage: &Stage, fleet: &Fleet) -> Result {
    story.step("A quota, and the warning before it", |story| {
        let cedar = &fleet.cedar;
        match cedar.tenant.headroom()?.require(GIANT) {
            Ok(()) => return Err("a job that does not fit was let in".into()),
            Err(refused) => story.check(true, format_args!("a job is refused early: {refused}"))?,
        }
        let folder = stage.folder("cedar")?.join("uploads");
        fs::create_dir(&folder)?;
        let mut warned_at = None;
        let mut written = 0;
        let error = loop {
            if written == MOST_CHUNKS {
                return Err("the quota never stopped the tenant".into());
            }
            if let Err(error) = write(
                &folder.join(written.to_string()),
                &random(usize::try_from(CHUNK)?)?,
            ) {
                break error;
            }
            written += 1;
            stage.sync()?;
            let headroom = cedar.tenant.headroom()?;
            if warned_at.is_none() && headroom.state(THRESHOLD) >= QuotaState::Near {
                story.say(format_args!(
                    "Warning to cedar: {} % of the {} is used, {} are left.",
                    headroom.percent(),
                    headroom.limit(),
                    Bytes(headroom.available())
                ));
                story.check(
                    headroom.available() > 0,
                    "the warning came while there was room",
                )?;
                warned_at = Some(written);
            }
        };
        let Some(warned_at) = warned_at else {
            return Err(format!("no warning before: {error}").into());
        };
        story.same(
            format_args!(
                "{} later the kernel says: {error}",
                Bytes((written - warned_at) * CHUNK)
            ),
            error.kind(),
            ErrorKind::QuotaExceeded,
        )?;
        stage.sync()?;
        story.same(
            "and so does the headroom",
            cedar.tenant.headroom()?.state(THRESHOLD),
            QuotaState::Exceeded,
        )?;

        fs::remove_dir_all(&folder)?;
        for _ in 0..MOST_SYNCS {
            stage.sync()?;
            if cedar.tenant.headroom()?.state(THRESHOLD) == QuotaState::Ok {
                break;
            }
        }
        story.same(
            "the uploads are deleted, and there is room again",
            cedar.tenant.headroom()?.state(THRESHOLD),
            QuotaState::Ok,
        )?;
        let figures = format!(
            "warned after {}, stopped after {}",
            Bytes(warned_at * CHUNK),
            Bytes(written * CHUNK)
        );
        Ok(((), figures))
    })
}
