//! A tenant that is locked: without its key there is no data.

use helix_zfs::gate::Operation;
use helix_zfs::zfs_core::ErrorKind;
use helix_zfs::zfs_core::key::{KEY_LEN, WrappingKey};

use crate::stage::Stage;
use crate::story::{Result, Story};
use crate::tenants::{Fleet, Member};

pub(crate) fn lock_and_unlock(story: &mut Story, stage: &Stage, fleet: &mut Fleet) -> Result {
    story.step("A key taken away and given back", |story| {
        let Member {
            tenant,
            key,
            mounted,
            ..
        } = &mut fleet.acme;
        let name = tenant.dataset().name();
        let load = stage.may(Operation::LoadKey)?;
        let unload = stage.may(Operation::UnloadKey)?;
        story.refused(
            "locking acme while it is mounted",
            tenant.lock(&unload),
            ErrorKind::Busy,
        )?;
        mounted.unmount()?;
        tenant.lock(&unload)?;
        story.check(
            !tenant.is_unlocked()?,
            "the key is not in the kernel any more",
        )?;
        match mounted.mount(name) {
            Ok(()) => return Err("a locked tenant could be mounted".into()),
            Err(error) => story.check(true, format_args!("the data is out of reach: {error}"))?,
        }
        let wrong = WrappingKey::raw(&[0x5a; KEY_LEN]);
        story.refused(
            "another key",
            tenant.unlock(&load, &wrong),
            ErrorKind::WrongKey,
        )?;
        story.check(!tenant.is_unlocked()?, "which leaves acme locked")?;
        tenant.unlock(&load, key)?;
        story.check(tenant.is_unlocked()?, "its own key opens it")?;
        mounted.mount(name)?;
        let contents = fleet.acme.contents()?;
        story.same(
            format_args!("SHA-256 {}: the same bytes", contents.checksum),
            contents.checksum,
            fleet.acme.checksum,
        )?;
        Ok(((), String::from("1 key unloaded and loaded")))
    })
}
