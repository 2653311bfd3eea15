//! Whether the installed headers are what the bindings were made for. The C compiler decides: it is
//! the only one that reads headers as a C program would.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use crate::find::Found;

/// The hand-written checks.
const CHECKS: &[&str] = &["abi/functions.c", "abi/nvpair.c"];

/// The constants of the newer ones, a module for each.
const NEWER: &str = "src/newer.rs";
/// The modules of [`NEWER`], and a macro that tells whether the headers are that new.
const MODULES: &[(&str, &str)] = &[
    ("since_2_2", "ZPOOL_VDEV_PROPS_GET_VDEV"),
    ("since_2_3", "ZPOOL_PREFETCH_TYPE"),
    ("since_2_4", "ZFS_REWRITE_PHYSICAL"),
];

/// Compiles every check of `bindings` against the headers that were found, and keeps nothing.
pub(crate) fn headers(found: &Found, bindings: &Path) -> Result<(), String> {
    println!("cargo::rerun-if-changed=abi");
    println!("cargo::rerun-if-changed={NEWER}");
    for dir in &found.include {
        // An upgrade keeps the files' times and changes the folders'.
        println!("cargo::rerun-if-changed={}", dir.display());
    }
    let out = env::var_os("OUT_DIR").ok_or("cargo set no OUT_DIR")?;
    let constants = Path::new(&out).join("constants.c");
    fs::write(&constants, constant_checks(bindings)?)
        .map_err(|error| format!("writing {}: {error}", constants.display()))?;

    let mut sources: Vec<PathBuf> = CHECKS.iter().map(PathBuf::from).collect();
    sources.push(constants);
    for source in &sources {
        compile(source, found)?;
    }
    Ok(())
}

/// C that asserts every constant of the bindings.
fn constant_checks(bindings: &Path) -> Result<String, String> {
    let mut c = String::from("#include <libzfs_core.h>\n#include <sys/dsl_crypt.h>\n");
    c.push_str(&assertions(&read(bindings)?));
    let newer = read(NEWER.as_ref())?;
    for (module, guard) in MODULES {
        let section = newer
            .split_once(&format!("pub mod {module} {{"))
            .and_then(|(_, rest)| rest.split_once("\n}"))
            .ok_or(format!("{NEWER}: no module {module}"))?
            .0;
        c.push_str(&format!("#ifdef {guard}\n{}#endif\n", assertions(section)));
    }
    Ok(c)
}

fn read(file: &Path) -> Result<String, String> {
    fs::read_to_string(file).map_err(|error| format!("reading {}: {error}", file.display()))
}

/// One assertion for each `pub const NAME: TYPE = VALUE;`.
fn assertions(rust: &str) -> String {
    let mut c = String::new();
    for item in rust.split("pub const ").skip(1) {
        let Some((declaration, value)) = item.split_once(';').and_then(|(i, _)| i.split_once('='))
        else {
            continue;
        };
        let name = declaration.split(':').next().unwrap_or_default().trim();
        let value = value.trim();
        let same = match value.strip_prefix('c') {
            // A string: comparing pointers to literals would compare nothing.
            Some(string) => format!("__builtin_strcmp({name}, {string}) == 0"),
            None => format!("(long long)({name}) == ({value})"),
        };
        c.push_str(&format!(
            "_Static_assert({same}, \"{name} has another value than the bindings\");\n"
        ));
    }
    c
}

/// Has the C compiler check one file.
fn compile(source: &Path, found: &Found) -> Result<(), String> {
    let compiler = cc::Build::new()
        .cargo_metadata(false)
        .try_get_compiler()
        .map_err(|error| no_compiler(&error.to_string()))?;
    let mut command = compiler.to_command();
    command.args(["-std=gnu11", "-fsyntax-only", "-D_GNU_SOURCE"]);
    for dir in &found.include {
        // The headers' own warnings are not for our users.
        command.arg("-isystem").arg(dir);
    }
    command.arg(source);
    let output = command
        .output()
        .map_err(|error| no_compiler(&format!("{:?}: {error}", compiler.path())))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!(
        "the installed headers of ZFS are not those that zfs-core-sys was made for ({}):\n{}",
        source.display(),
        String::from_utf8_lossy(&output.stderr)
    ))
}

/// The message of a machine that lacks a compiler.
fn no_compiler(reason: &str) -> String {
    format!(
        "a C compiler is needed to check the headers of ZFS, and none could be run: {reason}\n\
         Install gcc (Debian, Ubuntu, Fedora, Arch) or clang (in FreeBSD's base system), or name \
         one in CC."
    )
}
