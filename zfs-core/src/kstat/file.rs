//! The files, and those that are tables.

use crate::error::{Errno, Error, Operation, Result};
use std::path::{Path, PathBuf};

const ROOT: &str = "/proc/spl/kstat/zfs";
const OPERATION: Operation = Operation::ReadStatistics;

/// Reads the file `object` below the kernel's statistics of ZFS.
///
/// A read of such a file is not atomic, but the kernel takes the figures anew only at its beginning
/// and per page: a total can be a little ahead of its parts.
pub(super) fn read(object: &str) -> Result<String> {
    let path = path(object)?;
    let bytes = std::fs::read(path)
        .map_err(|error| Error::new(OPERATION, object, Errno::from_io(&error)))?;
    // Names of datasets are ASCII; names of processes can be anything.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The names of the files in the folder `object`, in order.
pub(super) fn names(object: &str) -> Result<Vec<String>> {
    let error = |error| Error::new(OPERATION, object, Errno::from_io(&error));
    let mut names = Vec::new();
    for entry in std::fs::read_dir(path(object)?).map_err(error)? {
        let entry = entry.map_err(error)?;
        if entry.file_type().is_ok_and(|kind| kind.is_file()) {
            names.extend(entry.file_name().into_string());
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// What is asked for by name stays below the statistics of ZFS.
fn path(object: &str) -> Result<PathBuf> {
    let inside = Path::new(object)
        .components()
        .all(|part| matches!(part, std::path::Component::Normal(_)));
    if !inside {
        return Err(Error::new(OPERATION, object, Errno::EINVAL));
    }
    Ok(Path::new(ROOT).join(object))
}

/// The lines of the table in the file `object`, each read by `line`. The first line is a title.
pub(super) fn table<T>(
    object: &str,
    columns: &[&str],
    line: impl Fn(&str) -> Option<T>,
) -> Result<Vec<T>> {
    parse(&read(object)?, columns, line).map_err(|what| Error::protocol(OPERATION, object, what))
}

/// A table without entries can lack its title. Columns that newer versions add stand at the end.
pub(super) fn parse<T>(
    text: &str,
    columns: &[&str],
    line: impl Fn(&str) -> Option<T>,
) -> Result<Vec<T>, String> {
    let mut lines = text.lines();
    let title: Vec<&str> = lines
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    if !text.is_empty() && !title.starts_with(columns) {
        return Err(format!("a table with the columns {title:?}"));
    }
    lines
        .map(|text| line(text).ok_or_else(|| format!("the line {text:?}")))
        .collect()
}
