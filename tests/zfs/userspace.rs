//! Space, objects and quotas by owner.

use crate::support::{Mounted, Scratch, TENANT, as_user, noise, run, zfs};
use helix_zfs::zfs_core::props::{DefaultUserQuota, Prop, UserProps};
use helix_zfs::zfs_core::{CreateOptions, Dataset, ErrorKind, Measure, Owner, OwnerKind, Sid};
use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt, chown};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// The figures are counted as transaction groups are written.
fn settle(dataset: &Dataset) {
    run("zpool", &["sync", dataset.name().pool()]);
    run("zpool", &["sync", dataset.name().pool()]);
}

fn give(mounted: &Mounted, file: &str, len: u64, owner: u32) {
    mounted.write(file, vec![b'x'; usize::try_from(len).unwrap()]);
    chown(mounted.path(file), Some(owner), Some(owner + 1)).unwrap();
}

/// `type id` to `used quota objused objquota` as the `zfs` command lists them.
fn listed(command: &str, dataset: &Dataset) -> BTreeMap<String, [String; 4]> {
    let columns = "type,name,used,quota,objused,objquota";
    let list = run("zfs", &[command, "-Hpno", columns, dataset.name().as_str()]);
    let fields = |line: &str| {
        let [kind, name, used, quota, objects, object_quota] =
            line.split('\t').collect::<Vec<_>>()[..]
        else {
            panic!("six fields: {line:?}");
        };
        let figures = [used, quota, objects, object_quota].map(str::to_owned);
        (format!("{kind} {name}"), figures)
    };
    list.lines().map(fields).collect()
}

#[test]
fn users_and_groups_are_what_the_command_lists() {
    let scratch = Scratch::new("space");
    let mounted = Mounted::new(&scratch);
    for (n, owner) in [TENANT, TENANT, 2000, 3000].into_iter().enumerate() {
        give(&mounted, &format!("file{n}"), 256 * KIB, owner);
    }
    let tenant = Owner::User(TENANT);
    scratch.set_owner_quota(&tenant, Some(10 * MIB)).unwrap();
    scratch.set_owner_object_quota(&tenant, Some(100)).unwrap();
    scratch
        .set_owner_quota(&Owner::Group(2001), Some(20 * MIB))
        .unwrap();
    scratch
        .set_owner_object_quota(&Owner::Group(2001), Some(200))
        .unwrap();
    settle(&scratch);

    let space = scratch.owner_space(&tenant).unwrap();
    assert_eq!(
        (space.quota, space.object_quota),
        (Some(10 * MIB), Some(100))
    );
    assert_eq!(space.objects, Some(2));
    assert_eq!(
        scratch.owner_value(&tenant, Measure::Used).unwrap(),
        space.used
    );
    let nobody = scratch.owner_space(&Owner::User(9999)).unwrap();
    assert_eq!(
        (nobody.used, nobody.quota, nobody.objects),
        (0, None, Some(0))
    );

    for (command, kind) in [
        ("userspace", OwnerKind::User),
        ("groupspace", OwnerKind::Group),
    ] {
        let theirs = listed(command, &scratch);
        let used = scratch.owners(kind, Measure::Used).unwrap();
        assert!(used.len() >= 4, "{used:?}");
        for (owner, used) in used {
            let (word, id) = match &owner {
                Owner::User(id) => ("POSIX User", id),
                Owner::Group(id) => ("POSIX Group", id),
                other => panic!("{other}"),
            };
            let space = scratch.owner_space(&owner).unwrap();
            assert_eq!(space.used, used);
            let text = |limit: Option<u64>| match limit {
                Some(limit) => limit.to_string(),
                None => String::from("none"),
            };
            let ours = [
                space.used.to_string(),
                text(space.quota),
                space.objects.unwrap().to_string(),
                text(space.object_quota),
            ];
            let theirs = &theirs[&format!("{word} {id}")];
            for (ours, theirs) in ours.iter().zip(theirs) {
                // The versions write "no quota" in two ways.
                let same = ours == theirs || ours == "none" && matches!(theirs.as_str(), "0" | "-");
                assert!(same, "{owner}: {ours}, not {theirs}");
            }
        }
    }
    assert_eq!(
        scratch.owners(OwnerKind::Group, Measure::Quota).unwrap(),
        [(Owner::Group(2001), 20 * MIB)]
    );
    assert_eq!(
        scratch
            .owners(OwnerKind::User, Measure::ObjectQuota)
            .unwrap(),
        [(tenant.clone(), 100)]
    );

    // A snapshot keeps the figures.
    let snapshot = scratch.snapshot("s").unwrap();
    snapshot.create(&UserProps::new()).unwrap();
    scratch.set_owner_quota(&tenant, None).unwrap();
    scratch.set_owner_object_quota(&tenant, None).unwrap();
    std::fs::remove_file(mounted.path("file0")).unwrap();
    settle(&scratch);
    let now = scratch.owner_space(&tenant).unwrap();
    assert_eq!(
        (now.quota, now.objects, now.object_quota),
        (None, Some(1), None)
    );
    assert_eq!(snapshot.owner_space(&tenant).unwrap(), space);
    assert!(
        snapshot
            .owners(OwnerKind::User, Measure::Used)
            .unwrap()
            .contains(&(tenant, space.used))
    );
}

#[test]
fn more_owners_than_one_answer_holds() {
    // The first answer has room for some 240.
    const OWNERS: u32 = 500;
    let scratch = Scratch::new("space-many");
    // The kernel opens a filesystem that is not mounted for each call.
    let _mounted = Mounted::new(&scratch);
    for id in 0..OWNERS {
        scratch
            .set_owner_quota(&Owner::User(100_000 + id), Some(MIB + u64::from(id)))
            .unwrap();
    }
    let mut quotas = scratch.owners(OwnerKind::User, Measure::Quota).unwrap();
    quotas.sort();
    let expected: Vec<_> = (0..OWNERS)
        .map(|id| (Owner::User(100_000 + id), MIB + u64::from(id)))
        .collect();
    assert_eq!(quotas, expected);
}

#[test]
fn projects() {
    let scratch = Scratch::new("space-project");
    let project = Owner::Project(7);
    scratch.set_owner_quota(&project, Some(3 * MIB)).unwrap();
    scratch.set_owner_object_quota(&project, Some(30)).unwrap();
    assert_eq!(
        scratch.owners(OwnerKind::Project, Measure::Quota).unwrap(),
        [(project.clone(), 3 * MIB)]
    );
    let space = scratch.owner_space(&project).unwrap();
    assert_eq!(
        (space.used, space.quota, space.object_quota),
        (0, Some(3 * MIB), Some(30))
    );
    settle(&scratch);
    // What has no project is counted under the project 0.
    assert!(
        scratch
            .owner_value(&Owner::Project(0), Measure::Used)
            .unwrap()
            > 0
    );

    scratch.set_owner_quota(&project, None).unwrap();
    scratch.set_owner_object_quota(&project, None).unwrap();
    assert_eq!(
        scratch.owners(OwnerKind::Project, Measure::Quota).unwrap(),
        []
    );
    let error = scratch
        .set_owner_quota(&Owner::Project(u32::MAX), Some(MIB))
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
}

#[test]
fn security_identifiers() {
    let scratch = Scratch::new("space-sid");
    let user = Owner::UserSid(Sid::new("S-1-5-21-1-2-3", 1013).unwrap());
    let group = Owner::GroupSid(Sid::new("S-1-5-21-1-2-3", 513).unwrap());
    assert_eq!(scratch.owner_space(&user).unwrap().quota, None);
    scratch.set_owner_quota(&user, Some(MIB)).unwrap();
    scratch.set_owner_quota(&group, Some(2 * MIB)).unwrap();
    assert_eq!(scratch.owner_space(&user).unwrap().quota, Some(MIB));
    let quotas = |kind| scratch.owners(kind, Measure::Quota).unwrap();
    assert_eq!(quotas(OwnerKind::User), [(user, MIB)]);
    assert_eq!(quotas(OwnerKind::Group), [(group, 2 * MIB)]);
}

#[test]
fn a_quota_is_enforced() {
    let scratch = Scratch::new("space-full");
    let mounted = Mounted::new(&scratch);
    std::fs::set_permissions(mounted.path(""), PermissionsExt::from_mode(0o777)).unwrap();
    std::fs::set_permissions(
        mounted.path("").parent().unwrap(),
        PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    let file = mounted.path("mine");
    as_user(TENANT, || {
        std::fs::write(&file, noise(512 << 10, 1)).unwrap()
    });
    scratch
        .set_owner_quota(&Owner::User(TENANT), Some(64 * KIB))
        .unwrap();
    settle(&scratch);
    let error = as_user(TENANT, || {
        std::fs::write(mounted.path("more"), noise(512 << 10, 2))
    })
    .unwrap_err();
    assert_eq!(
        error.raw_os_error(),
        Some(rustix::io::Errno::DQUOT.raw_os_error())
    );
}

#[test]
fn default_quotas() {
    let scratch = Scratch::new("space-default");
    let has_default = scratch
        .file_properties()
        .unwrap()
        .get(Prop::DefaultUserQuota)
        .is_some();
    if !has_default {
        let error = scratch.set(DefaultUserQuota(MIB)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidProperty, "{error}");
        return;
    }
    scratch.set(DefaultUserQuota(64 * KIB)).unwrap();
    assert_eq!(
        scratch.owner_space(&Owner::User(TENANT)).unwrap().quota,
        None
    );
    assert_eq!(scratch.owners(OwnerKind::User, Measure::Quota).unwrap(), []);
}

#[test]
fn errors() {
    let scratch = Scratch::new("space-errors");
    let owner = Owner::User(TENANT);
    let kinds = |dataset: &Dataset| {
        [
            dataset.owner_space(&owner).map(drop),
            dataset.owners(OwnerKind::User, Measure::Used).map(drop),
            dataset.set_owner_quota(&owner, Some(MIB)),
        ]
        .map(|result| result.unwrap_err().kind())
    };
    let missing = scratch.child("none").unwrap();
    assert_eq!(kinds(&missing), [ErrorKind::NotFound; 3]);
    let stranger = Owner::UserSid(Sid::new("S-1-9", 1).unwrap());
    assert_eq!(
        missing.owner_space(&stranger).unwrap_err().kind(),
        ErrorKind::NotFound
    );
    let volume = scratch.child("vol").unwrap();
    volume.create(&CreateOptions::volume(8 * MIB)).unwrap();
    assert_eq!(kinds(&volume), [ErrorKind::WrongKind; 3]);

    as_user(TENANT, || {
        let ours = zfs().dataset(scratch.name()).unwrap();
        assert_eq!(ours.owner_space(&owner).unwrap().quota, None);
        let denied = [
            ours.owner_space(&Owner::User(0)).map(drop),
            ours.owners(OwnerKind::User, Measure::Used).map(drop),
            ours.set_owner_quota(&owner, Some(MIB)),
        ]
        .map(|result| result.unwrap_err().kind());
        assert_eq!(denied, [ErrorKind::PermissionDenied; 3]);
    });
}
