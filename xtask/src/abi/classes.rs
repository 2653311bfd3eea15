//! The table of event classes, held against the names that a version's headers have.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

/// Fails when the table in `source` has other classes than the headers of `version`.
pub(super) fn compare(source: &str, headers: &Path, version: &str) -> Result<()> {
    let mut theirs = BTreeSet::new();
    for header in ["sys/fm/fs/zfs.h", "sys/sysevent/eventdefs.h"] {
        let path = headers.join(header);
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        theirs.extend(text.lines().filter_map(defined));
    }
    let ours: BTreeSet<String> = source
        .lines()
        .filter_map(|line| entry(line, version))
        .collect();
    let difference: Vec<&String> = theirs.symmetric_difference(&ours).collect();
    if ours.is_empty() || !difference.is_empty() {
        bail!("the classes of events differ: {difference:?}");
    }
    Ok(())
}

/// The class that a `#define` of the headers names.
fn defined(line: &str) -> Option<String> {
    let mut words = line.split_whitespace();
    if words.next() != Some("#define") {
        return None;
    }
    let (name, value) = (words.next()?, words.next()?);
    let value = value.strip_prefix('"')?.strip_suffix('"')?;
    let kind = if name.starts_with("ESC_ZFS_") {
        "sysevent"
    } else if name.starts_with("FM_RESOURCE_") {
        "resource"
    } else if name.starts_with("FM_EREPORT_ZFS_") {
        "ereport"
    } else {
        return None;
    };
    Some(format!("{kind}.fs.zfs.{value}"))
}

/// The class of a line `Name = "class" since "version";` that this version has.
fn entry(line: &str, version: &str) -> Option<String> {
    let (_, rest) = line.trim().split_once(" = \"")?;
    let (class, since) = rest.split_once("\" since \"")?;
    let since = since.strip_suffix("\";")?;
    // "2.1" to "2.4": they compare as texts.
    (since <= version).then(|| class.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read() {
        assert_eq!(
            defined("#define\tESC_ZFS_VDEV_ADD\t\t\"vdev_add\""),
            Some("sysevent.fs.zfs.vdev_add".into())
        );
        assert_eq!(
            defined("#define\tFM_EREPORT_ZFS_IO\t\"io\""),
            Some("ereport.fs.zfs.io".into())
        );
        assert_eq!(
            defined("#define\tFM_EREPORT_PAYLOAD_ZFS_POOL\t\"pool\""),
            None
        );
        assert_eq!(defined("#define\tESC_ZFS_X"), None);
        let line = "    SitOut = \"ereport.fs.zfs.sitout\" since \"2.4\";";
        assert_eq!(entry(line, "2.4"), Some("ereport.fs.zfs.sitout".into()));
        assert_eq!(entry(line, "2.3"), None);
    }
}
