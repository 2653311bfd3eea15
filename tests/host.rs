//! What a machine without ZFS gets: typed errors, and nothing that aborts or prints. On a machine
//! with ZFS the same tests find it open.

use helix_zfs::zfs_core::{DatasetName, ErrorKind, Operation, PoolName, SnapshotName, Zfs};
use std::fs::OpenOptions;
use std::io;
use std::path::Path;
use std::process::Command;

/// What the machine says of the control device by itself.
fn device() -> io::Result<()> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/zfs")
        .map(drop)
}

fn expected() -> Result<(), ErrorKind> {
    device().map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => ErrorKind::PermissionDenied,
        _ => ErrorKind::ModuleMissing,
    })
}

#[test]
fn opening_is_as_the_device_is() {
    let opened = Zfs::open();
    assert_eq!(
        opened.as_ref().map(|_| ()).map_err(|error| error.kind()),
        expected()
    );
    if let Err(error) = opened {
        assert_eq!(error.operation(), Operation::Open);
        assert_eq!(error.object(), "/dev/zfs");
        let errno = error.errno().map(|errno| errno.raw());
        assert_eq!(errno, device().unwrap_err().raw_os_error());
        assert!(
            error.to_string().starts_with("cannot open ZFS /dev/zfs: "),
            "{error}"
        );
    }
}

#[test]
fn a_failure_is_not_remembered() {
    for _ in 0..3 {
        let opened = Zfs::open().map(drop).map_err(|error| error.kind());
        assert_eq!(opened, expected());
    }
}

#[test]
fn names_need_no_module() {
    assert_eq!(PoolName::new("tank").unwrap().root().as_str(), "tank");
    let acme = DatasetName::new("tank/tenants/acme").unwrap();
    assert_eq!(
        acme.snapshot("deploy-42").unwrap().as_str(),
        "tank/tenants/acme@deploy-42"
    );
    assert!(SnapshotName::new("tank/tenants/acme").is_err());
    assert!(DatasetName::new(&"a".repeat(256)).is_err());
}

/// Where libzfs_core is used without a module it aborts the process, or its libraries print. So a
/// process of its own opens ZFS, and this one looks at what is left of it.
#[test]
fn a_process_neither_aborts_nor_prints_nor_leaks() {
    const CHILD: &str = "HELIX_ZFS_TEST_CHILD";
    const TEST: &str = "a_process_neither_aborts_nor_prints_nor_leaks";
    if std::env::var_os(CHILD).is_some() {
        let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
        let before = descriptors();
        for _ in 0..1000 {
            let opened = Zfs::open().map(drop).map_err(|error| error.kind());
            assert_eq!(opened, expected());
        }
        // The library, once it is initialised, keeps a descriptor of its own.
        let kept = usize::from(expected().is_ok());
        assert_eq!(descriptors(), before + kept);
        return;
    }
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", TEST, "--nocapture", "--test-threads=1"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let stdout = String::from_utf8(child.stdout).unwrap();
    assert!(child.status.success(), "{}: {stdout}", child.status);
    assert_eq!(String::from_utf8(child.stderr).unwrap(), "");
    let of_harness = |line: &&str| {
        line.is_empty() || line.starts_with("running 1 test") || line.starts_with("test ")
    };
    assert_eq!(stdout.lines().find(|line| !of_harness(line)), None);
    assert!(stdout.contains("1 passed"), "{stdout}");
}

/// Every test that the page on security names is there.
#[test]
fn what_shows_that_it_is_secure_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/security.md")).unwrap();
    let mut named = 0;
    for cell in page
        .lines()
        .filter_map(|line| line.strip_suffix(" |")?.rsplit(" | ").next())
    {
        for part in cell.split("; ") {
            let Some((tests, place)) = part.rsplit_once(", ") else {
                continue;
            };
            for name in tests.split('`').skip(1).step_by(2) {
                named += 1;
                let sources = sources(&root.join(place)).unwrap();
                assert!(
                    sources.contains(&format!("fn {name}(")),
                    "{name} is not in {place}"
                );
            }
        }
    }
    assert!(named > 40, "only {named} tests are named");
}

/// All Rust sources of a folder, or one file.
fn sources(place: &Path) -> io::Result<String> {
    if place.is_file() {
        return std::fs::read_to_string(place);
    }
    let mut all = String::new();
    for entry in std::fs::read_dir(place)? {
        let path = entry?.path();
        if path.is_dir() || path.extension().is_some_and(|end| end == "rs") {
            all.push_str(&sources(&path)?);
        }
    }
    Ok(all)
}
