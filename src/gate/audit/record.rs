use std::fmt;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::{AuditHash, AuditMark};
use crate::gate::{Operation, rfc3339};

/// The longest line of a log, in bytes. Texts are cut so that none is longer.
pub(super) const MAX_LINE: usize = 64 << 10;

/// The longest text in a record, in characters.
const MAX_TEXT: usize = 1024;

/// What is between a record's content and its hash.
const HASH_KEY: &[u8] = b",\"hash\":\"";
const END: &[u8] = b"\"}";
const HASH_LEN: usize = 64;

/// What a record is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum AuditKind {
    /// The log begins. Its reason is a random number, which tells the log from others.
    Begin,
    /// A capability was given out.
    Grant,
    /// A capability was used.
    Use,
    /// A capability was not given out, or did not cover what was to be done with it.
    Refusal,
    /// A job came to its end, as the reason says.
    End,
    /// What comes before was not written to its end, and is not part of the log: a process or the
    /// machine died. Its reason says how long it is, and its hash.
    Torn,
}

impl AuditKind {
    /// Its name in records.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Begin => "begin",
            Self::Grant => "grant",
            Self::Use => "use",
            Self::Refusal => "refusal",
            Self::End => "end",
            Self::Torn => "torn",
        }
    }
}

impl fmt::Display for AuditKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What is to be put on record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEvent {
    /// What it is a record of.
    pub kind: AuditKind,
    /// What was to be done.
    pub operation: Option<Operation>,
    /// With what.
    pub object: Option<String>,
    /// By whom.
    pub actor: Option<String>,
    /// For which job.
    pub job: Option<String>,
    /// Why, or why not.
    pub reason: Option<String>,
}

impl AuditEvent {
    /// An event of which nothing else is known.
    #[must_use]
    pub fn new(kind: AuditKind) -> Self {
        Self {
            kind,
            operation: None,
            object: None,
            actor: None,
            job: None,
            reason: None,
        }
    }
}

/// A record of an [`AuditLog`](super::AuditLog): a line of the file, whose hash is right.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct AuditRecord {
    /// Its number. The first record of a log has 1, each further one is greater by 1.
    pub seq: u64,
    /// When it was written.
    #[serde(with = "rfc3339")]
    pub time: SystemTime,
    /// What it is a record of.
    pub kind: AuditKind,
    /// What was to be done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<Operation>,
    /// With what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// By whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// For which job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// Why, or why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The hash of the record before.
    pub previous: AuditHash,
    /// Its own hash: that of its line, from the beginning to what comes before `,"hash"`.
    pub hash: AuditHash,
}

/// The part of a record that its hash is of, in the order in which it is written.
#[derive(Serialize)]
struct Content<'a> {
    seq: u64,
    #[serde(with = "rfc3339")]
    time: SystemTime,
    kind: AuditKind,
    #[serde(skip_serializing_if = "Option::is_none")]
    operation: Option<Operation>,
    #[serde(skip_serializing_if = "Option::is_none")]
    object: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    job: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    previous: AuditHash,
}

fn cut(text: Option<&String>) -> Option<&str> {
    let text = text?;
    match text.char_indices().nth(MAX_TEXT) {
        Some((end, _)) => text.get(..end),
        None => Some(text),
    }
}

/// Writes the record that follows `before` to the end of `to`, with its newline.
pub(super) fn write(
    event: &AuditEvent,
    before: AuditMark,
    time: SystemTime,
    to: &mut Vec<u8>,
) -> Result<AuditMark, serde_json::Error> {
    let seq = before.seq + 1;
    let mut line = serde_json::to_vec(&Content {
        seq,
        time,
        kind: event.kind,
        operation: event.operation,
        object: cut(event.object.as_ref()),
        actor: cut(event.actor.as_ref()),
        job: cut(event.job.as_ref()),
        reason: cut(event.reason.as_ref()),
        previous: before.hash,
    })?;
    // The brace at the end: the hash comes before it.
    line.pop();
    let hash = AuditHash::of(&line);
    to.append(&mut line);
    to.extend_from_slice(HASH_KEY);
    to.extend_from_slice(hash.to_string().as_bytes());
    to.extend_from_slice(END);
    to.push(b'\n');
    Ok(AuditMark { seq, hash })
}

/// The record of a line without its newline, if its hash is right.
pub(super) fn read(line: &[u8]) -> Option<AuditRecord> {
    let rest = line.strip_suffix(END)?;
    let (rest, digits) = rest.split_at_checked(rest.len().checked_sub(HASH_LEN)?)?;
    let content = rest.strip_suffix(HASH_KEY)?;
    let hash = AuditHash::of(content);
    if hash.to_string().as_bytes() != digits {
        return None;
    }
    let record: AuditRecord = serde_json::from_slice(line).ok()?;
    (record.hash == hash).then_some(record)
}

/// The reason of the record that follows `bytes`, which belong to no record.
pub(super) fn torn_reason(len: u64, hash: AuditHash) -> String {
    format!("{len} bytes, {hash}")
}
