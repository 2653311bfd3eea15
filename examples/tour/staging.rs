//! A staging copy that takes the place of production.

use helix_zfs::Tenant;
use helix_zfs::gate::Operation;
use helix_zfs::zfs_core::props::{PropertySet, Quota, UserProps};

use crate::files::{Contents, Mounted, write};
use crate::stage::Stage;
use crate::story::{Result, Story};
use crate::tenants::Fleet;

pub(crate) fn promote(story: &mut Story, stage: &Stage, fleet: &mut Fleet) -> Result {
    story.step("Staging promoted to production", |story| {
        let birch = &mut fleet.birch;
        let production = birch.tenant.dataset();
        let base = production.snapshot("staging-base")?;
        base.create(&UserProps::new())?;
        // A clone has the data of its origin, and none of the properties that were set on it.
        let policy = production.properties()?;
        let mut props = PropertySet::new().set(Quota::from(policy.quota()));
        if let Some(sync) = policy.sync() {
            props = props.set(sync);
        }
        let target = stage.tenants.child("birch-staging")?;
        let staging = base.clone_to(target.name(), &props)?;

        let mut mounted = Mounted::new(staging.name(), stage.folder("staging")?)?;
        story.same(
            "staging begins as a copy of birch",
            Contents::read(mounted.path())?.checksum,
            birch.checksum,
        )?;
        write(
            &mounted.path().join("schema-9.sql"),
            b"alter table orders ...;\n",
        )?;
        let upgraded = Contents::read(mounted.path())?.checksum;
        story.say(format_args!("It gets schema 9 (SHA-256 {upgraded})."));
        mounted.unmount()?;

        staging.promote()?;
        let moved = staging.snapshot("staging-base")?;
        story.same(
            "after the promotion, staging depends on nothing",
            staging.stat()?.origin,
            None,
        )?;
        story.same(
            format_args!("and the old production is a clone of {}", moved.name()),
            production.stat()?.origin.as_ref(),
            Some(moved.name()),
        )?;

        let guid = staging.stat()?.guid;
        birch.mounted.unmount()?;
        production.destroy()?;
        let promoted = staging.rename(production.name())?;
        promoted.set_user(&UserProps::new().set(Tenant::PROPERTY, birch.name)?)?;
        story.same("it takes the name birch", promoted.stat()?.guid, guid)?;
        let found = promoted.properties()?;
        story.same(
            "with the quota, the policy and the wrapped key of birch",
            (found.quota(), found.sync(), found.encryption_root()),
            (policy.quota(), policy.sync(), Some(promoted.name().clone())),
        )?;
        // The promotion made another dataset the encryption root, and ZFS does not take the loaded
        // key along.
        birch
            .tenant
            .unlock(&stage.may(Operation::LoadKey)?, &birch.key)?;
        story.check(birch.tenant.is_unlocked()?, "which the key of birch opens")?;
        birch.mounted.mount(promoted.name())?;
        birch.checksum = upgraded;
        story.same(
            "birch now has what was staged",
            birch.contents()?.checksum,
            upgraded,
        )?;
        Ok(((), String::from("1 clone promoted and renamed")))
    })
}
