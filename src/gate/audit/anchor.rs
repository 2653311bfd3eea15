use serde::Serialize;
use zfs_core::Pool;

use super::{AuditError, AuditHash, AuditMark};

/// What begins the part of a line in a pool's history that [`AuditAnchor::read`] looks for. Nothing
/// that another could choose comes before it.
const LOG: &str = "gate: audit-log=";

/// A record's number and hash as a pool's history has them, where nobody can change them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct AuditAnchor {
    /// Of which log: its [`id`](super::AuditLog::id).
    pub log: AuditHash,
    /// The record.
    pub mark: AuditMark,
    /// The number of the user who wrote the line. Everybody who may open `/dev/zfs` can write one.
    pub user: Option<u64>,
}

fn parse(line: &str) -> Option<(AuditHash, AuditMark)> {
    let (_, anchor) = line.split_once(LOG)?;
    let mut words = anchor.split([' ', ':']);
    let log = words.next()?.parse().ok()?;
    let seq = words.next()?.strip_prefix("record=")?.parse().ok()?;
    let hash = words.next()?.strip_prefix("hash=")?.parse().ok()?;
    Some((log, AuditMark { seq, hash }))
}

impl AuditAnchor {
    /// The anchors in the history of `pool`, of all logs, oldest first. The kernel overwrites the oldest
    /// lines when the history takes a thousandth of the pool.
    ///
    /// # Errors
    ///
    /// `Zfs`, as [`Pool::history`].
    ///
    /// # Privileges
    ///
    /// Root.
    pub fn read(pool: &Pool) -> Result<Vec<Self>, AuditError> {
        let mut anchors = Vec::new();
        for record in pool.history() {
            let record = record?;
            if let Some((log, mark)) = record.command().and_then(parse) {
                let user = record.user;
                anchors.push(Self { log, mark, user });
            }
        }
        Ok(anchors)
    }

    /// What a line in a pool's history begins with.
    pub(in crate::gate) fn words(log: AuditHash, mark: AuditMark) -> String {
        format!("{LOG}{log} record={} hash={}", mark.seq, mark.hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_again() {
        let log = AuditHash::of(b"log");
        let mark = AuditMark {
            seq: 7,
            hash: AuditHash::of(b"record"),
        };
        let words = AuditAnchor::words(log, mark);
        for line in [
            format!("helixd: {words}: use snapshot tank/a by alice (job 7)"),
            format!("helixd: {words}"),
        ] {
            assert_eq!(parse(&line), Some((log, mark)), "{line}");
        }
        for other in [
            "",
            "zfs snapshot tank/a@b",
            LOG,
            "helixd: gate: audit-log=0 record=1",
            &words.replace("record=", "record=x"),
        ] {
            assert_eq!(parse(other), None);
        }
    }
}
