//! What no pool is made of.

use super::{files, in_no_file, quiet};
use crate::support::{DISK_SIZE, Loop, TENANT, TestPool, as_user, output, run, unique, zfs};
use helix_zfs::zfs_core::nv::Value;
use helix_zfs::zfs_core::pool::{CreatePool, Device, ExportOptions, Layout, VdevSpec};
use helix_zfs::zfs_core::props::PropertySet;
use helix_zfs::zfs_core::{Errno, Error, ErrorKind};
use std::fs::File;
use std::os::unix::fs::{FileExt, symlink};

/// The error of creating a pool, which must not exist afterwards.
fn refused(options: &CreatePool) -> Error {
    let name = format!("hz-refused-{}-{}", std::process::id(), unique());
    let error = zfs().create_pool(&name, options).unwrap_err();
    assert_eq!(error.object(), name);
    assert!(!zfs().pool(&name).unwrap().exists().unwrap());
    error
}

#[test]
fn layouts_that_break_a_rule() {
    let of = TestPool::files("create-rules", 6);
    let all = || files(&of, 0..6);
    let link = of.dir().join("link");
    symlink(of.file(0), &link).unwrap();
    let hard = of.dir().join("hard");
    std::fs::hard_link(of.file(0), &hard).unwrap();
    let small = of.dir().join("small");
    File::create(&small)
        .unwrap()
        .set_len((64 << 20) - 1)
        .unwrap();
    let large = of.dir().join("large");
    let size = DISK_SIZE + (17 << 20);
    File::create(&large).unwrap().set_len(size).unwrap();
    let device = |n: usize| VdevSpec::device(of.file(n));
    let two = |one, other| Layout::new().vdev(one).vdev(other);

    let rules: [(&str, Layout); 18] = [
        ("not an absolute path", VdevSpec::device("disk0").into()),
        ("neither a file nor", VdevSpec::device(of.dir()).into()),
        ("neither a file nor", VdevSpec::device("/dev/null").into()),
        ("one device", VdevSpec::mirror([of.file(0), link]).into()),
        ("one device", two(device(0), VdevSpec::device(hard))),
        ("one device", Layout::from(device(0)).spare(of.file(0))),
        ("at least 2", VdevSpec::mirror([of.file(0)]).into()),
        ("between 1 and 3", VdevSpec::raidz(0, all()).into()),
        ("between 1 and 3", VdevSpec::raidz(4, all()).into()),
        ("at least 3", VdevSpec::raidz(2, files(&of, 0..2)).into()),
        ("too few", VdevSpec::draid(1, Some(3), 3, all()).into()),
        ("too few", VdevSpec::draid(1, Some(0), 0, all()).into()),
        ("at most 100", VdevSpec::draid(1, None, 101, all()).into()),
        ("between 9 and 16", Layout::from(device(0)).ashift(8)),
        (
            "between 9 and 16",
            VdevSpec::device(Device::new(of.file(0)).ashift(17)).into(),
        ),
        (
            "a device or a mirror",
            two(device(0), VdevSpec::raidz(1, files(&of, 1..3)).log()),
        ),
        ("for data", device(0).log().into()),
        ("for data", Layout::new().spare(of.file(0))),
    ];
    for (rule, layout) in rules {
        let error = refused(&quiet(layout));
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
        assert!(error.to_string().contains(rule), "{rule}: {error}");
    }

    // The command refuses these without `-f` as well.
    let mixed = [
        two(device(0), VdevSpec::mirror(files(&of, 1..3))),
        two(
            VdevSpec::mirror(files(&of, 0..2)),
            VdevSpec::mirror(files(&of, 2..5)),
        ),
        two(
            VdevSpec::raidz(1, files(&of, 0..3)),
            VdevSpec::mirror(files(&of, 3..6)).special(),
        ),
        VdevSpec::mirror([of.file(0), large]).into(),
    ];
    for layout in mixed {
        let words = layout.to_string();
        let error = refused(&quiet(layout));
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
        let mut args = vec!["create", "-n", "hz-not-made"];
        args.extend(words.split_whitespace());
        let command = output("zpool", &args);
        assert!(!command.status.success(), "{args:?}");
    }
    let mixed = two(device(0), VdevSpec::mirror(files(&of, 1..3))).allow_mixed();
    zfs().create_pool(of.name(), &quiet(mixed)).unwrap();

    let error = refused(&quiet(VdevSpec::device(small)));
    assert_eq!(error.kind(), ErrorKind::DeviceTooSmall, "{error}");
    let error = refused(&quiet(VdevSpec::device("/nonexistent/disk")));
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    assert!(error.to_string().contains("/nonexistent/disk"), "{error}");
}

#[test]
fn devices_in_use() {
    let of = TestPool::files("create-in-use", 4);
    let pool = zfs()
        .create_pool(of.name(), &quiet(VdevSpec::device(of.file(0))))
        .unwrap();
    let make = |n: usize| quiet(VdevSpec::device(of.file(n)));
    let in_use = |options: &CreatePool, words: &str| {
        let error = refused(options);
        assert_eq!(error.kind(), ErrorKind::DeviceInUse, "{error}");
        assert!(error.to_string().contains(words), "{error}");
    };
    // A device of a pool, by whatever name, and with all force.
    let part = format!("is part of the pool {}", of.name());
    in_use(&make(0), &part);
    in_use(&make(0).overwrite(), &part);
    let error = zfs().create_pool(of.name(), &make(1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    // One of an exported pool.
    pool.export(Default::default()).unwrap();
    in_use(&make(0), "is part of the exported pool");
    zfs().create_pool(of.name(), &make(0).overwrite()).unwrap();
    // One of a pool whose machine stopped.
    pool.export(ExportOptions::new().hard()).unwrap();
    in_use(&make(0), "was not exported");
    zfs().create_pool(of.name(), &make(0).overwrite()).unwrap();

    // What other software left.
    let file = File::options().write(true).open(of.file(1)).unwrap();
    for (offset, magic, words) in [
        (1080_u64, &b"\x53\xef"[..], "ext4"),
        (0, b"XFSB", "XFS"),
        (0x1_0040, b"_BHRfS_M", "Btrfs"),
        (0, b"LUKS\xba\xbe", "LUKS"),
        (512, b"EFI PART", "GPT"),
        (536, b"LVM2 001", "LVM"),
    ] {
        file.write_all_at(magic, offset).unwrap();
        in_use(&make(1), words);
        file.write_all_at(&[0; 8][..magic.len()], offset).unwrap();
    }
    let command = |program: &str, args: &[&str]| run(program, args);
    // What the kernel uses: a mounted filesystem, a swap area.
    let device = Loop::new(&of.file(2));
    command("mkswap", &[device.path()]);
    let on_device = || quiet(VdevSpec::device(device.path()));
    in_use(&on_device(), "swap");
    command("swapon", &[device.path()]);
    in_use(&on_device().overwrite(), "swapped to");
    command("swapoff", &[device.path()]);
    command("mke2fs", &[device.path()]);
    in_use(&on_device(), "ext4");
    let at = of.dir().join("mnt");
    std::fs::create_dir(&at).unwrap();
    let at = at.to_str().unwrap();
    command("mount", &["-t", "ext2", device.path(), at]);
    in_use(&on_device().overwrite(), "mounted");
    command("umount", &[at]);
    let pool = zfs()
        .create_pool(&format!("{}-b", of.name()), &on_device().overwrite())
        .unwrap();
    // The kernel holds the device: its label tells whose it is.
    in_use(&on_device().overwrite(), "is part of the pool");
    pool.destroy().unwrap();

    // A hot spare of two pools is one of both.
    let with_spare = |n: usize| quiet(Layout::from(VdevSpec::device(of.file(n))).spare(of.file(3)));
    let name = |n: usize| format!("{}-s{n}", of.name());
    let pools: Vec<_> = [1, 2]
        .iter()
        .map(|&n| {
            zfs()
                .create_pool(&name(n), &with_spare(n).overwrite())
                .unwrap()
        })
        .collect();
    in_use(&make(3).overwrite(), "is a hot spare of the pool");
    for pool in pools {
        pool.destroy().unwrap();
    }
}

#[test]
fn properties_and_privileges() {
    let of = TestPool::files("create-props", 1);
    let make = || quiet(VdevSpec::device(of.file(0)));
    let unknown = in_no_file().feature("time_travel").unwrap();
    let error = refused(&make().properties(unknown));
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    for path in ["relative", "with\0nul"] {
        let error = refused(&make().altroot(path));
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
    }
    // The root's properties are set after the pool is made, which is then no more.
    let root = PropertySet::new();
    let root = root.raw("time_travel", Value::Uint64(3)).unwrap();
    let error = refused(&make().root_properties(&root));
    assert!(
        matches!(
            error.kind(),
            ErrorKind::InvalidArgument | ErrorKind::InvalidProperty
        ),
        "{error}"
    );
    for name in ["mirror", "log", "9tank", "tank/a", "a@b", ""] {
        let error = zfs().create_pool(name, &make()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidName, "{name}: {error}");
    }

    std::os::unix::fs::chown(of.dir(), Some(TENANT), None).unwrap();
    std::os::unix::fs::chown(of.file(0), Some(TENANT), None).unwrap();
    let error = as_user(TENANT, || refused(&make()));
    assert_eq!(
        (error.kind(), error.errno()),
        (ErrorKind::PermissionDenied, Some(Errno::EPERM))
    );
    let pool = zfs().create_pool(of.name(), &make()).unwrap();
    as_user(TENANT, || {
        for refused in [pool.destroy(), pool.export(Default::default())] {
            assert_eq!(refused.unwrap_err().kind(), ErrorKind::PermissionDenied);
        }
    });
    assert!(pool.exists().unwrap());
}
