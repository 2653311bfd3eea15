//! Where libzfs_core and its headers are: the environment's word first, then pkg-config's.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The folder that holds `libzfs/` and `libspl/`, as in `/usr/include`.
const INCLUDE_DIR: &str = "ZFS_CORE_INCLUDE_DIR";
/// The folder that holds `libzfs_core.so`, `libnvpair.so` and `libzfs.so`.
const LIB_DIR: &str = "ZFS_CORE_LIB_DIR";
/// The oldest library whose functions the bindings name.
const OLDEST: &str = "2.1";

/// What the rest of the build needs to know of the installed library.
pub(crate) struct Found {
    /// Header folders, in the order in which a compiler must search them.
    pub(crate) include: Vec<PathBuf>,
    /// The library's folder, unless the linker searches it anyway.
    pub(crate) lib: Option<PathBuf>,
    /// The library's version, unless only the environment named its place.
    pub(crate) version: Option<String>,
}

/// Finds the library, or says what to install.
pub(crate) fn libzfs_core() -> Result<Found, String> {
    for name in [INCLUDE_DIR, LIB_DIR] {
        println!("cargo::rerun-if-env-changed={name}");
    }
    let include = env::var_os(INCLUDE_DIR).map(PathBuf::from);
    let lib = env::var_os(LIB_DIR).map(PathBuf::from);
    if let Some(dir) = &lib {
        // nvpair-sys links with these two as well, and the linker's own message would not say why.
        for name in ["libzfs_core.so", "libnvpair.so", "libzfs.so"] {
            if !dir.join(name).exists() {
                return Err(format!("{LIB_DIR}={}: no {name} there", dir.display()));
            }
        }
    }
    let include = include.as_deref().map(header_folders).transpose()?;

    match (include, lib) {
        (Some(include), Some(lib)) => Ok(Found {
            include,
            lib: Some(lib),
            version: None,
        }),
        (include, lib) => {
            let packaged = packaged()?;
            Ok(Found {
                // The version is that of the library that is linked with, so it is not known
                // when another than the packaged one was named.
                version: packaged.version.filter(|_| lib.is_none()),
                include: include.unwrap_or(packaged.include),
                lib: lib.or(packaged.lib),
            })
        }
    }
}

/// The two header folders under `dir`.
fn header_folders(dir: &Path) -> Result<Vec<PathBuf>, String> {
    let folders = vec![dir.join("libzfs"), dir.join("libspl")];
    match folders.iter().find(|folder| !folder.is_dir()) {
        Some(missing) => Err(format!(
            "{INCLUDE_DIR}={}: no folder {} there",
            dir.display(),
            missing.display()
        )),
        None => Ok(folders),
    }
}

/// What pkg-config knows of the installed package.
fn packaged() -> Result<Found, String> {
    let version = pkg_config("--modversion")?;
    if !is_supported(&version) {
        return Err(not_found(&format!("the installed version is {version}")));
    }
    // Not --cflags: it fails where a library that only static linking needs has no headers, which
    // is so on Debian 13. The two folders are the same in every package.
    let include = PathBuf::from(pkg_config("--variable=includedir")?);
    let lib = pkg_config("--libs-only-L")?;
    Ok(Found {
        include: vec![include.join("libzfs"), include.join("libspl")],
        lib: lib.strip_prefix("-L").map(PathBuf::from),
        version: Some(version),
    })
}

/// One question to pkg-config about libzfs_core.
fn pkg_config(question: &str) -> Result<String, String> {
    println!("cargo::rerun-if-env-changed=PKG_CONFIG");
    println!("cargo::rerun-if-env-changed=PKG_CONFIG_PATH");
    println!("cargo::rerun-if-env-changed=PKG_CONFIG_LIBDIR");
    let program = env::var_os("PKG_CONFIG").unwrap_or_else(|| "pkg-config".into());
    let output = Command::new(&program)
        .args([question, "libzfs_core"])
        .output()
        .map_err(|error| not_found(&format!("{program:?} cannot be run: {error}")))?;
    if !output.status.success() {
        return Err(not_found(String::from_utf8_lossy(&output.stderr).trim()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Whether a version is at least [`OLDEST`].
fn is_supported(version: &str) -> bool {
    let numbers = |text: &str| -> Vec<u32> {
        text.split(['.', '-', '_'])
            .map_while(|part| part.parse().ok())
            .collect()
    };
    numbers(version) >= numbers(OLDEST)
}

/// The message of a machine that lacks the library.
fn not_found(reason: &str) -> String {
    format!(
        "libzfs_core {OLDEST} or newer was not found: {reason}
Install its development files:
  Debian         apt install libzfslinux-dev pkg-config   (component contrib)
  Ubuntu         apt install libzfslinux-dev pkg-config   (component universe)
  Fedora         dnf install 'pkgconfig(libzfs_core)' pkgconf-pkg-config   (repository of zfsonlinux.org)
  Arch           pacman -S zfs-utils pkgconf   (repository archzfs, or zfs-utils from the AUR)
  FreeBSD        pkg install openzfs pkgconf
or name the folders: {INCLUDE_DIR} (holds libzfs/ and libspl/) and {LIB_DIR} (holds libzfs_core.so).
To build only the documentation, set DOCS_RS=1: that needs no ZFS."
    )
}
