//! How the benchmarks measure and report.
//!
//! Not criterion: it measures one subject after the other, and on a busy emulated machine the
//! minutes differ more than the subjects do. Here the two sides of a comparison take turns call by
//! call, in the order A B B A and then B A A B, so that drift and the state that a call leaves to
//! the next one fall on both alike; each such round gives one ratio, and the median of the ratios
//! is the result. Absolute times of an emulated machine mean nothing.

pub(crate) mod baseline;
pub(crate) mod clock;
pub(crate) mod pool;
mod report;

use std::time::{Duration, Instant};

pub(crate) use report::{Report, Unit};

pub(crate) type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// What one call costs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    pub(crate) wall: Duration,
    /// User and system time of the calling thread and of the processes that it started.
    pub(crate) cpu: Duration,
}

impl Cost {
    fn mean(self, other: Self) -> Self {
        Self {
            wall: (self.wall + other.wall) / 2,
            cpu: (self.cpu + other.cpu) / 2,
        }
    }
}

/// What a call of each side costs in one round.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pair {
    pub(crate) subject: Cost,
    pub(crate) baseline: Cost,
}

/// One side. Its turns are numbered.
pub(crate) struct Side<P, C> {
    /// Makes what the calls of a turn get, untimed.
    pub(crate) prepare: P,
    pub(crate) call: C,
}

/// A side, whatever its calls get.
pub(crate) trait Turn {
    /// What one of `calls` calls costs.
    fn take(&self, turn: usize, calls: u32) -> Result<Cost>;
}

impl<I, P, C> Turn for Side<P, C>
where
    P: Fn(usize) -> Result<I>,
    C: Fn(&I) -> Result<()>,
{
    fn take(&self, turn: usize, calls: u32) -> Result<Cost> {
        let input = (self.prepare)(turn)?;
        let cpu = baseline::cpu_time()?;
        let start = Instant::now();
        for _ in 0..calls {
            (self.call)(&input)?;
        }
        let wall = start.elapsed();
        Ok(Cost {
            wall: wall / calls,
            cpu: (baseline::cpu_time()? - cpu) / calls,
        })
    }
}

/// How long to go on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rounds {
    /// Rounds that count; one more before them warms up.
    most: usize,
    /// After this time a comparison ends early, so that a slow machine gives a result as well.
    enough: Duration,
}

impl Rounds {
    const FEWEST: usize = 5;

    /// `most` rounds, or what fits into `enough` time; `HELIX_ZFS_BENCH_ROUNDS` stands in for both.
    pub(crate) fn new(most: usize, enough: Duration) -> Result<Self> {
        const VARIABLE: &str = "HELIX_ZFS_BENCH_ROUNDS";
        match std::env::var(VARIABLE) {
            Err(_) => Ok(Self { most, enough }),
            Ok(text) => match text.parse() {
                Ok(most) if most > 0 => Ok(Self {
                    most,
                    enough: Duration::MAX,
                }),
                _ => Err(format!("{VARIABLE} is a number of rounds, and not {text:?}").into()),
            },
        }
    }

    /// Measures each round after the one that warms up, until it is enough.
    pub(crate) fn measure<T>(self, mut round: impl FnMut(usize) -> Result<T>) -> Result<Vec<T>> {
        let start = Instant::now();
        round(0)?;
        let mut measured = Vec::with_capacity(self.most);
        while measured.len() < self.most
            && (measured.len() < Self::FEWEST || start.elapsed() <= self.enough)
        {
            measured.push(round(measured.len() + 1)?);
        }
        Ok(measured)
    }

    /// For calls that take `times` as long.
    pub(crate) fn fewer(self, times: usize) -> Self {
        Self {
            most: self.most.div_ceil(times),
            ..self
        }
    }
}

/// Measures two sides, each with `calls` calls in a turn.
pub(crate) fn compare(
    rounds: Rounds,
    calls: u32,
    subject: &impl Turn,
    baseline: &impl Turn,
) -> Result<Vec<Pair>> {
    let start = Instant::now();
    let mut pairs = Vec::with_capacity(rounds.most);
    for round in 0..=rounds.most {
        let pair = if round % 2 == 0 {
            let (subject, baseline) = a_b_b_a(round, calls, subject, baseline)?;
            Pair { subject, baseline }
        } else {
            let (baseline, subject) = a_b_b_a(round, calls, baseline, subject)?;
            Pair { subject, baseline }
        };
        if round > 0 {
            pairs.push(pair);
        }
        if pairs.len() >= Rounds::FEWEST && start.elapsed() > rounds.enough {
            break;
        }
    }
    Ok(pairs)
}

fn a_b_b_a(round: usize, calls: u32, a: &impl Turn, b: &impl Turn) -> Result<(Cost, Cost)> {
    let turn = 4 * round;
    let a_first = a.take(turn, calls)?;
    let b_first = b.take(turn + 1, calls)?;
    let b_second = b.take(turn + 2, calls)?;
    let a_second = a.take(turn + 3, calls)?;
    Ok((a_first.mean(a_second), b_first.mean(b_second)))
}
