//! Properties: what is read is what the `zfs` command shows, and what is set takes effect.

mod reading;
mod setting;

use crate::support::{Scratch, TestPool, run};
use helix_zfs::zfs_core::props::*;
use helix_zfs::zfs_core::{CreateOptions, Dataset, ErrorKind, Snapshot};
use std::collections::HashSet;

const MIB: u64 = 1 << 20;

/// `u64::MAX`, which stands for no limit.
const UNLIMITED: &str = "18446744073709551615";

/// What differs between our properties and the lines of `zfs get all`.
///
/// Other tests use the pool too: what changes while the command runs is left out.
fn differences(
    name: &str,
    read: impl Fn() -> Properties,
    files: Option<&FileProperties>,
) -> Vec<String> {
    let ours = read();
    let theirs = run(
        "zfs",
        &["get", "-Hpo", "property,value,source", "all", name],
    );
    let later = read();
    let mut differences = Vec::new();
    let mut seen = HashSet::new();
    for line in theirs.lines() {
        let [property, value, source] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("three fields: {line:?}");
        };
        seen.insert(property.to_owned());
        let (our_value, our_source) = match Prop::from_name(property) {
            // What is mounted is not the kernel's to tell.
            Some(Prop::Mounted) => continue,
            Some(prop) if ours.get(prop) != later.get(prop) => continue,
            Some(prop) if property_of_files(prop) => (
                files
                    .and_then(|files| files.get(prop))
                    .map(|value| value.to_string()),
                None,
            ),
            Some(prop) => (
                ours.get(prop).map(|value| value.to_string()),
                ours.source(prop).map(|source| source.to_string()),
            ),
            None if property.contains(':') => (
                ours.user(property).map(str::to_owned),
                ours.source(property).map(|source| source.to_string()),
            ),
            None => panic!("this crate does not know the property {property}"),
        };
        let our_value = our_value.unwrap_or_else(|| String::from("-"));
        let alike = match (property, value) {
            // The word stands for another value in each version.
            ("xattr", "on") => our_value == "dir" || our_value == "sa",
            // Nothing is counted where no limit is.
            ("filesystem_count" | "snapshot_count", "none" | UNLIMITED) => our_value == "-",
            ("filesystem_limit" | "snapshot_limit", "none") => our_value == UNLIMITED,
            _ => our_value == value,
        };
        if !alike {
            differences.push(format!("{name} {property}: {our_value:?}, not {value:?}"));
        }
        // The command calls a count "local" when there is one.
        let counted = matches!(property, "filesystem_count" | "snapshot_count");
        if let Some(our_source) = our_source {
            if our_source != source && !counted {
                differences.push(format!("{name} {property}: {our_source:?}, not {source:?}"));
            }
        }
    }
    for &prop in Prop::ALL {
        // The salt is never shown, and no clones are no line.
        let value = ours
            .get(prop)
            .map(|value| value.to_string())
            .unwrap_or_default();
        if !value.is_empty() && !seen.contains(prop.name()) && prop != Prop::Pbkdf2Salt {
            differences.push(format!("{name} {prop}: {value:?}, which is not shown"));
        }
    }
    for property in ours.user_properties() {
        assert!(seen.contains(property.name), "{}", property.name);
    }
    differences
}

fn property_of_files(prop: Prop) -> bool {
    prop.name().starts_with("default")
        || matches!(
            prop,
            Prop::Version | Prop::Utf8Only | Prop::Normalization | Prop::CaseSensitivity
        )
}

/// Compares again while the pool settles: space moves for some transaction groups after a change.
fn assert_same(pool: &str, compare: impl Fn() -> Vec<String>) {
    let mut found = compare();
    for _ in 0..20 {
        if found.is_empty() {
            return;
        }
        run("zpool", &["sync", pool]);
        found = compare();
    }
    panic!("{}", found.join("\n"));
}

fn assert_same_dataset(dataset: &Dataset) {
    assert_same(dataset.name().pool(), || {
        let files = dataset.file_properties().ok();
        differences(
            dataset.name().as_str(),
            || dataset.properties().unwrap(),
            files.as_ref(),
        )
    });
}

fn assert_same_snapshot(snapshot: &Snapshot) {
    assert_same(snapshot.name().pool(), || {
        let files = snapshot.file_properties().ok();
        differences(
            snapshot.name().as_str(),
            || snapshot.properties().unwrap(),
            files.as_ref(),
        )
    });
}

fn volume(parent: &Dataset) -> Dataset {
    let volume = parent.child("vol").unwrap();
    volume.create(&CreateOptions::volume(8 * MIB)).unwrap();
    volume
}

#[test]
fn all_properties_are_what_the_command_shows() {
    let pool = TestPool::new("props");
    let root = pool.root();
    assert_same_dataset(&root);

    let fs = root.child("fs").unwrap();
    fs.create(&CreateOptions::filesystem()).unwrap();
    let volume = volume(&root);
    let snapshots = [fs.snapshot("s").unwrap(), volume.snapshot("s").unwrap()];
    let tagged = UserProps::new().set("helix:git_sha", "4be1f2c").unwrap();
    fs.zfs().create_snapshots(&snapshots, &tagged).unwrap();
    for dataset in [&fs, &volume] {
        assert_same_dataset(dataset);
    }
    snapshots.iter().for_each(assert_same_snapshot);

    let everything = PropertySet::new()
        .set(Quota(64 * MIB))
        .set(RefQuota(48 * MIB))
        .set(Reservation(2 * MIB))
        .set(RefReservation(MIB))
        .set(FilesystemLimit(7))
        .set(SnapshotLimit(9))
        .set(Sync::Always)
        .set(Compression::Zstd(ZstdLevel::new(5).unwrap()))
        .set(Checksum::Sha512)
        .set(Dedup::SkeinVerify)
        .set(Copies::Two)
        .set(ReadOnly(true))
        .set(Atime(false))
        .set(Relatime(true))
        .set(Devices(false))
        .set(Exec(false))
        .set(Setuid(false))
        .set(Nbmand(true))
        .set(Overlay(false))
        .set(CanMount::NoAuto)
        .set(SnapDir::Visible)
        .set(SnapDev::Visible)
        .set(AclType::Posix)
        .set(AclMode::Restricted)
        .set(AclInherit::PassthroughX)
        .set(Xattr::Sa)
        .set(PrimaryCache(CacheMode::Metadata))
        .set(SecondaryCache(CacheMode::None))
        .set(LogBias::Throughput)
        .set(RecordSize::new(MIB).unwrap())
        .set(SpecialSmallBlocks::new(64 * 1024).unwrap())
        .set(DnodeSize::Auto)
        .set(RedundantMetadata::Most)
        .set(VolMode::Dev)
        .set(Mountpoint::new("/srv/of the test").unwrap())
        .set(ShareNfs::new("rw=@10.0.0.0/8").unwrap())
        .set(SelinuxContext::new("system_u:object_r:tmp_t:s0").unwrap())
        .user("helix:tenant", "acme")
        .unwrap();
    fs.set_all(&everything).unwrap();
    let child = fs.child("child").unwrap();
    child.create(&CreateOptions::filesystem()).unwrap();
    child
        .snapshot("s")
        .unwrap()
        .create(&UserProps::new())
        .unwrap();
    let clone = root.child("clone").unwrap();
    snapshots[0]
        .clone_to(clone.name(), &PropertySet::new().set(Sync::Disabled))
        .unwrap();

    for dataset in [&root, &fs, &child, &clone] {
        assert_same_dataset(dataset);
    }
    snapshots.iter().for_each(assert_same_snapshot);
    assert_same_snapshot(&child.snapshot("s").unwrap());

    volume
        .set_all(
            &PropertySet::new()
                .set(RefReservation(4 * MIB))
                .set(VolSize(16 * MIB))
                .set(SnapshotLimit(3))
                .set(VolMode::None)
                .set(ReadOnly(true))
                .set(Compression::Gzip(GzipLevel::new(9).unwrap())),
        )
        .unwrap();
    assert_same_dataset(&volume);
    assert_eq!(volume.properties().unwrap().vol_size(), Some(16 * MIB));
    assert_eq!(snapshots[1].properties().unwrap().vol_size(), Some(8 * MIB));
}

#[test]
fn properties_of_encrypted_datasets_are_what_the_command_shows() {
    let scratch = Scratch::new("props-key");
    let root = scratch.child("root").unwrap();
    // The command stretches the passphrase faster than a test that is not optimised.
    let create = format!(
        "echo correct horse | zfs create -o encryption=aes-256-gcm -o keyformat=passphrase \
         -o keylocation=prompt -o pbkdf2iters=100000 {}",
        root.name()
    );
    run("sh", &["-ec", &create]);
    let child = root.child("child").unwrap();
    child.create(&CreateOptions::filesystem()).unwrap();

    for dataset in [&root, &child] {
        assert_same_dataset(dataset);
        let properties = dataset.properties().unwrap();
        assert_eq!(properties.encryption_root().as_ref(), Some(root.name()));
        assert_eq!(properties.pbkdf2_iters(), Some(100_000));
        assert!(properties.pbkdf2_salt().is_some());
    }
    assert_eq!(root.properties().unwrap().key_location(), Some("prompt"));
    assert_eq!(child.properties().unwrap().key_location(), None);

    root.set(KeyLocation::new("file:///root/key").unwrap())
        .unwrap();
    assert_eq!(
        root.properties().unwrap().key_location(),
        Some("file:///root/key")
    );
    let error = child
        .set(KeyLocation::new("file:///root/key").unwrap())
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidProperty, "{error}");

    let plain = scratch.properties().unwrap();
    assert_eq!(
        (plain.encryption(), plain.key_status(), plain.key_format()),
        (None, None, None)
    );
    assert_eq!(plain.encryption_root(), None);
}

#[test]
fn properties_of_files() {
    let scratch = Scratch::new("props-files");
    let fs = scratch.child("fs").unwrap();
    fs.create(
        &CreateOptions::filesystem()
            .set(Normalization::FormD)
            .set(CaseSensitivity::Insensitive)
            .set(Utf8Only(true)),
    )
    .unwrap();
    let files = fs.file_properties().unwrap();
    assert_eq!(files.normalization(), Some(Normalization::FormD));
    assert_eq!(files.case_sensitivity(), Some(CaseSensitivity::Insensitive));
    assert!(files.utf8_only());
    assert_eq!(files.version(), Some(5));
    assert_same_dataset(&fs);
    let snapshot = fs.snapshot("s").unwrap();
    snapshot.create(&UserProps::new()).unwrap();
    assert_eq!(
        snapshot.file_properties().unwrap().normalization(),
        Some(Normalization::FormD)
    );
    let value = fs.property(Prop::CaseSensitivity).unwrap().unwrap();
    assert_eq!(value.to_string(), "insensitive");

    let volume = volume(&scratch);
    assert_eq!(
        volume.file_properties().unwrap_err().kind(),
        ErrorKind::WrongKind
    );
    assert_eq!(volume.property(Prop::Utf8Only).unwrap(), None);
}
