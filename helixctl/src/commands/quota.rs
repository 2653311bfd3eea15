//! `helixctl quota`.

use clap::{Args, Subcommand};
use helix_zfs::zfs_core::props::{FilesystemLimit, SnapshotLimit};
use helix_zfs::zfs_core::props::{
    PropertySet, Quota as Most, RefQuota, RefReservation, Reservation,
};
use helix_zfs::{QuotaState, Room};
use serde::Serialize;
use serde_json::json;

use crate::answer::{Answer, Rows};
use crate::console::{Console, Intent};
use crate::failure::{Exit, Failure};
use crate::quantity::{self, show_bytes};

/// `helixctl quota`.
#[derive(Debug, Subcommand)]
pub(crate) enum Quota {
    /// How much can be written, and which limit binds.
    Show(Show),
    /// Sets quotas, reservations and limits.
    Set(Set),
}

/// `helixctl quota show`.
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// The datasets.
    #[arg(required = true)]
    datasets: Vec<String>,
    /// All below them too.
    #[arg(long, short)]
    recursive: bool,
    /// A dataset needs attention from this many percent on.
    #[arg(long, default_value_t = 80, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(1..=100))]
    threshold: u8,
}

/// `helixctl quota set`.
#[derive(Debug, Args)]
pub(crate) struct Set {
    /// The dataset.
    dataset: String,
    #[command(flatten)]
    limits: Limits,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
struct Limits {
    /// The most bytes for it and all below it, snapshots included, or `none`.
    #[arg(long, value_name = "SIZE", value_parser = quantity::limit)]
    quota: Option<Option<u64>>,
    /// The most bytes that it references itself, or `none`.
    #[arg(long, value_name = "SIZE", value_parser = quantity::limit)]
    refquota: Option<Option<u64>>,
    /// The bytes that it and all below it are sure to get, or `none`.
    #[arg(long, value_name = "SIZE", value_parser = quantity::limit)]
    reservation: Option<Option<u64>>,
    /// The bytes that it is sure to get itself, or `none`.
    #[arg(long, value_name = "SIZE", value_parser = quantity::limit)]
    refreservation: Option<Option<u64>>,
    /// The most datasets below it, or `none`.
    #[arg(long, value_name = "NUMBER", value_parser = quantity::count)]
    filesystem_limit: Option<Option<u64>>,
    /// The most snapshots of it and all below it, or `none`.
    #[arg(long, value_name = "NUMBER", value_parser = quantity::count)]
    snapshot_limit: Option<Option<u64>>,
}

impl Limits {
    /// The properties, and each in words.
    fn properties(&self) -> (PropertySet, Vec<String>) {
        let mut props = PropertySet::new();
        let mut words = Vec::new();
        let sizes = [
            ("quota", self.quota),
            ("refquota", self.refquota),
            ("reservation", self.reservation),
            ("refreservation", self.refreservation),
        ];
        for (name, size) in sizes {
            if let Some(size) = size {
                let shown = size.map_or_else(|| String::from("none"), show_bytes);
                words.push(format!("{name} to {shown}"));
            }
        }
        let counts = [
            ("filesystem_limit", self.filesystem_limit),
            ("snapshot_limit", self.snapshot_limit),
        ];
        for (name, count) in counts {
            if let Some(count) = count {
                let shown = count.map_or_else(|| String::from("none"), |count| count.to_string());
                words.push(format!("{name} to {shown}"));
            }
        }
        if let Some(bytes) = self.quota {
            props = props.set(Most::from(bytes));
        }
        if let Some(bytes) = self.refquota {
            props = props.set(RefQuota::from(bytes));
        }
        if let Some(bytes) = self.reservation {
            props = props.set(Reservation::from(bytes));
        }
        if let Some(bytes) = self.refreservation {
            props = props.set(RefReservation::from(bytes));
        }
        if let Some(count) = self.filesystem_limit {
            props = props.set(FilesystemLimit::from(count));
        }
        if let Some(count) = self.snapshot_limit {
            props = props.set(SnapshotLimit::from(count));
        }
        (props, words)
    }
}

#[derive(Debug, Serialize)]
struct RoomJson {
    dataset: String,
    used: u64,
    available: u64,
    percent: u8,
    limit: String,
    state: &'static str,
}

impl Quota {
    pub(crate) fn run(self, console: &Console) -> Result<Answer, Failure> {
        match self {
            Self::Show(show) => show.run(console),
            Self::Set(set) => set.run(console),
        }
    }
}

impl Show {
    fn run(self, console: &Console) -> Result<Answer, Failure> {
        let zfs = console.zfs()?;
        let mut found = Vec::new();
        for dataset in super::guard::datasets(&zfs, &self.datasets, self.recursive)? {
            let headroom = Room::of(&dataset)?;
            found.push(RoomJson {
                dataset: dataset.name().to_string(),
                used: headroom.used(),
                available: headroom.available(),
                percent: headroom.percent(),
                limit: headroom.limit().to_string(),
                state: match headroom.state(self.threshold) {
                    QuotaState::Ok => "ok",
                    QuotaState::Near => "near",
                    QuotaState::Exceeded => "exceeded",
                },
            });
        }
        let mut rows = Rows::new(
            &["DATASET", "USED>", "AVAILABLE>", "FULL>", "LIMIT", "STATE"],
            "no datasets",
        );
        for room in &found {
            rows.row([
                room.dataset.clone(),
                show_bytes(room.used),
                show_bytes(room.available),
                format!("{}%", room.percent),
                room.limit.clone(),
                room.state.to_owned(),
            ]);
        }
        let well = found.iter().all(|room| room.state == "ok");
        let exit = if well { Exit::Done } else { Exit::Attention };
        Ok(Answer::new(&found, rows.text())?.ended(exit))
    }
}

impl Set {
    fn run(self, console: &Console) -> Result<Answer, Failure> {
        let dataset = console.zfs()?.dataset(&self.dataset)?;
        dataset.stat()?;
        let (props, words) = self.limits.properties();
        let mut intent = Intent::new();
        for word in &words {
            intent = intent.change(format!("set {} {word}", self.dataset));
        }
        if let Some(answer) = console.before(&intent)? {
            return Ok(answer);
        }
        dataset.set_all(&props)?;
        Answer::new(
            &json!({ "dataset": self.dataset, "set": words }),
            format!("{}: {}\n", self.dataset, words.join(", ")),
        )
    }
}
