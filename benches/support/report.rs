//! The table and the JSON of the results.

use std::fs;
use std::time::Duration;

use super::{Cost, Pair, Result};

const JSON: &str = "HELIX_ZFS_BENCH_JSON";

/// What is measured; the other side is a row's baseline.
const SUBJECT: &str = "zfs-core";

/// What a row compares.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Unit {
    /// The time until a call returns.
    Wall,
    /// User and system CPU time of a call, with that of the processes that it starts.
    Cpu,
    /// CPU time of a call that the kernel answers at its door.
    OwnCpu,
    /// The time that half of many callers wait for at most.
    P50,
    /// The time that 99 of 100 callers wait for at most.
    P99,
    /// The time until the last of many callers has its answer: their number, by the throughput.
    All,
}

impl Unit {
    fn name(self) -> &'static str {
        match self {
            Self::Wall => "wall time",
            Self::Cpu => "CPU time",
            Self::OwnCpu => "CPU time outside the kernel",
            Self::P50 => "p50 of wall time",
            Self::P99 => "p99 of wall time",
            Self::All => "wall time of all",
        }
    }

    fn of(self, cost: Cost) -> Duration {
        match self {
            Self::Wall | Self::P50 | Self::P99 | Self::All => cost.wall,
            Self::Cpu | Self::OwnCpu => cost.cpu,
        }
    }
}

#[derive(Debug)]
struct Row {
    name: &'static str,
    baseline: &'static str,
    unit: Unit,
    goal: Option<f64>,
    subject_call: Sorted,
    baseline_call: Sorted,
    ratio: Sorted,
}

/// Figures in ascending order.
#[derive(Debug)]
struct Sorted(Vec<f64>);

impl Sorted {
    fn new(figures: impl Iterator<Item = f64>) -> Self {
        let mut figures: Vec<f64> = figures.collect();
        figures.sort_by(f64::total_cmp);
        Self(figures)
    }

    fn at(&self, rank: usize) -> f64 {
        let last = self.0.len().saturating_sub(1);
        self.0.get(rank.min(last)).copied().unwrap_or(f64::NAN)
    }

    fn median(&self) -> f64 {
        let len = self.0.len();
        f64::midpoint(self.at(len.saturating_sub(1) / 2), self.at(len / 2))
    }

    fn min(&self) -> f64 {
        self.at(0)
    }

    fn max(&self) -> f64 {
        self.at(usize::MAX)
    }

    /// Where the median of infinitely many rounds would be with a probability of 95 %: the ranks
    /// that are the square root of the number of rounds away from the middle.
    fn interval(&self) -> (f64, f64) {
        let (len, away) = (self.0.len(), self.0.len().isqrt());
        (
            self.at((len.saturating_sub(1) / 2).saturating_sub(away)),
            self.at(len / 2 + away),
        )
    }
}

impl Row {
    fn verdict(&self) -> String {
        let Some(goal) = self.goal else {
            return String::from("-");
        };
        let (low, high) = self.ratio.interval();
        let verdict = match self.ratio.median() <= goal {
            true => "met",
            false => "missed",
        };
        let noise = match low <= goal && goal < high {
            true => ", within noise",
            false => "",
        };
        format!("{goal:.2} {verdict}{noise}")
    }

    fn cells(&self) -> [String; 9] {
        let ratio = &self.ratio;
        let (low, high) = ratio.interval();
        [
            self.name.to_owned(),
            SUBJECT.to_owned(),
            self.baseline.to_owned(),
            format!(
                "{:.3} ({:.3}..{:.3})",
                ratio.median(),
                ratio.min(),
                ratio.max()
            ),
            format!("{low:.3}..{high:.3}"),
            ratio.0.len().to_string(),
            self.unit.name().to_owned(),
            self.verdict(),
            format!(
                "{:.3} / {:.3} ms",
                self.subject_call.median() * 1e3,
                self.baseline_call.median() * 1e3
            ),
        ]
    }

    /// The texts are names from the benchmarks' sources, for which Rust and JSON quote alike.
    fn json(&self) -> String {
        let ratio = &self.ratio;
        format!(
            "{{\"name\": {:?}, \"subject\": {:?}, \"baseline\": {:?}, \"ratio_median\": {:.4}, \
             \"ratio_min\": {:.4}, \"ratio_max\": {:.4}, \"n\": {}, \"unit\": {:?}}}",
            self.name,
            SUBJECT,
            self.baseline,
            ratio.median(),
            ratio.min(),
            ratio.max(),
            ratio.0.len(),
            self.unit.name()
        )
    }
}

const TITLES: [&str; 9] = [
    "name",
    "subject",
    "baseline",
    "ratio (min..max)",
    "median's 95 % range",
    "n",
    "unit",
    "goal",
    "medians of one call",
];

/// The results of a benchmark.
#[derive(Debug, Default)]
pub(crate) struct Report(Vec<Row>);

impl Report {
    /// Adds a row. `goal` is the ratio that should not be exceeded.
    pub(crate) fn add(
        &mut self,
        name: &'static str,
        baseline: &'static str,
        unit: Unit,
        goal: Option<f64>,
        pairs: &[Pair],
    ) {
        let costs = || {
            pairs.iter().map(|pair| {
                let seconds = |cost| unit.of(cost).as_secs_f64();
                (seconds(pair.subject), seconds(pair.baseline))
            })
        };
        let ratio = Sorted::new(costs().map(|(subject, baseline)| subject / baseline));
        eprintln!(
            "{name}, {baseline}, {}: {:.3} in {} rounds",
            unit.name(),
            ratio.median(),
            pairs.len()
        );
        self.0.push(Row {
            name,
            baseline,
            unit,
            goal,
            subject_call: Sorted::new(costs().map(|(subject, _)| subject)),
            baseline_call: Sorted::new(costs().map(|(_, baseline)| baseline)),
            ratio,
        });
    }

    /// How much longer the subject takes than the baseline by what it does outside the kernel
    /// alone, as far as the rows know: a figure that the noise of the kernel's share does not hide.
    fn print_added(&self, own: &Row) {
        let whole = |row: &&Row| {
            let same = row.name == own.name && row.baseline == own.baseline;
            same && matches!(row.unit, Unit::Wall)
        };
        let Some(whole) = self.0.iter().find(whole) else {
            return;
        };
        let added = own.subject_call.median() - own.baseline_call.median();
        println!(
            "{}: {:+.1} µs of CPU time outside the kernel in a call of {:.1} ms: {:+.3} % of its time",
            own.name,
            added * 1e6,
            whole.baseline_call.median() * 1e3,
            added / whole.baseline_call.median() * 100.0
        );
    }

    /// Prints the table, and writes the JSON where it is asked for.
    pub(crate) fn finish(&self) -> Result<()> {
        let mut lines = vec![TITLES.map(str::to_owned)];
        lines.extend(self.0.iter().map(Row::cells));
        let mut widths = [0; TITLES.len()];
        for line in &lines {
            for (width, cell) in widths.iter_mut().zip(line) {
                *width = (*width).max(cell.len());
            }
        }
        for line in &lines {
            let cells = line.iter().zip(widths);
            let cells: Vec<String> = cells
                .map(|(cell, width)| format!("{cell:width$}"))
                .collect();
            println!("{}", cells.join("  ").trim_end());
        }
        let own_cpu = |row: &&Row| matches!(row.unit, Unit::OwnCpu);
        for row in self.0.iter().filter(own_cpu) {
            self.print_added(row);
        }
        if let Some(path) = std::env::var_os(JSON) {
            let rows: Vec<String> = self.0.iter().map(Row::json).collect();
            fs::write(path, format!("[\n  {}\n]\n", rows.join(",\n  ")))?;
        }
        Ok(())
    }
}
