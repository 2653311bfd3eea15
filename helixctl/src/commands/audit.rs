//! `helixctl gate audit`.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::SystemTime;

use clap::Args;
use helix_zfs::gate::audit::{AuditAnchor, AuditKind, AuditLog, AuditRecord, AuditReport};
use helix_zfs::gate::{JobId, Operation};
use helix_zfs::zfs_core::DatasetName;

use crate::answer::{Answer, Rows, or_dash};
use crate::console::Console;
use crate::failure::{Exit, Failure};
use crate::gate::GateFolder;
use crate::quantity::{self, show_moment};

/// `helixctl gate audit`.
#[derive(Debug, Args)]
pub(crate) struct Audit {
    /// Whether the log is whole: each record's hash, that each follows the one before, and that the
    /// records that the histories of the pools name are there. Ends with status 9 if not.
    #[arg(long, conflicts_with = "filter")]
    verify: bool,
    /// Another log, such as a copy.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Compares with the histories of these pools only. It can be said several times.
    #[arg(long = "pool", value_name = "POOL", requires = "verify")]
    pools: Vec<String>,
    /// Compares with no history. Then it is not seen when the log's end was cut off.
    #[arg(long, requires = "verify", conflicts_with = "pools")]
    without_pools: bool,
    #[command(flatten)]
    filter: Filter,
}

/// Which records are shown.
#[derive(Debug, Args)]
#[group(id = "filter", multiple = true)]
struct Filter {
    /// Only these: begin, grant, use, refusal, end, torn. It can be said several times.
    #[arg(long = "kind", value_name = "KIND", value_parser = kind)]
    kinds: Vec<AuditKind>,
    /// Only those of this operation.
    #[arg(long, value_name = "OPERATION")]
    operation: Option<Operation>,
    /// Only those of this dataset and what lies below it, snapshots too.
    #[arg(long, value_name = "NAME")]
    object: Option<DatasetName>,
    /// Only those of this actor.
    #[arg(long, value_name = "NAME")]
    actor: Option<String>,
    /// Only those of this job.
    #[arg(long, value_name = "JOB")]
    job: Option<JobId>,
    /// Then or later: 2026-01-31T12:00:00Z, or 2h for two hours ago.
    #[arg(long, value_name = "MOMENT", value_parser = quantity::moment)]
    since: Option<SystemTime>,
    /// Then or earlier.
    #[arg(long, value_name = "MOMENT", value_parser = quantity::moment)]
    until: Option<SystemTime>,
    /// No more than the newest so many.
    #[arg(long, value_name = "NUMBER")]
    last: Option<usize>,
}

fn kind(text: &str) -> Result<AuditKind, String> {
    let kinds = [
        AuditKind::Begin,
        AuditKind::Grant,
        AuditKind::Use,
        AuditKind::Refusal,
        AuditKind::End,
        AuditKind::Torn,
    ];
    kinds
        .into_iter()
        .find(|kind| kind.name() == text)
        .ok_or_else(|| format!("no record is a {text:?}"))
}

impl Filter {
    fn shows(&self, record: &AuditRecord) -> bool {
        let below = |top: &DatasetName| {
            let object = record.object.as_deref();
            let name = object.and_then(|object| DatasetName::new(object).ok());
            name.is_some_and(|name| *top == name || top.is_ancestor_of(&name))
        };
        let job = self.job.as_ref().map(JobId::as_str);
        (self.kinds.is_empty() || self.kinds.contains(&record.kind))
            && (self.operation.is_none() || self.operation == record.operation)
            && self.object.as_ref().is_none_or(below)
            && (self.actor.is_none() || self.actor == record.actor)
            && (job.is_none() || job == record.job.as_deref())
            && self.since.is_none_or(|since| since <= record.time)
            && self.until.is_none_or(|until| record.time <= until)
    }
}

impl Audit {
    pub(crate) fn run(self, console: &Console, folder: &GateFolder) -> Result<Answer, Failure> {
        let path = self.file.clone().unwrap_or_else(|| folder.audit());
        if self.verify {
            let report = AuditLog::verify(&path, &self.anchors(console)?)?;
            return verdict(&report);
        }
        let mut records = VecDeque::new();
        for record in AuditLog::read(&path)? {
            let record = record?;
            if self.filter.shows(&record) {
                records.push_back(record);
            }
            if self.filter.last.is_some_and(|last| records.len() > last) {
                records.pop_front();
            }
        }
        let titles = [
            "RECORD>",
            "TIME",
            "KIND",
            "OPERATION",
            "OBJECT",
            "ACTOR",
            "JOB",
            "REASON",
        ];
        let mut rows = Rows::new(&titles, "no records");
        for record in &records {
            rows.row([
                record.seq.to_string(),
                show_moment(record.time),
                record.kind.to_string(),
                or_dash(record.operation),
                or_dash(record.object.as_deref()),
                or_dash(record.actor.as_deref()),
                or_dash(record.job.as_deref()),
                or_dash(record.reason.as_deref()),
            ]);
        }
        Answer::new(&records, rows.text())
    }

    fn anchors(&self, console: &Console) -> Result<Vec<AuditAnchor>, Failure> {
        let mut anchors = Vec::new();
        if self.without_pools {
            return Ok(anchors);
        }
        let zfs = console.zfs()?;
        if self.pools.is_empty() {
            for entry in zfs.pools()? {
                // Exported since the list was made: its history cannot be read.
                if entry.pool.exists()? {
                    anchors.extend(AuditAnchor::read(&entry.pool)?);
                }
            }
        }
        for name in &self.pools {
            anchors.extend(AuditAnchor::read(&zfs.pool(name)?)?);
        }
        Ok(anchors)
    }
}

fn verdict(report: &AuditReport) -> Result<Answer, Failure> {
    let mut text = format!(
        "{} records are in order, {} of which pools' histories name\n",
        report.records, report.anchors
    );
    if report.torn > 0 {
        text += &format!("{} times a process died while it wrote\n", report.torn);
    }
    if report.open_end {
        text += "its end was not written to the end\n";
    }
    if !report.others.is_empty() {
        text += &format!(
            "{} other logs are named there too: if there never was another, somebody has put this \
             one in its place\n",
            report.others.len()
        );
    }
    let answer = Answer::new(report, text)?;
    let Some(broken) = &report.broken else {
        return Ok(answer);
    };
    let at = broken.line.map_or_else(
        || String::from("at its end"),
        |line| format!("at line {line}"),
    );
    let message = format!(
        "the audit log is broken {at}, after record {}: {}",
        broken.after, broken.why
    );
    let failure = Failure::new(Exit::Attention, message)
        .advice("keep the file as it is, and compare it with a backup and `zpool history`");
    Ok(answer.failed(failure))
}
