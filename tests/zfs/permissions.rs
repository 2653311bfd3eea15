//! Delegated permissions: as the command shows and sets them, and as they work for a user.

use crate::support::{Scratch, TENANT, as_user, output, run};
use helix_zfs::zfs_core::props::{Prop, Quota, UserProps};
use helix_zfs::zfs_core::{
    CreateOptions, Dataset, Delegation, ErrorKind, Grantee, Permission, Reach, Result, Zfs,
};
use std::collections::BTreeSet;

fn denied<T>(result: Result<T>) {
    let kind = result.map(|_| "allowed").map_err(|error| error.kind());
    assert_eq!(kind, Err(ErrorKind::PermissionDenied));
}

/// Each permission in a line: the dataset, the section of `zfs allow`, who, what.
type Lines = BTreeSet<String>;

fn ours(delegations: &[Delegation]) -> Lines {
    let mut lines = Lines::new();
    let section = |reach: &Reach| match reach {
        Reach::Local => "Local permissions:",
        Reach::Descendants => "Descendent permissions:",
        Reach::All => "Local+Descendent permissions:",
    };
    for delegation in delegations {
        for grant in &delegation.grants {
            let (section, who) = match &grant.grantee {
                Grantee::User(TENANT, reach) => (section(reach), "user tenant ".to_owned()),
                Grantee::Group(0, reach) => (section(reach), "group root ".to_owned()),
                Grantee::Everyone(reach) => (section(reach), "everyone ".to_owned()),
                Grantee::Creator => ("Create time permissions:", String::new()),
                Grantee::Set(name) => ("Permission sets:", format!("{name} ")),
                other => panic!("{other:?}"),
            };
            for permission in &grant.permissions {
                lines.insert(format!(
                    "{} {section} {who}{permission}",
                    delegation.dataset
                ));
            }
        }
    }
    lines
}

/// Asks the command.
fn theirs(dataset: &Dataset) -> Lines {
    let text = run("zfs", &["allow", dataset.name().as_str()]);
    let (mut of, mut section) = ("", "");
    let mut lines = Lines::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("---- Permissions on ") {
            of = rest.trim_end_matches('-').trim_end();
        } else if let Some(entry) = line.strip_prefix('\t') {
            let (who, permissions) = match entry.rsplit_once(' ') {
                Some((who, permissions)) => (format!("{who} "), permissions),
                None => (String::new(), entry),
            };
            for permission in permissions.split(',') {
                lines.insert(format!("{of} {section} {who}{permission}"));
            }
        } else {
            section = line;
        }
    }
    lines
}

#[test]
fn the_command_shows_what_we_delegate_and_the_reverse() {
    let scratch = Scratch::new("allow");
    let child = scratch.child("child").unwrap();
    child.create(&CreateOptions::filesystem()).unwrap();
    let same = |what: &str, expected: usize| {
        let delegations = child.permissions().unwrap();
        let ours = ours(&delegations);
        assert_eq!(ours, theirs(&child), "{what}");
        assert_eq!(ours.len(), expected, "{what}: {ours:#?}");
        delegations
    };
    assert!(same("nothing", 0).is_empty());
    let set = Grantee::Set(String::from("@ops"));
    let ops = Permission::new("@ops").unwrap();
    scratch
        .allow(&set, &[Permission::HOLD, Permission::RELEASE])
        .unwrap();
    let user = |reach| Grantee::User(TENANT, reach);
    scratch
        .allow(&user(Reach::All), &[ops.clone(), Permission::MOUNT])
        .unwrap();
    scratch
        .allow(&user(Reach::Local), &[Permission::SNAPSHOT])
        .unwrap();
    scratch
        .allow(
            &Grantee::Group(0, Reach::Descendants),
            &[Prop::Quota.into()],
        )
        .unwrap();
    scratch
        .allow(&Grantee::Everyone(Reach::Local), &[Permission::DIFF])
        .unwrap();
    child
        .allow(&Grantee::Creator, &[Permission::DESTROY, ops.clone()])
        .unwrap();
    let delegations = same("ours", 9);
    // From here upwards.
    let names: Vec<&str> = delegations.iter().map(|d| d.dataset.as_str()).collect();
    assert_eq!(names, [child.name().as_str(), scratch.name()]);

    let name = scratch.name();
    for arguments in [
        &["-u", "tenant", "clone,@ops"][..],
        &["-ld", "-g", "root", "send"],
        &["-e", "-d", "bookmark"],
        &["-c", "mount"],
        &["-s", "@more", "@ops,rollback"],
    ] {
        run("zfs", &[&["allow"], arguments, &[name]].concat());
    }
    same("theirs too", 15);

    // And the other way.
    run("zfs", &["unallow", "-u", "tenant", "clone", name]);
    scratch
        .unallow(&user(Reach::All), &[ops, Permission::SNAPSHOT])
        .unwrap();
    same("less", 12);
    scratch.unallow_all(&user(Reach::All)).unwrap();
    scratch.unallow_all(&user(Reach::Local)).unwrap();
    same("less of the user", 11);
    // What is not there counts as taken back.
    scratch.unallow_all(&user(Reach::All)).unwrap();
    child
        .unallow(&user(Reach::Local), &[Permission::SEND])
        .unwrap();
    for grantee in [
        Grantee::Set(String::from("@ops")),
        Grantee::Set(String::from("@more")),
        Grantee::Creator,
        Grantee::Everyone(Reach::All),
        Grantee::Group(0, Reach::All),
    ] {
        scratch.unallow_all(&grantee).unwrap();
    }
    child.unallow_all(&Grantee::Creator).unwrap();
    same("nothing any more", 0);
}

#[test]
fn what_is_delegated_works() {
    let scratch = Scratch::new("delegated");
    let parent = scratch.child("parent").unwrap();
    let child = parent.child("child").unwrap();
    parent.create(&CreateOptions::filesystem()).unwrap();
    child.create(&CreateOptions::filesystem()).unwrap();
    let tenant = |reach| Grantee::User(TENANT, reach);
    let snapshot = |dataset: &Dataset, short: &str| {
        let dataset = Zfs::open().unwrap().dataset(dataset.name().as_str());
        dataset?.snapshot(short)?.create(&UserProps::new())
    };
    // On what is below, and not here.
    parent
        .allow(&tenant(Reach::Descendants), &[Permission::SNAPSHOT])
        .unwrap();
    as_user(TENANT, || {
        denied(snapshot(&parent, "a"));
        snapshot(&child, "a").unwrap();
    });
    parent
        .unallow(&tenant(Reach::Descendants), &[Permission::SNAPSHOT])
        .unwrap();
    as_user(TENANT, || denied(snapshot(&child, "b")));
    // By a set, whose contents count when they are looked at.
    let ops = Permission::new("@ops").unwrap();
    let set = Grantee::Set(String::from("@ops"));
    parent
        .allow(&Grantee::Everyone(Reach::All), &[ops])
        .unwrap();
    as_user(TENANT, || denied(snapshot(&child, "b")));
    scratch.allow(&set, &[Permission::SNAPSHOT]).unwrap();
    as_user(TENANT, || snapshot(&child, "b").unwrap());
    // To whoever creates.
    scratch
        .allow(
            &Grantee::Creator,
            &[Permission::DESTROY, Prop::Quota.into()],
        )
        .unwrap();
    scratch
        .allow(
            &Grantee::Group(TENANT, Reach::All),
            &[Permission::CREATE, Permission::MOUNT],
        )
        .unwrap();
    as_user(TENANT, || {
        let new = parent.child("new").unwrap();
        new.create(&CreateOptions::filesystem()).unwrap();
        new.set(Quota(1 << 20)).unwrap();
        denied(child.set(Quota(1 << 20)));
        denied(child.destroy());
        new.destroy().unwrap();
    });
    // To delegate further, what one has oneself.
    scratch
        .allow(&tenant(Reach::All), &[Permission::ALLOW, Permission::HOLD])
        .unwrap();
    as_user(TENANT, || {
        let other = Grantee::User(TENANT + 1, Reach::Local);
        child.allow(&other, &[Permission::HOLD]).unwrap();
        denied(child.allow(&other, &[Permission::SEND]));
        denied(child.allow(&other, &[Permission::ALLOW]));
        denied(child.unallow(&other, &[Permission::HOLD]));
        denied(child.unallow_all(&other));
        let own = &child.permissions().unwrap()[0];
        assert_eq!(own.dataset, *child.name());
        assert_eq!(own.grants[0].grantee, other);
    });
    as_user(TENANT + 1, || {
        denied(child.allow(&tenant(Reach::Local), &[Permission::HOLD]));
    });
}

#[test]
fn what_cannot_be_delegated() {
    let scratch = Scratch::new("allow-not");
    let everyone = Grantee::Everyone(Reach::Local);
    let kind = |result: Result<()>| result.unwrap_err().kind();
    let unknown = Permission::new("of-the-future").unwrap();
    let error = scratch
        .allow(&everyone, &[Permission::SEND, unknown])
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    // A property that nobody can be allowed to set.
    assert_eq!(
        kind(scratch.allow(&everyone, &[Prop::CreateTxg.into()])),
        ErrorKind::Unsupported
    );
    assert_eq!(
        kind(scratch.allow(&everyone, &[])),
        ErrorKind::InvalidArgument
    );
    for grantee in [
        Grantee::Set(String::from("ops")),
        Grantee::Set(String::from("@a/b")),
        Grantee::Unknown(String::from("x-$")),
    ] {
        assert_eq!(
            kind(scratch.allow(&grantee, &[Permission::SEND])),
            ErrorKind::InvalidArgument
        );
        assert_eq!(
            kind(scratch.unallow_all(&grantee)),
            ErrorKind::InvalidArgument
        );
    }
    let missing = scratch.child("missing").unwrap();
    assert_eq!(
        kind(missing.allow(&everyone, &[Permission::SEND])),
        ErrorKind::NotFound
    );
    assert_eq!(
        missing.permissions().unwrap_err().kind(),
        ErrorKind::NotFound
    );
    assert!(
        scratch.permissions().unwrap().is_empty(),
        "nothing was done"
    );
    // What newer versions know is found by trying.
    for permission in [
        Permission::RECEIVE_APPEND,
        Permission::SEND_RAW,
        Permission::SEND_ENCRYPTED,
    ] {
        let command = output(
            "zfs",
            &[
                "allow",
                "-ld",
                "-u",
                "tenant",
                permission.name(),
                scratch.name(),
            ],
        );
        match scratch.allow(&everyone, std::slice::from_ref(&permission)) {
            Ok(()) => assert!(command.status.success(), "{permission}"),
            Err(error) => {
                assert_eq!(
                    error.kind(),
                    ErrorKind::Unsupported,
                    "{permission}: {error}"
                );
                assert!(!command.status.success(), "{permission}");
            }
        }
    }
}
