//! Compiles the C code that the benchmarks compare with, and nothing without the feature
//! `bench-baseline`: who uses the library compiles no C here.
#![allow(
    clippy::print_stdout,
    reason = "standard output is how a build script talks to cargo"
)]

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    #[cfg(feature = "bench-baseline")]
    baseline();
}

#[cfg(feature = "bench-baseline")]
fn baseline() {
    const SOURCE: &str = "benches/baseline.c";
    println!("cargo::rerun-if-changed={SOURCE}");
    // What zfs-core-sys found; nothing when only documentation is built, which links nothing.
    println!("cargo::rerun-if-env-changed=DEP_ZFS_CORE_INCLUDE");
    let Some(include) = std::env::var_os("DEP_ZFS_CORE_INCLUDE") else {
        return;
    };
    let objects = cc::Build::new()
        .file(SOURCE)
        .includes(std::env::split_paths(&include))
        .std("gnu11")
        .opt_level(2)
        .warnings(true)
        .extra_warnings(true)
        .cargo_metadata(false)
        .try_compile_intermediates();
    match objects {
        Ok(objects) => {
            for object in objects {
                println!("cargo::rustc-link-arg-benches={}", object.display());
            }
        }
        Err(error) => println!("cargo::error={SOURCE}: {error}"),
    }
}
