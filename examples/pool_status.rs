//! Shows the pools of this machine, or one of them: what is the matter, what goes through it, its
//! devices as a tree, and damaged files.
//!
//! ```text
//! cargo run --example pool_status -- [--json] [POOL]
//! ```
//!
//! The exit status is 0 when every pool shown is healthy, 2 when one is not, and 1 on an error. It
//! needs no privileges but for the list of damaged files. Colours are for terminals, and off when
//! `NO_COLOR` is set. With `--json` it writes a line for each pool, in the form that the
//! documentation of `zfs_core::pool` describes.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for people"
)]

use std::error::Error;
use std::fmt::Write as _;
use std::io::IsTerminal;
use std::process::ExitCode;

use helix_zfs::zfs_core::pool::{
    CheckpointState, PoolReport, Progress, RebuildState, Repair, ScanFunction, ScanState,
    ScanStatus, VdevClass, VdevKind,
};
use helix_zfs::zfs_core::{ErrorKind, Health, PoolStatus, Vdev, Zfs};

const USAGE: &str = "usage: pool_status [--json] [POOL]";

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(2),
        Err(error) => {
            eprintln!("pool_status: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<bool, Box<dyn Error>> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let before = arguments.len();
    arguments.retain(|argument| argument != "--json");
    let json = arguments.len() < before;
    let zfs = Zfs::open()?;
    let (pools, listed) = match arguments.as_slice() {
        [] => (
            zfs.pools()?.into_iter().map(|entry| entry.pool).collect(),
            true,
        ),
        [name] if !name.starts_with('-') => (vec![zfs.pool(name)?], false),
        _ => return Err(USAGE.into()),
    };
    let mut healthy = true;
    for pool in &pools {
        let report = match pool.report() {
            // Exported since the list was made.
            Err(error) if listed && error.kind() == ErrorKind::NotFound => continue,
            report => report?,
        };
        healthy &= report.status.health == Health::Online && !report.advice.code.is_problem();
        if json {
            println!("{}", serde_json::to_string(&report)?);
        } else {
            print!("{}", Page::of(pool.name().as_str(), &report));
        }
    }
    Ok(healthy)
}

/// What is shown of a pool.
struct Page {
    text: String,
    colours: bool,
}

impl std::fmt::Display for Page {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

/// A line of the tree: its branches and name, and what it is about.
struct Line<'a> {
    label: String,
    vdev: Option<&'a Vdev>,
}

impl Page {
    fn of(name: &str, report: &PoolReport) -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let mut page = Self {
            text: String::new(),
            colours: wanted && std::io::stdout().is_terminal(),
        };
        let status = &report.status;
        let health = page.health(status.health, 0);
        page.line(&format!("{name}: {health}"));
        let advice = report.advice.code;
        page.field("status", advice.status());
        page.field("action", advice.action());
        page.field("see", &advice.url().unwrap_or_default());
        for text in activities(status) {
            page.field("doing", &text);
        }
        page.line("");
        page.tree(name, status);
        page.damage(report);
        page.line("");
        page
    }

    fn line(&mut self, text: &str) {
        self.text += text.trim_end();
        self.text.push('\n');
    }

    fn field(&mut self, name: &str, text: &str) {
        if !text.is_empty() {
            self.line(&format!("  {name:>6}: {text}"));
        }
    }

    fn tree(&mut self, name: &str, status: &PoolStatus) {
        let lines = lines(name, status);
        let width = lines.iter().map(|line| line.label.chars().count()).max();
        let width = width.unwrap_or_default().max(4);
        self.line(&format!(
            "  {:width$}  {:8} {:>9} {:>5} {:>5} {:>5} {:>5}",
            "NAME", "STATE", "USED", "READ", "WRITE", "CKSUM", "SLOW"
        ));
        for line in lines {
            let mut text = format!("  {:width$}", line.label);
            if let Some(vdev) = line.vdev {
                let _ = write!(
                    text,
                    "  {} {}",
                    self.health(vdev.health(), 8),
                    columns(vdev)
                );
                let remark = remark(vdev);
                if !remark.is_empty() {
                    let _ = write!(text, "  {}", self.paint("33", &remark));
                }
            }
            self.line(&text);
        }
    }

    fn damage(&mut self, report: &PoolReport) {
        let count = report.status.error_count.unwrap_or_default();
        match &report.error_log {
            Some(log) if log.is_empty() => {}
            Some(log) => {
                self.line("");
                let many = if log.len() == 1 { "file" } else { "files" };
                let title = self.paint("31", &format!("{} damaged {many}:", log.len()));
                self.line(&format!("  {title}"));
                for object in log {
                    self.line(&format!("    {object}"));
                }
            }
            None if count > 0 => {
                self.line("");
                let title = self.paint("31", &format!("{count} damaged blocks"));
                self.line(&format!("  {title} (root can see the files)"));
            }
            None => {}
        }
    }

    fn health(&self, health: Health, width: usize) -> String {
        let colour = match health {
            Health::Online | Health::Available | Health::InUse => "32",
            Health::Degraded | Health::Offline => "33",
            _ => "31",
        };
        self.paint(colour, &format!("{health:width$}"))
    }

    fn paint(&self, colour: &str, text: &str) -> String {
        match self.colours {
            true => format!("\x1b[{colour}m{text}\x1b[0m"),
            false => text.to_owned(),
        }
    }
}

/// The vdevs, one a line and with their branches.
fn lines<'a>(name: &str, status: &'a PoolStatus) -> Vec<Line<'a>> {
    let tops = |class| {
        status
            .root
            .children
            .iter()
            .filter(move |top| top.class == class)
    };
    let mut lines = vec![Line {
        label: name.to_owned(),
        vdev: Some(&status.root),
    }];
    branch(tops(VdevClass::Data).collect(), "", &mut lines);
    let special: [(&str, Vec<&Vdev>); 5] = [
        ("special", tops(VdevClass::Special).collect()),
        ("dedup", tops(VdevClass::Dedup).collect()),
        ("logs", tops(VdevClass::Log).collect()),
        ("caches", status.caches.iter().collect()),
        ("spares", status.spares.iter().collect()),
    ];
    for (title, vdevs) in special {
        if !vdevs.is_empty() {
            lines.push(Line {
                label: title.to_owned(),
                vdev: None,
            });
            branch(vdevs, "", &mut lines);
        }
    }
    lines
}

fn branch<'a>(mut vdevs: Vec<&'a Vdev>, before: &str, lines: &mut Vec<Line<'a>>) {
    // What is left of removed vdevs.
    vdevs.retain(|vdev| !matches!(vdev.kind, VdevKind::Hole | VdevKind::Indirect));
    let count = vdevs.len();
    for (index, vdev) in vdevs.into_iter().enumerate() {
        let (own, below) = match index + 1 == count {
            true => ("└─ ", "   "),
            false => ("├─ ", "│  "),
        };
        lines.push(Line {
            label: format!("{before}{own}{vdev}"),
            vdev: Some(vdev),
        });
        branch(
            vdev.children.iter().collect(),
            &format!("{before}{below}"),
            lines,
        );
    }
}

/// The figures of a vdev: how full it is, where it is known, and its errors.
fn columns(vdev: &Vdev) -> String {
    let Some(stats) = vdev
        .stats
        .as_ref()
        .filter(|_| vdev.class != VdevClass::Spare)
    else {
        return String::new();
    };
    let used = match (stats.allocated, stats.size) {
        (_, 0) => String::new(),
        (allocated, _) => size(allocated),
    };
    let slow = match vdev.children.is_empty() {
        true => stats.slow_ios.to_string(),
        false => String::from("-"),
    };
    format!(
        "{used:>9} {:>5} {:>5} {:>5} {slow:>5}",
        stats.read_errors, stats.write_errors, stats.checksum_errors
    )
}

/// What else is to be said of a vdev.
fn remark(vdev: &Vdev) -> String {
    let removing = vdev.stats.as_ref().is_some_and(|stats| stats.removing);
    let was = match &vdev.path {
        Some(path) if vdev.not_present => format!("was {}", path.display()),
        _ => vdev.aux.description().to_owned(),
    };
    let repair = match vdev.repair {
        Some(Repair::Resilvering) => "resilvering",
        Some(Repair::Repairing) => "repairing",
        Some(Repair::AwaitingResilver) => "awaits resilver",
        _ => "",
    };
    let parts = [was.as_str(), if removing { "leaving" } else { "" }, repair];
    let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    parts.join(", ")
}

/// What goes through the pool, or went through it.
fn activities(status: &PoolStatus) -> Vec<String> {
    let mut found = Vec::new();
    found.extend(status.scan.as_ref().map(scan));
    for top in &status.root.children {
        let rebuild = top
            .rebuild
            .as_ref()
            .filter(|it| it.state == RebuildState::Active);
        if let Some(progress) = rebuild.and_then(|it| it.progress) {
            found.push(format!("sequential resilver of {top}: {}", told(progress)));
        }
    }
    if let Some(progress) = status.removal.as_ref().and_then(|it| it.progress) {
        found.push(format!("removal: {}", told(progress)));
    }
    if let Some(progress) = status.expansion.as_ref().and_then(|it| it.progress) {
        found.push(format!("expansion: {}", told(progress)));
    }
    if let Some(checkpoint) = &status.checkpoint {
        let what = match checkpoint.state {
            CheckpointState::Discarding => "checkpoint is being discarded",
            _ => "checkpoint",
        };
        found.push(format!("{what}, {}", size(checkpoint.space)));
    }
    found
}

fn scan(scan: &ScanStatus) -> String {
    let what = match scan.function {
        ScanFunction::Resilver => "resilver",
        _ => "scrub",
    };
    let took = scan.end.unwrap_or(scan.start).saturating_sub(scan.start);
    match (scan.state, scan.progress) {
        (ScanState::Finished, _) => format!(
            "{what} ended after {}: {} repaired, {} errors",
            duration(took),
            size(scan.processed),
            scan.errors
        ),
        (ScanState::Canceled, _) => format!("{what} stopped after {}", duration(took)),
        (_, Some(progress)) if scan.paused.is_some() => {
            format!("{what} paused: {}", told(progress))
        }
        (_, Some(progress)) => format!("{what}: {}", told(progress)),
        _ => what.to_owned(),
    }
}

fn told(progress: Progress) -> String {
    let mut text = format!(
        "{} of {}, {:.1} %",
        size(progress.done),
        size(progress.total),
        100.0 * progress.fraction()
    );
    if let Some(rate) = progress.rate {
        let _ = write!(text, ", {}/s", size(rate));
    }
    if let Some(left) = progress.time_left {
        let _ = write!(text, ", {} left", duration(left));
    }
    text
}

/// A size with three digits and a unit.
#[allow(clippy::cast_precision_loss, reason = "for people")]
fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut value = bytes as f64;
    let mut unit = "B";
    for next in UNITS {
        if value < 999.5 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    match unit {
        "B" => format!("{bytes} B"),
        _ if value < 9.95 => format!("{value:.1} {unit}"),
        _ => format!("{value:.0} {unit}"),
    }
}

fn duration(seconds: u64) -> String {
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes}:{seconds:02} min"),
        (hours, minutes, _) => format!("{hours}:{minutes:02} h"),
    }
}
