//! Setting properties, and what may not be set.

use super::{MIB, assert_same_dataset, volume};
use crate::support::{Mounted, Scratch, noise, run};
use helix_zfs::zfs_core::nv::Value;
use helix_zfs::zfs_core::props::*;
use helix_zfs::zfs_core::{CreateOptions, Dataset, Error, ErrorKind, Result};
use std::collections::HashMap;
use std::fmt::Debug;
use std::path::Path;

/// Checks a value that was set.
fn assert_set<S: Setting + PartialEq + Debug>(properties: &Properties, setting: &S, text: &str) {
    assert_eq!(properties.value::<S>().as_ref(), Some(setting));
    assert_eq!(
        properties.source(S::PROP),
        Some(Source::Local),
        "{}",
        S::PROP
    );
    assert_eq!(
        properties.get(S::PROP).unwrap().to_string(),
        text,
        "{}",
        S::PROP
    );
}

/// Sets values together and reads them back.
macro_rules! assert_round_trip {
    ($dataset:expr; $($setting:expr => $text:literal,)*) => {
        let settings = PropertySet::new()$(.set($setting))*;
        $dataset.set_all(&settings).unwrap();
        let properties = $dataset.properties().unwrap();
        $(assert_set(&properties, &$setting, $text);)*
    };
}

#[test]
fn settings_round_trip() {
    let scratch = Scratch::new("props-set");
    assert_round_trip! { scratch;
        Quota(123 * MIB) => "128974848",
        RefQuota(99 * MIB) => "103809024",
        Reservation(2 * MIB) => "2097152",
        RefReservation(MIB) => "1048576",
        FilesystemLimit(3) => "3",
        SnapshotLimit(4) => "4",
        RecordSize::new(16 * 1024).unwrap() => "16384",
        SpecialSmallBlocks::new(4096).unwrap() => "4096",
        PrimaryCache(CacheMode::None) => "none",
        SecondaryCache(CacheMode::Metadata) => "metadata",
        ReadOnly(true) => "on",
        Atime(false) => "off",
        Relatime(true) => "on",
        Exec(false) => "off",
        Setuid(false) => "off",
        Devices(false) => "off",
        Zoned(false) => "off",
        Vscan(true) => "on",
        Nbmand(true) => "on",
        Overlay(false) => "off",
        Mountpoint::new("/srv/x y").unwrap() => "/srv/x y",
        ShareNfs::new("rw=@10.0.0.0/8").unwrap() => "rw=@10.0.0.0/8",
        ShareSmb::new("off").unwrap() => "off",
        SelinuxRootContext::new("a:b:c:d").unwrap() => "a:b:c:d",
    }
    assert_same_dataset(&scratch);
    assert_round_trip! { scratch;
        Quota::NONE => "0",
        RefQuota::NONE => "0",
        Reservation::NONE => "0",
        RefReservation::NONE => "0",
        FilesystemLimit::NONE => "18446744073709551615",
        SnapshotLimit::NONE => "18446744073709551615",
        Relatime(false) => "off",
        Exec(true) => "on",
        Mountpoint::new("legacy").unwrap() => "legacy",
    }
    let properties = scratch.properties().unwrap();
    assert_eq!((properties.quota(), properties.ref_quota()), (None, None));
    assert_eq!(
        (properties.reservation(), properties.ref_reservation()),
        (None, None)
    );
    assert_eq!(
        (properties.filesystem_limit(), properties.snapshot_limit()),
        (None, None)
    );
    assert_same_dataset(&scratch);
    scratch.set(Mountpoint::new("none").unwrap()).unwrap();
    assert_eq!(
        scratch.properties().unwrap().mountpoint().as_deref(),
        Some("none")
    );
}

/// The words of a property, and what the kernel is given for one.
type Words = (Prop, &'static [&'static str], fn(&str) -> Option<Value>);

fn value<S: Setting>(setting: S) -> Value {
    setting.to_value()
}

const WORDS: &[Words] = &[
    (
        Prop::Compression,
        &[
            "on",
            "off",
            "lzjb",
            "gzip",
            "gzip-1",
            "gzip-9",
            "zle",
            "lz4",
            "zstd",
            "zstd-1",
            "zstd-19",
            "zstd-fast",
            "zstd-fast-7",
            "zstd-fast-20",
            "zstd-fast-1000",
        ],
        |word| Compression::from_name(word).map(value),
    ),
    (
        Prop::Checksum,
        &[
            "on",
            "off",
            "fletcher2",
            "fletcher4",
            "sha256",
            "sha512",
            "skein",
            "edonr",
            "noparity",
        ],
        |word| Checksum::from_name(word).map(value),
    ),
    (
        Prop::Dedup,
        &[
            "on",
            "off",
            "verify",
            "sha256",
            "sha256,verify",
            "sha512",
            "sha512,verify",
            "skein",
            "skein,verify",
            "edonr,verify",
        ],
        |word| Dedup::from_name(word).map(value),
    ),
    (
        Prop::DnodeSize,
        &["legacy", "auto", "1k", "2k", "4k", "8k", "16k"],
        |word| DnodeSize::from_name(word).map(value),
    ),
    (
        Prop::AclInherit,
        &[
            "discard",
            "noallow",
            "restricted",
            "passthrough",
            "passthrough-x",
        ],
        |word| AclInherit::from_name(word).map(value),
    ),
    (
        Prop::AclMode,
        &["discard", "groupmask", "passthrough", "restricted"],
        |word| AclMode::from_name(word).map(value),
    ),
    (Prop::AclType, &["off", "posix"], |word| {
        AclType::from_name(word).map(value)
    }),
    (Prop::VolMode, &["default", "full", "dev", "none"], |word| {
        VolMode::from_name(word).map(value)
    }),
    (Prop::Sync, &["standard", "always", "disabled"], |word| {
        Sync::from_name(word).map(value)
    }),
    (Prop::Copies, &["1", "2", "3"], |word| {
        Copies::from_name(word).map(value)
    }),
    (Prop::CanMount, &["on", "off", "noauto"], |word| {
        CanMount::from_name(word).map(value)
    }),
    (Prop::SnapDir, &["hidden", "visible"], |word| {
        SnapDir::from_name(word).map(value)
    }),
    (Prop::SnapDev, &["hidden", "visible"], |word| {
        SnapDev::from_name(word).map(value)
    }),
    (Prop::LogBias, &["latency", "throughput"], |word| {
        LogBias::from_name(word).map(value)
    }),
    (Prop::RedundantMetadata, &["all", "most"], |word| {
        RedundantMetadata::from_name(word).map(value)
    }),
    (
        Prop::Normalization,
        &["none", "formC", "formD", "formKC", "formKD"],
        |word| Normalization::from_name(word).map(value),
    ),
    (
        Prop::CaseSensitivity,
        &["sensitive", "insensitive", "mixed"],
        |word| CaseSensitivity::from_name(word).map(value),
    ),
];

/// Many datasets, each with other words, so that the command need not be called for each word.
#[test]
fn every_word_is_what_the_command_calls_so() {
    let scratch = Scratch::new("props-words");
    let count = WORDS.iter().map(|(_, words, _)| words.len()).max().unwrap();
    let word = |words: &[&'static str], n: usize| words[n % words.len()];
    for n in 0..count {
        let mut props = PropertySet::new();
        for (prop, words, value) in WORDS {
            props = props
                .raw(prop.name(), value(word(words, n)).unwrap())
                .unwrap();
        }
        let options = CreateOptions::filesystem().properties(&props);
        scratch
            .child(&format!("n{n}"))
            .unwrap()
            .create(&options)
            .unwrap();
    }
    let names: Vec<_> = WORDS.iter().map(|(prop, ..)| prop.name()).collect();
    let command = [
        "get",
        "-Hrpo",
        "name,property,value",
        &names.join(","),
        scratch.name(),
    ];
    let list = run("zfs", &command);
    let theirs: HashMap<(&str, &str), &str> = list
        .lines()
        .map(|line| {
            let mut fields = line.split('\t');
            let mut next = || fields.next().expect("three fields");
            ((next(), next()), next())
        })
        .collect();
    for n in 0..count {
        let dataset = scratch.child(&format!("n{n}")).unwrap();
        let (properties, files) = (
            dataset.properties().unwrap(),
            dataset.file_properties().unwrap(),
        );
        for (prop, words, _) in WORDS {
            let ours = properties
                .get(*prop)
                .or_else(|| files.get(*prop))
                .unwrap()
                .to_string();
            assert_eq!(ours, word(words, n), "{prop}");
            assert_eq!(
                theirs[&(dataset.name().as_str(), prop.name())],
                ours,
                "{prop}"
            );
        }
    }
}

#[test]
fn extended_attributes() {
    // The words differ between the versions: what the kernel is told is looked at here.
    let scratch = Scratch::new("props-xattr");
    for xattr in [Xattr::Dir, Xattr::Sa, Xattr::Off] {
        scratch.set(xattr).unwrap();
        assert_set(
            &scratch.properties().unwrap(),
            &xattr,
            xattr.name().unwrap(),
        );
    }
    scratch.inherit(Prop::Xattr).unwrap();
    let default = scratch.properties().unwrap().value::<Xattr>().unwrap();
    assert_eq!(default == Xattr::Sa, has(Prop::Direct), "{default}");
    assert_same_dataset(&scratch);
}

/// Whether the module has a property that its predecessors lack.
fn has(prop: Prop) -> bool {
    Path::new("/sys/module/zfs/properties.dataset")
        .join(prop.name())
        .exists()
}

#[test]
fn properties_of_newer_versions() {
    let scratch = Scratch::new("props-new");
    if has(Prop::Direct) {
        assert_round_trip! { scratch;
            Direct::Always => "always",
            SnapDir::Disabled => "disabled",
            LongName(true) => "on",
            Prefetch::Metadata => "metadata",
            Checksum::Blake3 => "blake3",
            Dedup::Blake3Verify => "blake3,verify",
            RedundantMetadata::None => "none",
        }
        assert_same_dataset(&scratch);
        let volume = volume(&scratch);
        assert_round_trip! { volume; VolThreading(false) => "off", }
        assert_same_dataset(&volume);
    } else {
        assert_eq!(scratch.property(Prop::Direct).unwrap(), None);
        assert_eq!(scratch.properties().unwrap().source(Prop::Direct), None);
        let error = scratch.set(Direct::Always).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidProperty, "{error}");
        let error = scratch.set(Checksum::Blake3).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidProperty, "{error}");
    }
    if has(Prop::DefaultUserQuota) {
        scratch.set(DefaultUserQuota(5 * MIB)).unwrap();
        let files = scratch.file_properties().unwrap();
        assert_eq!(files.value(), Some(DefaultUserQuota(5 * MIB)));
        assert_eq!(
            scratch.property(Prop::DefaultUserQuota).unwrap(),
            Some(PropValue::Number(5 * MIB))
        );
    } else {
        let error = scratch.set(DefaultUserQuota(5 * MIB)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidProperty, "{error}");
        assert_eq!(scratch.property(Prop::DefaultUserQuota).unwrap(), None);
    }
}

#[test]
fn each_property_that_fails_is_named() {
    let scratch = Scratch::new("props-fail");
    let error = scratch
        .set_all(
            &PropertySet::new()
                .set(Atime(false))
                .set(Sync::Unknown(99))
                .set(RefReservation(1 << 60))
                .set(Compression::Lz4)
                .user("helix:a", "b")
                .unwrap()
                .raw("of_the_future", Value::Uint64(1))
                .unwrap(),
        )
        .unwrap_err();
    let mut failures: Vec<_> = error
        .failures()
        .iter()
        .map(|failure| (failure.name.as_str(), failure.kind))
        .collect();
    failures.sort_unstable_by_key(|(name, _)| *name);
    assert_eq!(
        failures,
        [
            ("of_the_future", ErrorKind::InvalidProperty),
            ("refreservation", ErrorKind::NoSpace),
            ("sync", ErrorKind::InvalidProperty),
        ],
        "{error}"
    );
    assert_eq!(error.detail(), Some("3 of 6 are set"));
    assert!(
        error.to_string().contains("refreservation: out of space"),
        "{error}"
    );
    let properties = scratch.properties().unwrap();
    assert_eq!(properties.value(), Some(Atime(false)));
    assert_eq!(properties.compression(), Some(Compression::Lz4));
    assert_eq!(properties.user("helix:a"), Some("b"));
    assert_eq!(properties.source(Prop::Sync), Some(Source::Default));
}

#[test]
fn what_the_kernel_would_write_down_for_nothing_is_refused() {
    let scratch = Scratch::new("props-refuse");
    let volume = volume(&scratch);
    let refused = |error: Error| {
        assert_eq!(error.kind(), ErrorKind::InvalidProperty, "{error}");
        assert_eq!(error.errno(), None);
    };
    refused(
        PropertySet::new()
            .raw("used", Value::Uint64(1))
            .unwrap_err(),
    );
    refused(scratch.set(Utf8Only(true)).unwrap_err());
    refused(volume.set(VolBlockSize::new(4096).unwrap()).unwrap_err());
    refused(volume.set(Quota(MIB)).unwrap_err());
    refused(volume.set(Mountpoint::new("/srv").unwrap()).unwrap_err());
    refused(scratch.set(VolSize(MIB)).unwrap_err());

    let kind = |result: Result<()>| result.unwrap_err().kind();
    // Of another type than the property has.
    let wrong = PropertySet::new()
        .raw("sync", Value::String(c"always".to_owned()))
        .unwrap();
    assert_eq!(kind(scratch.set_all(&wrong)), ErrorKind::InvalidProperty);
    let odd = VolSize(8 * MIB + 1);
    assert_eq!(kind(volume.set(odd)), ErrorKind::InvalidProperty);
    // Nothing to do is done.
    scratch.set_all(&PropertySet::new()).unwrap();
    assert_same_dataset(&volume);
}

#[test]
fn a_quota_below_what_is_in_use() {
    let scratch = Scratch::new("props-quota");
    let mounted = Mounted::new(&scratch);
    mounted.write("data", noise(4 << 20, 1));
    run("zpool", &["sync", Dataset::name(&scratch).pool()]);
    let properties = scratch.properties().unwrap();
    assert!(properties.used() >= 4 * MIB && properties.referenced() >= 4 * MIB);
    for error in [
        scratch.set(Quota(MIB)).unwrap_err(),
        scratch.set(RefQuota(MIB)).unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::NoSpace, "{error}");
        assert_eq!(error.failures().len(), 1);
    }
    scratch.set(Quota(64 * MIB)).unwrap();
    let properties = scratch.properties().unwrap();
    assert_eq!(properties.quota(), Some(64 * MIB));
    let left = properties.available().unwrap();
    assert!(left + properties.used() <= 64 * MIB + 64 * 1024, "{left}");
}

#[test]
fn limits_and_counts() {
    let scratch = Scratch::new("props-limit");
    let properties = scratch.properties().unwrap();
    // Whether there are counts before there is a limit depends on limits elsewhere in the pool.
    assert_eq!(
        (properties.filesystem_limit(), properties.snapshot_limit()),
        (None, None)
    );
    scratch
        .set_all(
            &PropertySet::new()
                .set(FilesystemLimit(2))
                .set(SnapshotLimit(1)),
        )
        .unwrap();
    scratch
        .child("a")
        .unwrap()
        .create(&CreateOptions::filesystem())
        .unwrap();
    scratch
        .snapshot("s")
        .unwrap()
        .create(&UserProps::new())
        .unwrap();
    let properties = scratch.properties().unwrap();
    assert_eq!(
        (properties.filesystem_limit(), properties.filesystem_count()),
        (Some(2), Some(1))
    );
    assert_eq!(
        (properties.snapshot_limit(), properties.snapshot_count()),
        (Some(1), Some(1))
    );
}
