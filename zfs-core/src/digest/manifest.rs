use super::content::Counts;
use super::{ContentTree, Digest, Digests, TransportTree};
use crate::stream::{BeginFlags, StreamFeatures};
use std::fmt;
use std::ops::Range;

/// What a stream is and what its digests are, to travel beside the stream or after it.
///
/// With the feature `serde` it is serialised; as JSON:
///
/// ```json
/// {
///   "version": 1,
///   "bytes": 1335432,
///   "records": 1041,
///   "transport": "70a1…",
///   "snapshots": [{
///     "name": "tank/acme@monday",
///     "guid": "11577061406263474853",
///     "from_guid": null,
///     "features": 16777216,
///     "flags": 4,
///     "partial": false,
///     "objects": 273, "blocks": 299, "payload": 1200640,
///     "content": "58fe…"
///   }]
/// }
/// ```
///
/// | field | meaning |
/// |---|---|
/// | `version` | of this format: 1. Others are refused |
/// | `bytes`, `records` | how long the stream is |
/// | `transport` | root of the [`TransportTree`] |
/// | `chunks` | that tree, if it was asked for: `fold`, and `nodes` as `[offset, digest]` |
/// | `snapshots` | what is in the stream, in its order: one, or several in a compound stream |
/// | `name` | at the source |
/// | `guid`, `from_guid` | decimal text, because they need all 64 bits; `from_guid` is `null` in a full stream |
/// | `features`, `flags` | [`StreamFeatures`] and [`BeginFlags`] as numbers |
/// | `partial` | whether the stream is the rest of an interrupted one |
/// | `objects`, `blocks`, `payload` | [`Counts`] |
/// | `content` | root of the [`ContentTree`] |
///
/// A manifest proves as much as the way on which it came: it is not signed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(try_from = "wire::Manifest", into = "wire::Manifest")
)]
pub struct Manifest {
    /// The length of the stream in bytes.
    pub bytes: u64,
    /// How many records it has.
    pub records: u64,
    /// The digest of its bytes.
    pub transport: Digest,
    /// The tree of that digest, which says where a difference is.
    pub chunks: Option<TransportTree>,
    /// The snapshots in it.
    pub snapshots: Vec<SnapshotManifest>,
}

/// What a [`Manifest`] says of one snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct SnapshotManifest {
    /// Its name at the source.
    pub name: String,
    /// Its guid.
    #[cfg_attr(feature = "serde", serde(with = "wire::decimal"))]
    pub guid: u64,
    /// The guid of the snapshot that the stream builds on, if it is incremental.
    #[cfg_attr(feature = "serde", serde(with = "wire::decimal_or_null"))]
    pub from_guid: Option<u64>,
    /// What the stream makes use of.
    #[cfg_attr(feature = "serde", serde(with = "wire::features"))]
    pub features: StreamFeatures,
    /// More about the stream.
    #[cfg_attr(feature = "serde", serde(with = "wire::flags"))]
    pub flags: BeginFlags,
    /// Whether the stream is the rest of an interrupted one, which the digest is of then.
    pub partial: bool,
    /// How much the stream carries.
    #[cfg_attr(feature = "serde", serde(flatten))]
    pub counts: Counts,
    /// The digest of the snapshot.
    pub content: Digest,
}

/// A stream is not what its manifest says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    differences: Vec<Difference>,
}

/// One thing in which a stream is not what its manifest says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Difference {
    /// The stream has no end, or nothing but an end.
    Incomplete,
    /// The bytes of the stream.
    Transport {
        /// How many there should be.
        expected: u64,
        /// How many there are.
        found: u64,
        /// Which ones. Empty if the manifest has no chunks.
        ranges: Vec<Range<u64>>,
    },
    /// How many snapshots are in the stream.
    SnapshotCount {
        /// How many there should be.
        expected: usize,
        /// How many there are.
        found: usize,
    },
    /// A snapshot is another one, or builds on another one.
    Snapshot {
        /// The guid it should have.
        guid: u64,
        /// The guid it has.
        found: u64,
    },
    /// The content of a snapshot.
    Content {
        /// The guid of the snapshot.
        guid: u64,
        /// The digest it should have.
        expected: Digest,
        /// The digest it has.
        found: Digest,
    },
}

impl Manifest {
    /// The manifest of a stream with these digests.
    ///
    /// # Errors
    ///
    /// [`Mismatch`] with [`Difference::Incomplete`]: they are not of a whole stream.
    pub fn new(digests: &Digests) -> Result<Self, Mismatch> {
        if !digests.is_complete() {
            return Err(Mismatch {
                differences: vec![Difference::Incomplete],
            });
        }
        let transport = digests.transport();
        Ok(Self {
            bytes: transport.bytes(),
            records: transport.records(),
            transport: transport.root(),
            chunks: None,
            snapshots: digests.contents().iter().map(snapshot).collect(),
        })
    }

    /// Adds the tree of the bytes, with at most about `most` chunks, so that a difference has a
    /// place. A chunk takes up some 90 bytes of JSON. Digests of another stream add nothing.
    #[must_use]
    pub fn with_chunks(mut self, digests: &Digests, most: usize) -> Self {
        if digests.transport().root() == self.transport {
            self.chunks = Some(digests.transport().coarsened(most));
        }
        self
    }

    /// Whether this is the stream: byte for byte.
    ///
    /// # Errors
    ///
    /// [`Mismatch`] names all that differs.
    pub fn verify(&self, found: &Digests) -> Result<(), Mismatch> {
        let mut differences = self.content_differences(found);
        let transport = found.transport();
        if transport.root() != self.transport {
            let ranges = self.chunks.as_ref().map(|tree| tree.differences(transport));
            differences.push(Difference::Transport {
                expected: self.bytes,
                found: transport.bytes(),
                ranges: ranges.unwrap_or_default(),
            });
        }
        Mismatch::of(differences)
    }

    /// Whether this is a stream of the same snapshots from the same base, whatever its bytes.
    ///
    /// After a receive the target's own stream of the snapshot is what goes in here; the
    /// [module](super) says what equality proves then.
    ///
    /// # Errors
    ///
    /// [`Mismatch`] names all that differs. Which objects and blocks, [`ContentTree::differences`]
    /// tells those who have both trees.
    pub fn verify_content(&self, found: &Digests) -> Result<(), Mismatch> {
        Mismatch::of(self.content_differences(found))
    }

    fn content_differences(&self, found: &Digests) -> Vec<Difference> {
        let mut differences = Vec::new();
        if !found.is_complete() {
            differences.push(Difference::Incomplete);
        }
        let contents = found.contents();
        if contents.len() != self.snapshots.len() {
            differences.push(Difference::SnapshotCount {
                expected: self.snapshots.len(),
                found: contents.len(),
            });
        }
        for (expected, found) in self.snapshots.iter().zip(contents) {
            let begin = found.begin();
            let from = begin.is_incremental().then_some(begin.from_guid);
            if (begin.to_guid, from) != (expected.guid, expected.from_guid) {
                differences.push(Difference::Snapshot {
                    guid: expected.guid,
                    found: begin.to_guid,
                });
            } else if found.root() != expected.content {
                differences.push(Difference::Content {
                    guid: expected.guid,
                    expected: expected.content,
                    found: found.root(),
                });
            }
        }
        differences
    }
}

fn snapshot(content: &ContentTree) -> SnapshotManifest {
    let begin = content.begin();
    SnapshotManifest {
        name: begin.to_name.clone(),
        guid: begin.to_guid,
        from_guid: begin.is_incremental().then_some(begin.from_guid),
        features: begin.features,
        flags: begin.flags,
        partial: content.is_partial(),
        counts: content.counts(),
        content: content.root(),
    }
}

impl Mismatch {
    fn of(differences: Vec<Difference>) -> Result<(), Self> {
        match differences.is_empty() {
            true => Ok(()),
            false => Err(Self { differences }),
        }
    }

    /// What differs: at least one thing.
    #[must_use]
    pub fn differences(&self) -> &[Difference] {
        &self.differences
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 4;
        match self {
            Self::Incomplete => f.write_str("the stream is not complete"),
            Self::Transport {
                expected,
                found,
                ranges,
            } => {
                match expected == found {
                    true => f.write_str("the bytes differ")?,
                    false => write!(f, "{found} bytes and not {expected}")?,
                }
                for (n, range) in ranges.iter().take(SHOWN).enumerate() {
                    let before = if n == 0 { ", in" } else { "," };
                    write!(f, "{before} {}..{}", range.start, range.end)?;
                }
                match ranges.len().saturating_sub(SHOWN) {
                    0 => Ok(()),
                    more => write!(f, " and {more} more places"),
                }
            }
            Self::SnapshotCount { expected, found } => {
                write!(f, "{found} snapshots and not {expected}")
            }
            Self::Snapshot { guid, found } if guid == found => {
                write!(f, "snapshot {guid} builds on another one")
            }
            Self::Snapshot { guid, found } => write!(f, "snapshot {found} and not {guid}"),
            Self::Content {
                guid,
                expected,
                found,
            } => write!(
                f,
                "snapshot {guid} has the content {found} and not {expected}"
            ),
        }
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the stream is not as in its manifest")?;
        for (n, difference) in self.differences.iter().enumerate() {
            write!(f, "{} {difference}", if n == 0 { ":" } else { ";" })?;
        }
        Ok(())
    }
}

impl std::error::Error for Mismatch {}

/// How a manifest is written down.
#[cfg(feature = "serde")]
mod wire {
    use super::{BeginFlags, Digest, SnapshotManifest, StreamFeatures, TransportTree};
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
    use std::borrow::Cow;

    const VERSION: u32 = 1;

    #[derive(Serialize, Deserialize)]
    pub(super) struct Manifest {
        version: u32,
        bytes: u64,
        records: u64,
        transport: Digest,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        chunks: Option<Chunks>,
        snapshots: Vec<SnapshotManifest>,
    }

    #[derive(Serialize, Deserialize)]
    struct Chunks {
        fold: u32,
        nodes: Vec<(u64, Digest)>,
    }

    impl From<super::Manifest> for Manifest {
        fn from(manifest: super::Manifest) -> Self {
            Self {
                version: VERSION,
                bytes: manifest.bytes,
                records: manifest.records,
                transport: manifest.transport,
                chunks: manifest.chunks.map(|tree| Chunks {
                    fold: tree.fold(),
                    nodes: tree.chunks().map(|c| (c.offset, c.digest)).collect(),
                }),
                snapshots: manifest.snapshots,
            }
        }
    }

    impl TryFrom<Manifest> for super::Manifest {
        type Error = String;

        fn try_from(wire: Manifest) -> Result<Self, String> {
            let Manifest {
                version,
                bytes,
                records,
                transport,
                chunks,
                snapshots,
            } = wire;
            if version != VERSION {
                return Err(format!("a manifest of version {version} is not known"));
            }
            let chunks = match chunks {
                None => None,
                Some(Chunks { fold, nodes }) => {
                    let tree = TransportTree::from_chunks(nodes, fold, bytes, records);
                    let tree = tree.filter(|tree| tree.root() == transport);
                    Some(tree.ok_or("the chunks are not those of the transport digest")?)
                }
            };
            Ok(Self {
                bytes,
                records,
                transport,
                chunks,
                snapshots,
            })
        }
    }

    fn parse<E: de::Error>(text: &str) -> Result<u64, E> {
        text.parse().map_err(E::custom)
    }

    pub(super) mod decimal {
        use super::{Cow, Deserialize, Deserializer, Serializer, parse};

        pub(in super::super) fn serialize<S: Serializer>(n: &u64, s: S) -> Result<S::Ok, S::Error> {
            s.collect_str(n)
        }

        pub(in super::super) fn deserialize<'de, D>(d: D) -> Result<u64, D::Error>
        where
            D: Deserializer<'de>,
        {
            parse(&Cow::<'de, str>::deserialize(d)?)
        }
    }

    pub(super) mod decimal_or_null {
        use super::{Cow, Deserialize, Deserializer, Serializer, parse};

        pub(in super::super) fn serialize<S: Serializer>(
            n: &Option<u64>,
            s: S,
        ) -> Result<S::Ok, S::Error> {
            match n {
                Some(n) => s.collect_str(n),
                None => s.serialize_none(),
            }
        }

        pub(in super::super) fn deserialize<'de, D>(d: D) -> Result<Option<u64>, D::Error>
        where
            D: Deserializer<'de>,
        {
            let text = Option::<Cow<'de, str>>::deserialize(d)?;
            text.map(|text| parse(&text)).transpose()
        }
    }

    pub(super) mod features {
        use super::{Deserialize, Deserializer, Serialize, Serializer, StreamFeatures};

        pub(in super::super) fn serialize<S: Serializer>(
            features: &StreamFeatures,
            s: S,
        ) -> Result<S::Ok, S::Error> {
            features.bits().serialize(s)
        }

        pub(in super::super) fn deserialize<'de, D>(d: D) -> Result<StreamFeatures, D::Error>
        where
            D: Deserializer<'de>,
        {
            u64::deserialize(d).map(StreamFeatures::from_bits_retain)
        }
    }

    pub(super) mod flags {
        use super::{BeginFlags, Deserialize, Deserializer, Serialize, Serializer};

        pub(in super::super) fn serialize<S: Serializer>(
            flags: &BeginFlags,
            s: S,
        ) -> Result<S::Ok, S::Error> {
            flags.bits().serialize(s)
        }

        pub(in super::super) fn deserialize<'de, D>(d: D) -> Result<BeginFlags, D::Error>
        where
            D: Deserializer<'de>,
        {
            u32::deserialize(d).map(BeginFlags::from_bits_retain)
        }
    }
}
