//! What `zpool status` prints, taken apart.

use crate::support::{TestPool, output, run};
use helix_zfs::zfs_core::pool::StatusCode;
use serde_json::Value as Json;

/// A line of the table: a vdev, or the name of a class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) depth: usize,
    pub(super) name: String,
    pub(super) state: String,
    /// Errors in reading, writing and checksums, and slow I/Os. A spare has none.
    pub(super) counts: Vec<u64>,
    /// What stands behind.
    pub(super) note: String,
}

/// `zpool status -vpPs`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Printed {
    pub(super) state: String,
    pub(super) code: StatusCode,
    /// The name of the message.
    pub(super) see: Option<String>,
    /// What goes through the pool or went through it, in a few words.
    pub(super) scans: Vec<String>,
    pub(super) remove: Option<String>,
    pub(super) checkpoint: Option<String>,
    pub(super) expand: Option<String>,
    pub(super) rows: Vec<Row>,
    /// Damaged files; `None` when the pool cannot be opened and the command does not say.
    pub(super) errors: Option<Vec<String>>,
}

/// A few words of each text that the command has for a code.
const TEXTS: &[(&str, StatusCode)] = &[
    ("not be opened. Sufficient", StatusCode::MissingDevice),
    ("not be opened. There are", StatusCode::MissingDeviceFatal),
    ("or invalid. Sufficient", StatusCode::CorruptLabel),
    ("or invalid. There are", StatusCode::CorruptLabelFatal),
    ("an unrecoverable error", StatusCode::FailingDevice),
    ("been taken offline", StatusCode::OfflineDevice),
    ("have been removed", StatusCode::RemovedDevice),
    ("currently being resilvered", StatusCode::Resilvering),
    ("sequentially resilvered", StatusCode::RebuildScrub),
    ("resulting in data corruption", StatusCode::CorruptData),
    ("metadata is corrupted", StatusCode::CorruptPool),
    ("legacy on-disk format", StatusCode::VersionOlder),
    ("features are not enabled", StatusCode::FeatureDisabled),
    ("despite not being", StatusCode::IncompatibleFeature),
    (
        "list specified, but it could",
        StatusCode::CompatibilityError,
    ),
    ("errors. Sufficient", StatusCode::FaultedDevice),
    ("errors. There are", StatusCode::FaultedDeviceFatal),
    ("in response to IO failures", StatusCode::IoFailureWait),
    ("non-native block size", StatusCode::NonNativeAshift),
];

fn code(text: &str) -> StatusCode {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if text.is_empty() {
        return StatusCode::Ok;
    }
    TEXTS
        .iter()
        .find(|(part, _)| text.contains(part))
        .unwrap_or_else(|| panic!("an unknown text: {text}"))
        .1
}

/// A line about a scrub or a resilver, without sizes and times.
fn scan(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let errors = words
        .iter()
        .position(|word| *word == "errors")
        .map(|at| words[at - 1]);
    let vdev = words[1]
        .strip_prefix('(')
        .map(|word| &word[..word.len() - 1]);
    match (words[0], vdev, errors) {
        ("none", ..) => "none".into(),
        ("scrub", _, Some(errors)) => format!("scrub finished with {errors}"),
        ("resilvered", None, Some(errors)) => format!("resilver finished with {errors}"),
        ("resilvered", Some(vdev), Some(errors)) => {
            format!("rebuild {vdev} finished with {errors}")
        }
        (what, Some(vdev), None) => {
            assert_eq!(what, "resilver", "{text}");
            format!("rebuild {vdev} {}", words[2])
        }
        (what, None, None) => format!("{what} {}", words[1]),
        _ => panic!("an unknown scan: {text}"),
    }
}

fn row(line: &str) -> Row {
    let depth = line.len() - line.trim_start().len();
    let mut words = line.split_whitespace().peekable();
    let name = words.next().unwrap().to_owned();
    let state = words.next().unwrap_or_default().to_owned();
    let mut counts = Vec::new();
    while let Some(count) = words.peek().and_then(|word| word.parse().ok()) {
        counts.push(count);
        words.next();
    }
    let note = words.collect::<Vec<_>>().join(" ");
    Row {
        depth,
        name,
        state,
        counts,
        note,
    }
}

impl Printed {
    pub(super) fn of(pool: &TestPool) -> Self {
        Self::read(&run("zpool", &["status", "-vpPs", pool.name()]))
    }

    fn read(text: &str) -> Self {
        let (head, rest) = text.split_once("config:\n").unwrap();
        // Keys stand right-aligned before column 8; what goes on below stands behind a tab.
        let mut fields: Vec<(&str, String)> = Vec::new();
        for line in head.lines() {
            match line.split_once(':') {
                Some((key, text)) if !line.starts_with('\t') => {
                    fields.push((key.trim(), text.trim().to_owned()));
                }
                _ => {
                    let (_, text) = fields.last_mut().unwrap();
                    *text += " ";
                    *text += line.trim();
                }
            }
        }
        let all = |key: &'static str| {
            let named = fields.iter().filter(move |(name, _)| *name == key);
            named.map(|(_, text)| text.as_str())
        };
        let one = |key| all(key).next();
        let first =
            |key| one(key).and_then(|text| text.split_whitespace().next().map(String::from));
        let see = one("see").map(|url| url.rsplit('/').next().unwrap().to_owned());
        let (table, errors) = match rest.split_once("errors: ") {
            Some((table, errors)) => (table, Some(errors)),
            None => (rest, None),
        };
        let rows = table
            .lines()
            .filter_map(|line| line.strip_prefix('\t'))
            .filter(|line| !line.starts_with("NAME"))
            .map(row)
            .collect();
        let errors = errors.map(|errors| {
            if errors.starts_with("No known data errors") {
                return Vec::new();
            }
            assert!(errors.starts_with("Permanent errors"), "{errors}");
            let files = errors.lines().skip(1).map(str::trim);
            let mut files: Vec<String> = files
                .filter(|file| !file.is_empty())
                .map(String::from)
                .collect();
            files.sort_unstable();
            files
        });
        Self {
            state: one("state").unwrap().to_owned(),
            code: code(one("status").unwrap_or_default()),
            see,
            scans: all("scan").map(scan).collect(),
            remove: first("remove"),
            checkpoint: one("checkpoint")
                .map(|text| text.split([' ', ',']).next().unwrap().to_owned()),
            expand: first("expand"),
            rows,
            errors,
        }
    }
}

/// The pool in `zpool status -j`, which there is since 2.3.
pub(super) fn json(pool: &TestPool) -> Option<Json> {
    let flags = ["status", "-j", "--json-int", "-vpPits", pool.name()];
    let output = output("zpool", &flags);
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(complaint.contains("invalid option 'j'"), "{complaint}");
        return None;
    }
    let json: Json = serde_json::from_slice(&output.stdout).unwrap();
    Some(json["pools"][pool.name()].clone())
}
