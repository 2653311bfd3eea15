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

/// How often each side has its turn in a round.
pub(crate) const TURNS: usize = 2;

/// One side: what it calls, and with what in its turns of a round.
pub(crate) struct Side<I, F> {
    pub(crate) inputs: [I; TURNS],
    pub(crate) call: F,
}

impl<I, F: Fn(&I) -> Result<()>> Side<I, F> {
    fn cost(&self, input: &I, calls: u32) -> Result<Cost> {
        let cpu = baseline::cpu_time()?;
        let start = Instant::now();
        for _ in 0..calls {
            (self.call)(input)?;
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

    /// For calls that take `times` as long.
    pub(crate) fn fewer(self, times: usize) -> Self {
        Self {
            most: self.most.div_ceil(times),
            ..self
        }
    }
}

/// Measures two sides, each with `calls` calls in a turn. `between` is called after each round,
/// untimed.
pub(crate) fn compare<S, B>(
    rounds: Rounds,
    calls: u32,
    subject: &Side<S, impl Fn(&S) -> Result<()>>,
    baseline: &Side<B, impl Fn(&B) -> Result<()>>,
    between: impl Fn() -> Result<()>,
) -> Result<Vec<Pair>> {
    let start = Instant::now();
    let mut pairs = Vec::with_capacity(rounds.most);
    for round in 0..=rounds.most {
        let pair = if round % 2 == 0 {
            let (subject, baseline) = in_turn(subject, baseline, calls)?;
            Pair { subject, baseline }
        } else {
            let (baseline, subject) = in_turn(baseline, subject, calls)?;
            Pair { subject, baseline }
        };
        between()?;
        if round > 0 {
            pairs.push(pair);
        }
        if pairs.len() >= Rounds::FEWEST && start.elapsed() > rounds.enough {
            break;
        }
    }
    Ok(pairs)
}

/// A B B A.
fn in_turn<A, B>(
    a: &Side<A, impl Fn(&A) -> Result<()>>,
    b: &Side<B, impl Fn(&B) -> Result<()>>,
    calls: u32,
) -> Result<(Cost, Cost)> {
    let a_first = a.cost(&a.inputs[0], calls)?;
    let b_first = b.cost(&b.inputs[0], calls)?;
    let b_second = b.cost(&b.inputs[1], calls)?;
    let a_second = a.cost(&a.inputs[1], calls)?;
    Ok((a_first.mean(a_second), b_first.mean(b_second)))
}
