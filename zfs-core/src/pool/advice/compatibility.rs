use std::collections::BTreeSet;
use std::io;
use std::path::Path;

/// What the property `compatibility` asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Compatibility {
    All,
    Legacy,
    /// Features by their short names.
    Listed(BTreeSet<String>),
    Unreadable,
}

/// The name in `feature@name` properties.
pub(super) fn short(guid: &str) -> &str {
    guid.rsplit_once(':').map_or(guid, |(_, name)| name)
}

/// Where lists of compatible features are: the administrator's, and those that come with ZFS.
const COMPATIBILITY_DIRS: [(&str, bool); 2] = [
    ("/etc/zfs/compatibility.d", true),
    ("/usr/share/zfs/compatibility.d", false),
];

/// Reads what the property `compatibility` asks for.
pub(super) fn compatible(property: &str, known: &BTreeSet<String>) -> Compatibility {
    match property {
        "" | "off" => return Compatibility::All,
        "legacy" => return Compatibility::Legacy,
        _ => {}
    }
    let is_known = |word: &str| known.iter().any(|guid| short(guid) == word);
    let mut common: Option<BTreeSet<String>> = None;
    for file in property.split(',').filter(|file| !file.is_empty()) {
        let Some((text, strict)) = list(file) else {
            return Compatibility::Unreadable;
        };
        let mut features = BTreeSet::new();
        for word in words(&text) {
            if is_known(word) {
                features.insert(word.to_owned());
            } else if strict {
                // Only lists that come with ZFS may have features that are not of this system.
                return Compatibility::Unreadable;
            }
        }
        common = Some(match common {
            Some(common) => &common & &features,
            None => features,
        });
    }
    common.map_or(Compatibility::Unreadable, Compatibility::Listed)
}

/// A list of features, and whether it may only have known ones.
fn list(file: &str) -> Option<(String, bool)> {
    /// The command takes none that are larger.
    const LONGEST: usize = 16384;
    let read =
        |dir: &str| -> io::Result<String> { std::fs::read_to_string(Path::new(dir).join(file)) };
    let (text, strict) = COMPATIBILITY_DIRS
        .into_iter()
        .find_map(|(dir, strict)| Some((read(dir).ok()?, strict)))?;
    (text.ends_with('\n') && text.len() <= LONGEST).then_some((text, strict))
}

/// The features in a list, in which `#` begins a comment.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .filter_map(|line| line.split('#').next())
        .flat_map(|line| line.split([',', ' ', '\t']))
        .filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_have_words_and_comments() {
        let text = "# for old systems\nasync_destroy, bookmarks\tlz4_compress # last\n\n";
        assert_eq!(
            words(text).collect::<Vec<_>>(),
            ["async_destroy", "bookmarks", "lz4_compress"]
        );
        let known = BTreeSet::new();
        assert_eq!(compatible("off", &known), Compatibility::All);
        assert_eq!(compatible("", &known), Compatibility::All);
        assert_eq!(compatible("legacy", &known), Compatibility::Legacy);
        for absurd in [",", "no-such-list", "../../../../etc", "\0"] {
            assert_eq!(compatible(absurd, &known), Compatibility::Unreadable);
        }
    }
}
