//! What our own sources say: which methods stand for a C function, and what tests call.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

/// The types whose methods count: what a program holds.
const HANDLES: [&str; 5] = ["Bookmark", "Dataset", "Pool", "Snapshot", "Zfs"];

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Method {
    handle: String,
    name: String,
}

impl Method {
    /// As documentation refers to it.
    pub(super) fn link(&self) -> String {
        let Self { handle, name } = self;
        format!("[`{handle}::{name}`](crate::{handle}::{name})")
    }
}

/// The public methods of handles, by the C functions that are their aliases.
pub(super) fn methods(sources: &Path) -> Result<BTreeMap<String, Vec<Method>>> {
    let mut found: BTreeMap<String, Vec<Method>> = BTreeMap::new();
    for path in files(sources)? {
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        for (alias, method) in aliases(&text) {
            found.entry(alias).or_default().push(method);
        }
    }
    for methods in found.values_mut() {
        methods.sort();
        methods.dedup();
    }
    Ok(found)
}

fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let entries = fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    Ok(found)
}

/// The aliases in a file, each with the method that it is one of.
fn aliases(text: &str) -> Vec<(String, Method)> {
    let mut found = Vec::new();
    let mut handle = None;
    let mut pending = Vec::new();
    for line in text.lines() {
        let trimmed = line.trim_start();
        if let Some(block) = line.strip_prefix("impl ") {
            let name = block.strip_suffix(" {").unwrap_or_default();
            handle = HANDLES.into_iter().find(|handle| *handle == name);
        } else if let Some(alias) = trimmed.strip_prefix("#[doc(alias = \"") {
            pending.extend(alias.split('"').next().map(str::to_owned));
        } else if let Some(signature) = trimmed.strip_prefix("pub fn ") {
            let name = signature.split(['(', '<']).next().unwrap_or_default();
            if let Some(handle) = handle {
                found.extend(pending.drain(..).map(|alias| {
                    let method = Method {
                        handle: handle.to_owned(),
                        name: name.to_owned(),
                    };
                    (alias, method)
                }));
            }
            pending.clear();
        } else if !trimmed.starts_with("#[") && !trimmed.starts_with("//") {
            pending.clear();
        }
    }
    found
}

/// Whether the test exists, and its file calls one of the methods.
pub(super) fn check_test(tests: &Path, test: &str, methods: &[Method]) -> Result<()> {
    let (module, name) = test.rsplit_once("::").context("no path of a test")?;
    let path = tests.join(module.replace("::", "/")).with_extension("rs");
    let path = match path.is_file() {
        true => path,
        false => path.with_extension("").join("mod.rs"),
    };
    let text = fs::read_to_string(&path).with_context(|| format!("there is no module {module}"))?;
    let mut lines = text
        .lines()
        .skip_while(|line| *line != "#[test]")
        .peekable();
    let is_test = std::iter::from_fn(|| {
        lines.find(|line| *line == "#[test]")?;
        Some(
            lines
                .peek()
                .is_some_and(|line| line.starts_with(&format!("fn {name}("))),
        )
    })
    .any(|found| found);
    ensure!(is_test, "{module} has no test {name}");
    let called = methods.iter().any(|method| {
        let name = &method.name;
        text.contains(&format!(".{name}("))
            || text.contains(&format!(".{name}::<"))
            || text.contains(&format!("::{name}"))
    });
    if !called {
        bail!("the tests in {module} do not call it");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aliases_belong_to_the_method_that_follows() {
        let text = "\
impl Pool {
    /// Text.
    #[doc(alias = \"lzc_a\")]
    #[doc(alias = \"lzc_b\")]
    #[must_use]
    pub fn first<T>(&self) {}

    #[doc(alias = \"lzc_lost\")]
    fn private(&self) {}

    pub fn second(&self) {}
}

impl Other {
    #[doc(alias = \"lzc_c\")]
    pub fn third(&self) {}
}
";
        let first = Method {
            handle: "Pool".to_owned(),
            name: "first".to_owned(),
        };
        let expected = [
            ("lzc_a".to_owned(), first.clone()),
            ("lzc_b".to_owned(), first),
        ];
        assert_eq!(aliases(text), expected);
    }
}
