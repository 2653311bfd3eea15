//! Resume tokens: what an interrupted receive tells the sender.

use crate::error::{Error, ErrorKind, Operation};
use crate::name::{NameError, SnapshotName};
use crate::nv::{self, DecodeError, NvMap, Value};
use flate2::read::{ZlibDecoder, ZlibEncoder};
use std::fmt;
use std::io::Read;
use std::str::FromStr;

/// The longest token that is read, in bytes. The kernel hands them out in a property, whose values
/// have at most 8 KiB.
pub const MAX_TOKEN_LEN: usize = 64 << 10;

/// The largest list that a token may unfold to, in bytes.
const MAX_LIST_LEN: usize = 1 << 20;

const VERSION: u64 = 1;

/// Where an interrupted receive stands, and which stream it was: what a sender needs to go on.
///
/// The receiving side has it as the text of the property `receive_resume_token`
/// ([`Dataset::resume_token`](crate::Dataset::resume_token)); `Display` and `FromStr` write and
/// read that text, which is what `zfs send -t` takes and what travels to the sender. With the
/// feature `serde` it is serialised as the text too.
///
/// The names and numbers in it are the receiver's word. Sending checks them: the snapshot is
/// found by its GUID.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
#[doc(alias = "receive_resume_token")]
pub struct ResumeToken {
    /// The GUID of the snapshot that is being received.
    pub to_guid: u64,
    /// Its name on the side that sent it.
    pub to_name: SnapshotName,
    /// The GUID of the snapshot that the stream builds on; `None` for a full stream.
    pub from_guid: Option<u64>,
    /// The object to go on with.
    pub object: u64,
    /// The offset in that object to go on at, in bytes.
    pub offset: u64,
    /// How many bytes of the stream's payload were received.
    pub bytes: u64,
    /// The stream may have blocks over 128 KiB.
    pub large_blocks: bool,
    /// The stream may have embedded blocks.
    pub embedded: bool,
    /// The stream has blocks compressed as they are on disk.
    pub compressed: bool,
    /// The stream is raw.
    pub raw: bool,
    /// Of a redacted stream: the GUIDs of the snapshots it is redacted with respect to.
    pub redact_snaps: Option<Vec<u64>>,
    /// Of a stream that builds on a redaction bookmark: the GUIDs of the snapshots which that was
    /// redacted with respect to.
    pub book_redact_snaps: Option<Vec<u64>>,
    /// What a newer ZFS has added, so that it is not lost on the way.
    rest: NvMap,
}

/// A text that is no resume token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// Longer than [`MAX_TOKEN_LEN`].
    #[error("longer than {MAX_TOKEN_LEN} bytes")]
    TooLong,
    /// Not four parts with `-` between them, or a part that is not the number it should be.
    #[error("not of the form VERSION-CHECKSUM-LENGTH-DATA")]
    Form,
    /// A version that is not known.
    #[error("unknown version {0}")]
    Version(u64),
    /// It was changed on the way.
    #[error("wrong checksum: {computed:x}, should be {stated:x}")]
    Checksum {
        /// That of the data.
        computed: u64,
        /// The one in the token.
        stated: u64,
    },
    /// The data does not unfold to the stated length.
    #[error("it does not unfold to {0} bytes")]
    Length(u64),
    /// The data is no list.
    #[error(transparent)]
    List(#[from] DecodeError),
    /// The list lacks something, or has it as another type.
    #[error("no {0}")]
    Missing(&'static str),
    /// The snapshot's name breaks the rules.
    #[error(transparent)]
    Name(#[from] NameError),
}

impl From<TokenError> for Error {
    fn from(error: TokenError) -> Self {
        Self::refused(
            Operation::ReadStream,
            "resume token",
            ErrorKind::InvalidArgument,
            error.to_string(),
        )
    }
}

impl ResumeToken {
    /// Reads a token's text. Takes bounded memory whatever the text.
    ///
    /// # Errors
    ///
    /// [`TokenError`], which is also an [`Error`] of the kind
    /// [`InvalidArgument`](ErrorKind::InvalidArgument).
    pub fn parse(token: &str) -> Result<Self, TokenError> {
        if token.len() > MAX_TOKEN_LEN {
            return Err(TokenError::TooLong);
        }
        let mut parts = token.split('-');
        let mut part = || parts.next().ok_or(TokenError::Form);
        let version = number(part()?, 10)?;
        let stated = number(part()?, 16)?;
        let len = number(part()?, 16)?;
        let data = unhex(part()?).ok_or(TokenError::Form)?;
        if parts.next().is_some() {
            return Err(TokenError::Form);
        }
        if version != VERSION {
            return Err(TokenError::Version(version));
        }
        let computed = checksum(&data);
        if computed != stated {
            return Err(TokenError::Checksum { computed, stated });
        }
        Self::from_list(nv::decode(&unfold(&data, len)?)?)
    }

    fn from_list(mut list: NvMap) -> Result<Self, TokenError> {
        let flag = |list: &mut NvMap, key| {
            let set = list.flag(key);
            list.remove(key);
            set
        };
        let guids = |list: &mut NvMap, key| match list.remove(key) {
            None => Ok(None),
            Some(Value::Uint64Array(guids)) => Ok(Some(guids)),
            Some(_) => Err(TokenError::Missing(key)),
        };
        let number = |list: &mut NvMap, key| {
            let value = list.remove(key).and_then(|value| value.as_u64());
            value.ok_or(TokenError::Missing(key))
        };
        let to_name = match list.remove("toname") {
            Some(Value::String(name)) => SnapshotName::new(&name.to_string_lossy())?,
            _ => return Err(TokenError::Missing("toname")),
        };
        Ok(Self {
            to_guid: number(&mut list, "toguid")?,
            to_name,
            from_guid: match list.get("fromguid") {
                None => None,
                Some(_) => Some(number(&mut list, "fromguid")?).filter(|&guid| guid != 0),
            },
            object: number(&mut list, "object")?,
            offset: number(&mut list, "offset")?,
            bytes: number(&mut list, "bytes")?,
            large_blocks: flag(&mut list, "largeblockok"),
            embedded: flag(&mut list, "embedok"),
            compressed: flag(&mut list, "compressok"),
            raw: flag(&mut list, "rawok"),
            redact_snaps: guids(&mut list, "redact_snaps")?,
            book_redact_snaps: guids(&mut list, "book_redact_snaps")?,
            rest: list,
        })
    }

    fn to_list(&self) -> NvMap {
        let mut list = NvMap::new();
        if let Some(guid) = self.from_guid {
            list.insert(c"fromguid", guid);
        }
        list.insert(c"object", self.object);
        list.insert(c"offset", self.offset);
        list.insert(c"bytes", self.bytes);
        list.insert(c"toguid", self.to_guid);
        list.insert(c"toname", self.to_name.as_c_str());
        for (key, set) in [
            (c"largeblockok", self.large_blocks),
            (c"embedok", self.embedded),
            (c"compressok", self.compressed),
            (c"rawok", self.raw),
        ] {
            if set {
                list.insert(key, Value::Boolean);
            }
        }
        for (key, guids) in [
            (c"redact_snaps", &self.redact_snaps),
            (c"book_redact_snaps", &self.book_redact_snaps),
        ] {
            if let Some(guids) = guids {
                list.insert(key, guids.clone());
            }
        }
        for (name, value) in &self.rest {
            list.insert(name, value.clone());
        }
        list
    }
}

impl FromStr for ResumeToken {
    type Err = TokenError;

    fn from_str(token: &str) -> Result<Self, TokenError> {
        Self::parse(token)
    }
}

/// The token's text, which `zfs send -t` takes.
impl fmt::Display for ResumeToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Only a list over 2 GiB cannot be packed.
        let packed = nv::encode_native(&self.to_list()).unwrap_or_default();
        let mut data = Vec::new();
        // Reading from memory does not fail.
        let _ =
            ZlibEncoder::new(packed.as_slice(), flate2::Compression::new(6)).read_to_end(&mut data);
        write!(f, "{VERSION}-{:x}-{:x}-", checksum(&data), packed.len())?;
        data.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for ResumeToken {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for ResumeToken {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let token = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&token).map_err(serde::de::Error::custom)
    }
}

fn number(text: &str, radix: u32) -> Result<u64, TokenError> {
    // The standard parser takes a sign too.
    if !text.starts_with(|c: char| c.is_ascii_hexdigit()) {
        return Err(TokenError::Form);
    }
    u64::from_str_radix(text, radix).map_err(|_| TokenError::Form)
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16);
    pairs
        .map(|pair| match *pair {
            [high, low] => u8::try_from(digit(high)? << 4 | digit(low)?).ok(),
            _ => None,
        })
        .collect()
}

/// The first word of Fletcher-4 over the whole words; ZFS leaves the odd bytes at the end out.
fn checksum(data: &[u8]) -> u64 {
    data.chunks_exact(4)
        .filter_map(|word| word.try_into().ok())
        .fold(0, |sum: u64, word| {
            sum.wrapping_add(u32::from_ne_bytes(word).into())
        })
}

fn unfold(data: &[u8], len: u64) -> Result<Vec<u8>, TokenError> {
    let wrong = TokenError::Length(len);
    match usize::try_from(len) {
        Ok(stated) if stated <= MAX_LIST_LEN => {
            let mut list = Vec::new();
            // One byte more than there should be is enough to know.
            let mut decoder = ZlibDecoder::new(data).take(len.saturating_add(1));
            match decoder.read_to_end(&mut list) {
                Ok(read) if read == stated => Ok(list),
                _ => Err(wrong),
            }
        }
        _ => Err(wrong),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> ResumeToken {
        ResumeToken {
            to_guid: 0x1234_5678_9abc_def0,
            to_name: SnapshotName::new("tank/a@b").unwrap(),
            from_guid: Some(7),
            object: 12,
            offset: 0x2_0000,
            bytes: 99,
            large_blocks: true,
            embedded: false,
            compressed: true,
            raw: false,
            redact_snaps: Some(vec![1, 2]),
            book_redact_snaps: None,
            rest: [(c"later", 5_u64)].into_iter().collect(),
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let text = token().to_string();
        assert_eq!(ResumeToken::parse(&text), Ok(token()));
        let full = ResumeToken {
            from_guid: None,
            redact_snaps: None,
            ..token()
        };
        assert_eq!(ResumeToken::parse(&full.to_string()), Ok(full));
    }

    #[test]
    fn every_changed_character_is_noticed() {
        let text = token().to_string();
        for at in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[at] = match changed[at] {
                b'0' => b'1',
                b'-' => b'0',
                _ => b'0',
            };
            let changed = String::from_utf8(changed).unwrap();
            // The checksum leaves out up to three bytes at the end, which are zlib's own.
            assert!(ResumeToken::parse(&changed).is_err(), "{at}: {changed}");
            assert!(ResumeToken::parse(&text[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn what_is_no_token() {
        let parse = |text: &str| ResumeToken::parse(text).unwrap_err();
        for text in [
            "",
            "-",
            "1-0-0",
            "1-0-0-0",
            "1-0-0-zz",
            "1-+0-0-",
            "1-0-0-00-",
            "é-0-0-00",
        ] {
            assert_eq!(parse(text), TokenError::Form, "{text:?}");
        }
        assert_eq!(parse("2-0-0-"), TokenError::Version(2));
        assert_eq!(
            parse("1-5-0-01000000"),
            TokenError::Checksum {
                computed: 1,
                stated: 5
            }
        );
        assert_eq!(parse(&"1".repeat(MAX_TOKEN_LEN + 1)), TokenError::TooLong);
        let foreign = [(c"toname", 1_u64)].into_iter().collect();
        assert_eq!(
            ResumeToken::from_list(foreign),
            Err(TokenError::Missing("toname"))
        );
    }

    /// Data that unfolds to far more than it says, or than there should ever be.
    #[test]
    fn bombs_are_not_unfolded() {
        let mut data = Vec::new();
        ZlibEncoder::new(
            std::io::repeat(0).take(20 << 20),
            flate2::Compression::best(),
        )
        .read_to_end(&mut data)
        .unwrap();
        let bomb = |len: u64| {
            let hex: String = data.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("1-{:x}-{len:x}-{hex}", checksum(&data))
        };
        for len in [0, 100, 20 << 20, u64::MAX] {
            assert_eq!(ResumeToken::parse(&bomb(len)), Err(TokenError::Length(len)));
        }
    }
}
