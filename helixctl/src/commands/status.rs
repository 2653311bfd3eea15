//! `helixctl status`.

use clap::Args;
use helix_zfs::zfs_core::pool::{PoolReport, VdevClass, VdevKind};
use helix_zfs::zfs_core::{Health, Pool, Vdev};
use serde::Serialize;

use crate::answer::{Answer, Rows};
use crate::console::Console;
use crate::failure::{Exit, Failure};
use crate::quantity::show_bytes;

/// `helixctl status`.
#[derive(Debug, Args)]
pub(crate) struct Status {
    /// Only these pools, with their devices.
    pools: Vec<String>,
    /// A pool counts as nearly full from this many percent on.
    #[arg(long, default_value_t = 80, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(1..=100))]
    full_at: u8,
}

#[derive(Debug, Serialize)]
struct PoolJson {
    name: String,
    healthy: bool,
    /// Whether it is fuller than the threshold.
    nearly_full: bool,
    size: u64,
    allocated: u64,
    percent: u8,
    report: PoolReport,
}

impl PoolJson {
    fn read(pool: &Pool, full_at: u8) -> Result<Self, Failure> {
        let report = pool.report()?;
        let stats = report.status.root.stats.as_ref();
        let (size, allocated) = stats.map_or((0, 0), |stats| (stats.size, stats.allocated));
        let percent = match size {
            0 => 0,
            size => u128::from(allocated) * 100 / u128::from(size),
        };
        let percent = u8::try_from(percent).unwrap_or(100);
        Ok(Self {
            name: pool.name().as_str().to_owned(),
            healthy: report.status.health == Health::Online && !report.advice.code.is_problem(),
            nearly_full: percent >= full_at,
            size,
            allocated,
            percent,
            report,
        })
    }
}

impl Status {
    pub(crate) fn run(self, console: &Console) -> Result<Answer, Failure> {
        let zfs = console.zfs()?;
        let mut pools = Vec::new();
        match self.pools.is_empty() {
            true => {
                for entry in zfs.pools()? {
                    match entry.pool.exists() {
                        Ok(false) => {}
                        _ => pools.push(entry.pool),
                    }
                }
            }
            false => {
                for name in &self.pools {
                    pools.push(zfs.pool(name)?);
                }
            }
        }
        let mut told = Vec::new();
        for pool in &pools {
            match PoolJson::read(pool, self.full_at) {
                // Exported since the list was made.
                Err(failure) if self.pools.is_empty() && failure.exit == Exit::NotFound => {}
                result => told.push(result?),
            }
        }
        let well = told.iter().all(|pool| pool.healthy && !pool.nearly_full);
        let mut text = overview(&told);
        if !self.pools.is_empty() {
            for pool in &told {
                text += "\n";
                text += &devices(pool);
            }
        }
        for pool in told.iter().filter(|pool| !pool.healthy) {
            text += &remarks(pool);
        }
        let exit = if well { Exit::Done } else { Exit::Attention };
        Ok(Answer::new(&told, text)?.ended(exit))
    }
}

fn overview(pools: &[PoolJson]) -> String {
    let mut rows = Rows::new(
        &["POOL", "HEALTH", "SIZE>", "USED>", "FULL>", "ERRORS>"],
        "no pools",
    );
    for pool in pools {
        let status = &pool.report.status;
        rows.row([
            pool.name.clone(),
            status.health.to_string(),
            show_bytes(pool.size),
            show_bytes(pool.allocated),
            format!("{}%", pool.percent),
            crate::answer::or_dash(status.error_count),
        ]);
    }
    rows.text()
}

/// What is the matter with a pool, and what to do.
fn remarks(pool: &PoolJson) -> String {
    let code = pool.report.advice.code;
    let mut text = String::new();
    for (word, said) in [
        ("status", code.status()),
        ("action", code.action()),
        ("see", &code.url().unwrap_or_default()),
    ] {
        if !said.is_empty() {
            text += &format!("\n{}: {word}: {said}", pool.name);
        }
    }
    if !text.is_empty() {
        text.push('\n');
    }
    text
}

fn devices(pool: &PoolJson) -> String {
    let status = &pool.report.status;
    let mut rows = Rows::new(
        &[
            "DEVICE", "CLASS", "HEALTH", "USED>", "READ>", "WRITE>", "CKSUM>",
        ],
        "no devices",
    );
    let mut waiting: Vec<(usize, &Vdev)> = status
        .caches
        .iter()
        .chain(&status.spares)
        .rev()
        .map(|vdev| (1, vdev))
        .collect();
    waiting.push((0, &status.root));
    while let Some((depth, vdev)) = waiting.pop() {
        // What is left of removed vdevs.
        if matches!(vdev.kind, VdevKind::Hole | VdevKind::Indirect) {
            continue;
        }
        let name = match depth {
            0 => pool.name.clone(),
            _ => vdev.to_string(),
        };
        let class = match vdev.class {
            VdevClass::Data => "data",
            VdevClass::Log => "log",
            VdevClass::Cache => "cache",
            VdevClass::Spare => "spare",
            VdevClass::Special => "special",
            VdevClass::Dedup => "dedup",
            _ => "-",
        };
        let stats = vdev
            .stats
            .as_ref()
            .filter(|_| vdev.class != VdevClass::Spare);
        let figure = |of: fn(&helix_zfs::zfs_core::pool::VdevStats) -> u64| {
            crate::answer::or_dash(stats.map(of))
        };
        let used = stats.filter(|stats| stats.size > 0);
        rows.row([
            format!("{}{name}", "  ".repeat(depth)),
            class.to_owned(),
            vdev.health().to_string(),
            crate::answer::or_dash(used.map(|stats| show_bytes(stats.allocated))),
            figure(|stats| stats.read_errors),
            figure(|stats| stats.write_errors),
            figure(|stats| stats.checksum_errors),
        ]);
        waiting.extend(vdev.children.iter().rev().map(|child| (depth + 1, child)));
    }
    rows.text()
}
