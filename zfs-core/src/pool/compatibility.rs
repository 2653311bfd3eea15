//! Which features a pool may have, by its property `compatibility`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Where the files are, those of the administrator first.
const PLACES: [&str; 2] = ["/etc/zfs/compatibility.d", "/usr/share/zfs/compatibility.d"];
/// The longest file that the command reads.
const MAX_LEN: u64 = 16 * 1024;

/// What may be enabled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Compatibility {
    /// Every feature.
    All,
    /// These, by their short names.
    Only(BTreeSet<String>),
}

impl Compatibility {
    /// By the property's value, `None` if it is not set. The error says which file cannot be read.
    pub(crate) fn read(value: Option<&str>) -> Result<Self, String> {
        Self::read_from(value, &PLACES.map(Path::new))
    }

    fn read_from(value: Option<&str>, places: &[&Path]) -> Result<Self, String> {
        let files = match value {
            None | Some("" | "off") => return Ok(Self::All),
            Some("legacy") => return Ok(Self::Only(BTreeSet::new())),
            Some(files) => files.split(',').filter(|file| !file.is_empty()),
        };
        let mut allowed: Option<BTreeSet<String>> = None;
        for file in files {
            let named = words(&text(file, places)?);
            allowed = Some(match allowed {
                None => named,
                Some(allowed) => &allowed & &named,
            });
        }
        allowed
            .map(Self::Only)
            .ok_or_else(|| "it names no file".to_owned())
    }

    pub(crate) fn allows(&self, feature: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(features) => features.contains(feature),
        }
    }
}

fn text(file: &str, places: &[&Path]) -> Result<String, String> {
    // An absolute path stays as it is.
    let candidates = places.iter().map(|place| place.join(file));
    let path: PathBuf = candidates
        .into_iter()
        .find(|path| path.is_file())
        .ok_or_else(|| format!("there is no compatibility file {file}"))?;
    let problem = |what: &str| format!("{}: {what}", path.display());
    let len = path
        .metadata()
        .map_err(|error| problem(&error.to_string()))?
        .len();
    if len > MAX_LEN {
        return Err(problem("too long"));
    }
    std::fs::read_to_string(&path).map_err(|error| problem(&error.to_string()))
}

/// The names in a file. What follows `#` in a line is a comment.
fn words(text: &str) -> BTreeSet<String> {
    text.lines()
        .filter_map(|line| line.split('#').next())
        .flat_map(|line| line.split([',', ' ', '\t']))
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_and_must_all_agree() {
        let dir = std::env::temp_dir().join(format!("helix-zfs-compat-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(
            dir.join("one"),
            "# which\nasync_destroy, zstd_compress # both\n\tlz4\n",
        )
        .unwrap();
        std::fs::write(dir.join("two"), "lz4\nasync_destroy\nnever_heard_of\n").unwrap();
        let read = |value| Compatibility::read_from(Some(value), &[&dir]);

        let both = read("one,two").unwrap();
        assert!(both.allows("lz4") && both.allows("async_destroy"));
        assert!(!both.allows("zstd_compress") && !both.allows("never_heard_of"));
        assert!(read("one").unwrap().allows("zstd_compress"));
        assert!(read("off").unwrap().allows("anything"));
        assert!(!read("legacy").unwrap().allows("lz4"));
        assert!(read("one,three").unwrap_err().contains("three"));
        assert!(read(",").is_err());
        assert_eq!(Compatibility::read(None), Ok(Compatibility::All));

        std::fs::remove_dir_all(&dir).unwrap();
    }
}
