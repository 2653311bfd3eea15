//! `helixctl quota`.

use std::time::{Duration, SystemTime};

use clap::{Args, Subcommand};
use helix_zfs::QuotaState;
use helix_zfs::gate::{Operation, Scope};
use helix_zfs::quota::{Fit, Forecast, History, Room, Sample, Thresholds, WatchEvent, Watcher};
use helix_zfs::quota::{set_owner_object_quota, set_owner_quota, set_properties};
use helix_zfs::zfs_core::props::{
    FilesystemLimit, PropertySet, Quota as Most, RefQuota, RefReservation, Reservation,
    SnapshotLimit,
};
use helix_zfs::zfs_core::{Dataset, Owner};
use serde::Serialize;
use serde_json::json;

use super::guard::datasets;
use crate::answer::{Answer, Rows};
use crate::console::{Console, Intent};
use crate::failure::{Exit, Failure};
use crate::quantity::{self, Limit, show_bytes, show_moment};

/// `helixctl quota`.
#[derive(Debug, Subcommand)]
pub(crate) enum Quota {
    /// How much can be written, and which limit binds.
    Show(Show),
    /// Sets quotas, reservations and limits.
    Set(Set),
    /// Sets the quota of a user, a group or a project in a filesystem.
    Owner(OwnerQuota),
    /// Tells when datasets pass thresholds, until it is ended.
    Watch(Watch),
    /// When a dataset will be full, if it grows on as it did.
    Forecast(Prediction),
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
    /// Whether so many bytes more can be written; exit status 9 says that they surely cannot, or
    /// that they may not.
    #[arg(long, value_name = "SIZE", value_parser = quantity::bytes)]
    fits: Option<u64>,
    /// For files of this user, by number. Its quota is a limit too.
    #[arg(long, value_name = "UID")]
    user: Option<u32>,
    /// For files of this group, by number.
    #[arg(long, value_name = "GID")]
    group: Option<u32>,
    /// For files of this project, by number.
    #[arg(long, value_name = "NUMBER")]
    project: Option<u32>,
    /// All limits of each dataset, and not only the one that binds.
    #[arg(long)]
    all: bool,
}

/// `helixctl quota owner`.
#[derive(Debug, Args)]
pub(crate) struct OwnerQuota {
    /// The filesystem.
    dataset: String,
    #[command(flatten)]
    owner: OwnerArguments,
    /// The most bytes, or `none`.
    #[arg(long, value_name = "SIZE", value_parser = quantity::limit, required_unless_present = "objects")]
    bytes: Option<Limit>,
    /// The most files and directories, or `none`.
    #[arg(long, value_name = "NUMBER", value_parser = quantity::count)]
    objects: Option<Limit>,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct OwnerArguments {
    /// A user, by number.
    #[arg(long, value_name = "UID")]
    user: Option<u32>,
    /// A group, by number.
    #[arg(long, value_name = "GID")]
    group: Option<u32>,
    /// A project, by number.
    #[arg(long, value_name = "NUMBER")]
    project: Option<u32>,
}

/// `helixctl quota watch`.
#[derive(Debug, Args)]
pub(crate) struct Watch {
    /// The datasets.
    #[arg(required = true)]
    datasets: Vec<String>,
    /// All below them too.
    #[arg(long, short)]
    recursive: bool,
    /// The percentages at which it tells.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "80,90",
        value_name = "PERCENT"
    )]
    thresholds: Vec<u8>,
    /// By how many percent a dataset must fall below a threshold to have left it.
    #[arg(long, default_value_t = 5, value_name = "PERCENT")]
    hysteresis: u8,
    /// How often it looks.
    #[arg(long, default_value = "10s", value_name = "TIME", value_parser = quantity::duration)]
    every: Duration,
    /// Ends after it has looked so many times. The exit status is 9 when a threshold is passed then.
    #[arg(long, value_name = "NUMBER")]
    looks: Option<u64>,
}

/// `helixctl quota forecast`.
#[derive(Debug, Args)]
pub(crate) struct Prediction {
    /// The datasets.
    #[arg(required = true)]
    datasets: Vec<String>,
    /// All below them too.
    #[arg(long, short)]
    recursive: bool,
    /// Looks so many times now, rather than at what the snapshots referenced.
    #[arg(long, value_name = "NUMBER")]
    looks: Option<u64>,
    /// How often it looks.
    #[arg(long, default_value = "10s", value_name = "TIME", value_parser = quantity::duration)]
    every: Duration,
    /// A dataset that fills within this time needs attention.
    #[arg(long, default_value = "7d", value_name = "TIME", value_parser = quantity::duration)]
    within: Duration,
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
    quota: Option<Limit>,
    /// The most bytes that it references itself, or `none`.
    #[arg(long, value_name = "SIZE", value_parser = quantity::limit)]
    refquota: Option<Limit>,
    /// The bytes that it and all below it are sure to get, or `none`.
    #[arg(long, value_name = "SIZE", value_parser = quantity::limit)]
    reservation: Option<Limit>,
    /// The bytes that it is sure to get itself, or `none`.
    #[arg(long, value_name = "SIZE", value_parser = quantity::limit)]
    refreservation: Option<Limit>,
    /// The most datasets below it, or `none`.
    #[arg(long, value_name = "NUMBER", value_parser = quantity::count)]
    filesystem_limit: Option<Limit>,
    /// The most snapshots of it and all below it, or `none`.
    #[arg(long, value_name = "NUMBER", value_parser = quantity::count)]
    snapshot_limit: Option<Limit>,
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
            if let Some(Limit(size)) = size {
                let shown = size.map_or_else(|| String::from("none"), show_bytes);
                words.push(format!("{name} to {shown}"));
            }
        }
        let counts = [
            ("filesystem_limit", self.filesystem_limit),
            ("snapshot_limit", self.snapshot_limit),
        ];
        for (name, count) in counts {
            if let Some(Limit(count)) = count {
                let shown = count.map_or_else(|| String::from("none"), |count| count.to_string());
                words.push(format!("{name} to {shown}"));
            }
        }
        if let Some(Limit(bytes)) = self.quota {
            props = props.set(Most::from(bytes));
        }
        if let Some(Limit(bytes)) = self.refquota {
            props = props.set(RefQuota::from(bytes));
        }
        if let Some(Limit(bytes)) = self.reservation {
            props = props.set(Reservation::from(bytes));
        }
        if let Some(Limit(bytes)) = self.refreservation {
            props = props.set(RefReservation::from(bytes));
        }
        if let Some(Limit(count)) = self.filesystem_limit {
            props = props.set(FilesystemLimit::from(count));
        }
        if let Some(Limit(count)) = self.snapshot_limit {
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
    state: QuotaState,
    fits: Option<Fit>,
    files_left: Option<u64>,
    room: Room,
}

impl Quota {
    pub(crate) fn run(self, console: &Console) -> Result<Answer, Failure> {
        match self {
            Self::Show(show) => show.run(console),
            Self::Set(set) => set.run(console),
            Self::Owner(owner) => owner.run(console),
            Self::Watch(watch) => watch.run(console),
            Self::Forecast(prediction) => prediction.run(console),
        }
    }
}

fn owners(user: Option<u32>, group: Option<u32>, project: Option<u32>) -> Vec<Owner> {
    [
        user.map(Owner::User),
        group.map(Owner::Group),
        project.map(Owner::Project),
    ]
    .into_iter()
    .flatten()
    .collect()
}

impl Show {
    fn run(self, console: &Console) -> Result<Answer, Failure> {
        let zfs = console.zfs()?;
        let owners = owners(self.user, self.group, self.project);
        let mut found = Vec::new();
        for dataset in datasets(&zfs, &self.datasets, self.recursive)? {
            let room = Room::for_owners(&dataset, &owners)?;
            found.push(RoomJson {
                dataset: dataset.name().to_string(),
                used: room.used(),
                available: room.available(),
                percent: room.percent(),
                limit: room.limit().to_string(),
                state: room.state(self.threshold),
                fits: self.fits.map(|bytes| room.would_fit(bytes)),
                files_left: room.files_left(),
                room,
            });
        }
        let well = found.iter().all(|room| match &room.fits {
            Some(fit) => *fit == Fit::Yes,
            None => room.state == QuotaState::Ok,
        });
        let exit = if well { Exit::Done } else { Exit::Attention };
        Ok(Answer::new(&found, self.page(&found))?.ended(exit))
    }

    fn page(&self, found: &[RoomJson]) -> String {
        let mut rows = Rows::new(
            &["DATASET", "USED>", "AVAILABLE>", "FULL>", "LIMIT", "STATE"],
            "no datasets",
        );
        for room in found {
            rows.row([
                room.dataset.clone(),
                show_bytes(room.used),
                show_bytes(room.available),
                format!("{}%", room.percent),
                room.limit.clone(),
                room.state.to_string(),
            ]);
            let others = room.room.bounds().iter().skip(1).filter(|_| self.all);
            for bound in others {
                rows.row([
                    String::new(),
                    show_bytes(bound.used),
                    show_bytes(bound.available),
                    format!("{}%", bound.percent()),
                    bound.limit.to_string(),
                    String::new(),
                ]);
            }
        }
        let mut text = rows.text();
        for room in found {
            let name = &room.dataset;
            text += &match (&room.fits, self.fits.map(show_bytes)) {
                (Some(Fit::Yes), Some(size)) => format!("{name}: {size} fit\n"),
                (Some(Fit::Tight { limit }), Some(size)) => {
                    format!("{name}: {size} may not fit, with what keeps them: {limit}\n")
                }
                (Some(Fit::No { limit, missing }), Some(size)) => format!(
                    "{name}: {size} do not fit, {} are missing: {limit}\n",
                    show_bytes(*missing)
                ),
                _ => String::new(),
            };
            if !self.all {
                continue;
            }
            for (what, count) in [
                ("snapshots", room.room.snapshots()),
                ("datasets", room.room.filesystems()),
            ] {
                if let Some(count) = count {
                    text += &format!(
                        "{name}: {} of {} {what} of {}\n",
                        count.count, count.limit, count.dataset
                    );
                }
            }
        }
        text
    }
}

impl OwnerQuota {
    fn run(self, console: &Console) -> Result<Answer, Failure> {
        let zfs = console.zfs()?;
        let dataset = zfs.dataset(&self.dataset)?;
        dataset.stat()?;
        let arguments = &self.owner;
        let owners = owners(arguments.user, arguments.group, arguments.project);
        let Some(owner) = owners.first() else {
            return Err(Failure::usage("say --user, --group or --project"));
        };
        let intent = Intent::new().change(format!("set the quota of {owner} in {}", self.dataset));
        if let Some(answer) = console.before(&intent)? {
            return Ok(answer);
        }
        let scope = Scope::below(dataset.name());
        console.job(&zfs, Operation::SetProperties, scope, |capability| {
            if let Some(Limit(bytes)) = self.bytes {
                set_owner_quota(capability, &dataset, owner, bytes)?;
            }
            if let Some(Limit(objects)) = self.objects {
                set_owner_object_quota(capability, &dataset, owner, objects)?;
            }
            Ok::<(), helix_zfs::Error>(())
        })?;
        let space = dataset.owner_space(owner)?;
        let shown = space.quota.map_or_else(|| String::from("none"), show_bytes);
        Answer::new(
            &json!({
                "dataset": self.dataset,
                "owner": owner.to_string(),
                "used": space.used,
                "quota": space.quota,
                "objects": space.objects,
                "object_quota": space.object_quota,
            }),
            format!(
                "{}: {owner}: quota {shown}, {} used\n",
                self.dataset,
                show_bytes(space.used)
            ),
        )
    }
}

#[derive(Debug, Serialize)]
struct EventJson {
    dataset: String,
    event: &'static str,
    at: String,
    from: Option<u8>,
    to: Option<u8>,
    used: Option<u64>,
    available: Option<u64>,
    percent: Option<u8>,
    limit: Option<String>,
    fills_at: Option<String>,
    error: Option<String>,
}

impl EventJson {
    fn of(event: &WatchEvent) -> Option<Self> {
        let mut told = Self {
            dataset: String::new(),
            event: "found",
            at: show_moment(SystemTime::now()),
            from: None,
            to: None,
            used: None,
            available: None,
            percent: None,
            limit: None,
            fills_at: None,
            error: None,
        };
        match event {
            WatchEvent::Crossed { crossing, room } => {
                told.dataset = room.dataset().to_string();
                told.event = if crossing.is_worse() {
                    "passed"
                } else {
                    "left"
                };
                (told.from, told.to) = (crossing.from, crossing.to);
                (told.used, told.available) = (Some(room.used()), Some(room.available()));
                told.percent = Some(room.percent());
                told.limit = Some(room.limit().to_string());
            }
            WatchEvent::Lost { dataset, error } => {
                told.dataset = dataset.to_string();
                told.event = "lost";
                told.error = Some(error.to_string());
            }
            WatchEvent::Found { dataset } => told.dataset = dataset.to_string(),
            _ => return None,
        }
        Some(told)
    }

    fn text(&self) -> String {
        let name = &self.dataset;
        let figures = || {
            let limit = self.limit.as_deref().unwrap_or_default();
            let left = self.available.map(show_bytes).unwrap_or_default();
            let percent = self.percent.unwrap_or_default();
            let full = self.fills_at.as_ref();
            let full = full
                .map(|when| format!(", full at {when}"))
                .unwrap_or_default();
            format!("{percent}% of the {limit}, {left} left{full}")
        };
        match (self.event, &self.error) {
            ("passed", _) => format!(
                "{name} passed {}%: {}",
                self.to.unwrap_or_default(),
                figures()
            ),
            ("left", _) => format!(
                "{name} is below {}%: {}",
                self.from.unwrap_or_default(),
                figures()
            ),
            (_, Some(error)) => format!("{name}: {error}"),
            _ => format!("{name} is there again"),
        }
    }
}

impl Watch {
    fn run(self, console: &Console) -> Result<Answer, Failure> {
        let zfs = console.zfs()?;
        let thresholds = Thresholds::new(&self.thresholds)
            .map_err(|error| Failure::usage(error.to_string()))?
            .hysteresis(self.hysteresis);
        let mut watcher = Watcher::new(thresholds);
        let watched = datasets(&zfs, &self.datasets, self.recursive)?;
        for dataset in &watched {
            dataset.stat()?;
            watcher.watch(dataset.clone());
        }
        let mut passed = std::collections::BTreeMap::new();
        let mut looks = 0;
        loop {
            let events: Vec<EventJson> = watcher
                .poll()
                .filter_map(|event| EventJson::of(&event))
                .collect();
            for mut event in events {
                let forecast = watched
                    .iter()
                    .find(|dataset| dataset.name().as_str() == event.dataset)
                    .and_then(|dataset| watcher.forecast(dataset.name()));
                event.fills_at = forecast
                    .and_then(|forecast| forecast.fills_at)
                    .map(show_moment);
                console.event(&event, &event.text())?;
                match event.event {
                    "passed" | "left" => passed.insert(event.dataset, event.to),
                    _ => None,
                };
            }
            looks += 1;
            if self.looks.is_some_and(|most| looks >= most) {
                break;
            }
            std::thread::sleep(self.every);
        }
        passed.retain(|_, to| to.is_some());
        let exit = if passed.is_empty() {
            Exit::Done
        } else {
            Exit::Attention
        };
        Ok(Answer::new(&json!({ "looks": looks, "passed": passed }), "")?.ended(exit))
    }
}

#[derive(Debug, Serialize)]
struct ForecastJson {
    dataset: String,
    forecast: Option<Forecast>,
}

impl Prediction {
    fn run(self, console: &Console) -> Result<Answer, Failure> {
        let zfs = console.zfs()?;
        let datasets = datasets(&zfs, &self.datasets, self.recursive)?;
        let forecasts = match self.looks {
            Some(looks) => by_looking(&datasets, looks, self.every)?,
            None => datasets
                .iter()
                .map(Forecast::from_snapshots)
                .collect::<Result<Vec<_>, _>>()?,
        };
        let mut rows = Rows::new(
            &[
                "DATASET",
                "GROWTH A DAY>",
                "FILLS AT",
                "EARLIEST",
                "CONFIDENCE",
            ],
            "no datasets",
        );
        let soon = SystemTime::now().checked_add(self.within);
        let mut exit = Exit::Done;
        let mut told = Vec::new();
        for (dataset, forecast) in datasets.iter().zip(forecasts) {
            let moment =
                |moment: Option<SystemTime>| moment.map_or_else(|| String::from("-"), show_moment);
            let cells = match &forecast {
                None => [(); 4].map(|()| String::from("-")),
                Some(forecast) => {
                    if forecast.fills_at.is_some_and(|fills| Some(fills) <= soon) {
                        exit = Exit::Attention;
                    }
                    [
                        growth(forecast.rate),
                        moment(forecast.fills_at),
                        moment(forecast.earliest),
                        format!("{:?}", forecast.confidence).to_lowercase(),
                    ]
                }
            };
            let name = dataset.name().to_string();
            rows.row(std::iter::once(name.clone()).chain(cells));
            told.push(ForecastJson {
                dataset: name,
                forecast,
            });
        }
        Ok(Answer::new(&told, rows.text())?.ended(exit))
    }
}

/// Bytes a second as bytes a day.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "for people, and the cast saturates"
)]
fn growth(rate: f64) -> String {
    let a_day = rate * 86_400.0;
    let sign = if a_day <= -1.0 { "-" } else { "" };
    format!("{sign}{}", show_bytes(a_day.abs() as u64))
}

fn by_looking(
    datasets: &[Dataset],
    looks: u64,
    every: Duration,
) -> Result<Vec<Option<Forecast>>, Failure> {
    let mut histories: Vec<(History, u64)> =
        datasets.iter().map(|_| (History::default(), 0)).collect();
    for look in 0..looks {
        if look > 0 {
            std::thread::sleep(every);
        }
        for (dataset, (history, available)) in datasets.iter().zip(&mut histories) {
            let room = Room::of(dataset)?;
            history.push(Sample::now(&room));
            *available = room.available();
        }
    }
    Ok(histories
        .iter()
        .map(|(history, available)| Forecast::of(history.samples(), *available))
        .collect())
}

impl Set {
    fn run(self, console: &Console) -> Result<Answer, Failure> {
        let zfs = console.zfs()?;
        let dataset = zfs.dataset(&self.dataset)?;
        dataset.stat()?;
        let (props, words) = self.limits.properties();
        let mut intent = Intent::new();
        for word in &words {
            intent = intent.change(format!("set {} {word}", self.dataset));
        }
        if let Some(answer) = console.before(&intent)? {
            return Ok(answer);
        }
        let scope = Scope::below(dataset.name());
        console.job(&zfs, Operation::SetProperties, scope, |capability| {
            set_properties(capability, &dataset, &props)
        })?;
        Answer::new(
            &json!({ "dataset": self.dataset, "set": words }),
            format!("{}: {}\n", self.dataset, words.join(", ")),
        )
    }
}
