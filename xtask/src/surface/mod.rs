//! `cargo xtask surface`: zfs-core/src/functions.md, the table of what stands for each function of
//! libzfs_core, made from the headers of every version, the sources of zfs-core and the tests.

mod rust;
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use anyhow::{Context, Result, bail};

use crate::{abi, guest, host};

const COMMITTED: &str = "zfs-core/src/functions.md";
const WEAK: &str = "zfs-core-sys/src/weak.rs";

/// Functions that have no method, and why.
const WITHOUT_METHOD: [(&str, &str); 3] = [
    (
        "libzfs_core_fini",
        "never called: from 2.2 on, functions abort the process after one call too many",
    ),
    (
        "lzc_ioctl_fd",
        "each request that libzfs_core has no function for is sent to `/dev/zfs` by this crate itself",
    ),
    (
        "lzc_send_progress",
        "declared in the header, and defined in no version",
    ),
];

/// Writes the table, or with `check` only says whether the committed one is right.
pub(crate) fn run(check: bool) -> Result<()> {
    host::install_packages()?;
    let table = table()?;
    let path = abi::workspace().join(COMMITTED);
    // A missing file is one that differs.
    let committed = fs::read_to_string(&path).unwrap_or_default();
    let rows = table.lines().filter(|line| line.starts_with("| `")).count();
    if committed == table {
        println!("surface: all {rows} functions of libzfs_core have a row");
        return Ok(());
    }
    if check {
        bail!("{COMMITTED} is not what the sources give. To renew it: cargo xtask surface");
    }
    fs::write(&path, table).with_context(|| format!("cannot write {}", path.display()))?;
    println!("surface: wrote {rows} functions to {COMMITTED}");
    Ok(())
}

fn table() -> Result<String> {
    let functions = functions()?;
    let methods = rust::methods(&abi::workspace().join("zfs-core/src"))?;
    let mut covered: BTreeMap<&str, &str> = BTreeMap::new();
    for (function, test) in tests::COVERED {
        if covered.insert(function, test).is_some() {
            bail!("{function} is in the table of tests twice");
        }
    }
    let mut problems = Vec::new();
    let mut text = String::from(HEAD);
    for (function, since) in &functions {
        if let Some((_, why)) = WITHOUT_METHOD.iter().find(|(name, _)| name == function) {
            text.push_str(&format!("| `{function}` | {since} | none: {why} | |\n"));
            continue;
        }
        let Some(methods) = methods.get(function) else {
            problems.push(format!("{function}: no method has it as an alias"));
            continue;
        };
        let Some(test) = covered.remove(function.as_str()) else {
            problems.push(format!("{function}: no test is named for it"));
            continue;
        };
        if let Err(error) = rust::check_test(&abi::workspace().join("tests/zfs"), test, methods) {
            problems.push(format!("{function}: {error:#}"));
        }
        let methods: Vec<String> = methods.iter().map(rust::Method::link).collect();
        let methods = methods.join(", ");
        text.push_str(&format!(
            "| `{function}` | {since} | {methods} | `{test}` |\n"
        ));
    }
    problems.extend(
        covered
            .keys()
            .map(|name| format!("{name}: has a test, and is no function")),
    );
    if !problems.is_empty() {
        bail!("the surface is not complete:\n  {}", problems.join("\n  "));
    }
    Ok(text)
}

const HEAD: &str = "\
Each function of libzfs_core, and what this crate has for it.

Made by `cargo xtask surface` from the headers of OpenZFS 2.1, 2.3 and 2.4, the sources of this
crate and those of the tests on real ZFS, which are named as `cargo xtask test` takes them. Where a
method uses a request of its own rather than the C function, its documentation says why.

| function | since | method | test |
|---|---|---|---|
";

/// The functions that any version's header declares, and the version that brought each.
fn functions() -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    let weak = fs::read_to_string(abi::workspace().join(WEAK)).context(WEAK)?;
    for version in guest::Version::ALL {
        let guest = guest::ensure(version, guest::Check::Quick)?;
        let header = guest.headers().join("libzfs/libzfs_core.h");
        let text = fs::read_to_string(&header)
            .with_context(|| format!("cannot read {}", header.display()))?;
        for function in declared(&text) {
            // Between two supported versions there may be others.
            let since = || {
                since_in(&weak, &function)
                    .unwrap_or(version.name())
                    .to_owned()
            };
            found.entry(function.clone()).or_insert_with(since);
        }
    }
    Ok(found)
}

/// What the bindings of newer functions say of one.
fn since_in<'w>(weak: &'w str, function: &str) -> Option<&'w str> {
    let (before, _) = weak.split_once(&format!("    {function} = c\""))?;
    let (_, since) = before.rsplit_once("Since ")?;
    let (version, _) = since.split_once(".\n")?;
    Some(version)
}

/// The functions that a header declares.
fn declared(header: &str) -> BTreeSet<String> {
    let mut code = String::new();
    let mut rest = header;
    while let Some((before, after)) = rest.split_once("/*") {
        code.push_str(before);
        rest = after.split_once("*/").map_or("", |(_, after)| after);
    }
    code.push_str(rest);
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    code.split('(')
        .map(|before| {
            let start = before.trim_end_matches(is_name).len();
            before.get(start..).unwrap_or_default()
        })
        .filter(|name| name.starts_with("lzc_") || name.starts_with("libzfs_core_"))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod unit_tests {
    use super::*;

    #[test]
    fn functions_are_found_in_a_header() {
        let header = "/* lzc_comment(x) */\n_LIBZFS_CORE_H int lzc_a(const char *,\n    int (*)(void));\n\
                      typedef enum lzc_kind { A } k;\nvoid libzfs_core_fini(void);";
        let found: Vec<String> = declared(header).into_iter().collect();
        assert_eq!(found, ["libzfs_core_fini", "lzc_a"]);
    }

    #[test]
    fn the_version_is_that_of_the_binding() {
        let weak = "    /// One. Since 2.2.\n    lzc_a = c\"lzc_a\": fn();\n\n    /// Two. Since 2.3.\n    \
                    lzc_b = c\"lzc_b\": fn();\n";
        assert_eq!(since_in(weak, "lzc_a"), Some("2.2"));
        assert_eq!(since_in(weak, "lzc_b"), Some("2.3"));
        assert_eq!(since_in(weak, "lzc_c"), None);
    }
}
