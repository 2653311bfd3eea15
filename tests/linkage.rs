//! What the programs of this workspace ask the dynamic linker for, read from the ELF files.
//!
//! One program runs with every version only if it names the two libraries whose interface is the
//! same in all of them, and not libzfs, whose name changes with each.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use elf::ElfBytes;
use elf::abi::DT_NEEDED;
use elf::endian::AnyEndian;
use helix_zfs::zfs_core::{NvList, Zfs};

const WANTED: [&str; 2] = ["libzfs_core.so.3", "libnvpair.so.3"];

/// The libraries that a file needs, or `None` when it is no ELF file.
fn needed(path: &Path) -> Option<Vec<String>> {
    let bytes = fs::read(path).unwrap();
    if !bytes.starts_with(b"\x7fELF") {
        return None;
    }
    let file = ElfBytes::<AnyEndian>::minimal_parse(&bytes).unwrap();
    let (_, strings) = file.dynamic_symbol_table().unwrap()?;
    let libraries = file
        .dynamic()
        .unwrap()?
        .iter()
        .filter(|entry| entry.d_tag == DT_NEEDED)
        .map(|entry| {
            let offset = usize::try_from(entry.d_val()).unwrap();
            strings.get(offset).unwrap().to_owned()
        })
        .collect();
    Some(libraries)
}

/// This program; what cargo built with it is beside it.
fn this_program() -> PathBuf {
    std::env::current_exe().unwrap()
}

fn assert_linked_as_wanted(path: &Path) {
    let libraries = needed(path).unwrap();
    for library in WANTED {
        assert!(
            libraries.iter().any(|name| name == library),
            "{} does not need {library}: {libraries:?}",
            path.display()
        );
    }
}

#[test]
fn a_program_needs_the_two_stable_libraries() {
    // The linker leaves out a library of which nothing is used.
    let device = fs::File::options().read(true).write(true).open("/dev/zfs");
    assert_eq!(Zfs::open().is_ok(), device.is_ok());
    assert!(NvList::new().unwrap().is_empty());
    assert_linked_as_wanted(&this_program());
}

#[test]
fn the_other_programs_need_them_too() {
    let deps = this_program();
    let deps = deps.parent().unwrap();
    // An older build of a test stays behind under another hash: only the last one counts.
    let guest_tests = fs::read_dir(deps)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            path.extension().is_none() && name.starts_with("zfs-")
        })
        .max_by_key(|path| {
            let modified = fs::metadata(path).unwrap().modified();
            modified.unwrap_or(SystemTime::UNIX_EPOCH)
        });
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let built = deps.parent().unwrap().join("examples");
    let examples = fs::read_dir(sources)
        .unwrap()
        .map(|entry| built.join(entry.unwrap().path().file_stem().unwrap()));
    let helixctl = deps.parent().unwrap().join("helixctl");
    for path in guest_tests.into_iter().chain(examples).chain([helixctl]) {
        // `cargo test --test linkage` builds none of them.
        if path.exists() {
            assert_linked_as_wanted(&path);
        }
    }
}

#[test]
fn nothing_that_was_built_needs_libzfs() {
    let deps = this_program();
    let deps = deps.parent().unwrap();
    let mut read = 0;
    for dir in [deps, &deps.parent().unwrap().join("examples")] {
        let Ok(entries) = fs::read_dir(dir) else {
            continue;
        };
        for entry in entries {
            let path = entry.unwrap().path();
            let is_program = path.extension().is_none_or(|extension| extension == "so");
            let Some(libraries) = (is_program && path.is_file())
                .then(|| needed(&path))
                .flatten()
            else {
                continue;
            };
            read += 1;
            assert!(
                !libraries.iter().any(|name| name.starts_with("libzfs.so")),
                "{} needs libzfs: {libraries:?}",
                path.display()
            );
        }
    }
    // This program at least.
    assert!(read > 0);
}
