//! Finds libzfs_core, proves that its headers are the ones the bindings were made from, and tells
//! cargo how to link. With the feature `bindgen` it also generates the bindings.
//!
//! What dependent build scripts get (`DEP_ZFS_CORE_…`):
//! - `INCLUDE`: the header folders, joined like `PATH`; absent when only documentation is built,
//! - `LIB`: the folder of the library, only when `ZFS_CORE_LIB_DIR` or pkg-config names one,
//! - `VERSION`: the version of the library, when pkg-config knows it.
#![allow(
    clippy::print_stdout,
    reason = "standard output is how a build script talks to cargo"
)]

#[path = "build/check.rs"]
mod check;
#[path = "build/find.rs"]
mod find;
#[cfg(feature = "bindgen")]
#[path = "build/generate.rs"]
mod generate;

use std::env;
#[cfg(not(feature = "bindgen"))]
use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            // A build script that panics shows a backtrace hint and the source line in front of
            // what the reader needs.
            for line in message.lines() {
                println!("cargo::error={line}");
            }
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=build");
    println!("cargo::rerun-if-env-changed=DOCS_RS");
    if env::var_os("DOCS_RS").is_some() {
        // Nothing is linked for documentation, so it builds where ZFS is not installed.
        return Ok(());
    }

    let found = find::libzfs_core()?;
    #[cfg(feature = "bindgen")]
    let bindings = generate::bindings(&found)?;
    #[cfg(not(feature = "bindgen"))]
    let bindings = committed_bindings();
    check::headers(&found, &bindings)?;
    emit(&found)
}

#[cfg(not(feature = "bindgen"))]
fn committed_bindings() -> PathBuf {
    let path = "src/bindings.rs";
    println!("cargo::rerun-if-changed={path}");
    PathBuf::from(path)
}

fn emit(found: &find::Found) -> Result<(), String> {
    let include = env::join_paths(&found.include)
        .map_err(|error| format!("a header folder's name cannot be passed on: {error}"))?
        .into_string()
        .map_err(|name| format!("a header folder's name is not UTF-8: {name:?}"))?;
    println!("cargo::metadata=INCLUDE={include}");
    if let Some(lib) = &found.lib {
        println!("cargo::rustc-link-search=native={}", lib.display());
        println!("cargo::metadata=LIB={}", lib.display());
    }
    if let Some(version) = &found.version {
        println!("cargo::metadata=VERSION={version}");
        println!("cargo::rustc-env=ZFS_CORE_VERSION={version}");
    }
    println!("cargo::rustc-link-lib=dylib=zfs_core");
    println!("cargo::rustc-link-lib=dylib=nvpair");
    Ok(())
}
