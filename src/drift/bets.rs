//! Bets on where rows will stand once something has changed, and the evidence that they win.

use serde::{Deserialize, Serialize};

/// How strongly ranks lean to one end under the changes that are bet on: half a deviation of a bell curve is about 1.7.
const TILTS: [f64; 4] = [-2.5, -1.2, 1.2, 2.5];

/// Tails of a distribution that may gain rows, as shares of the reference, and the factors by which they do.
const TAILS: [(f64, f64); 2] = [(0.05, 3.0), (0.15, 2.0)];

/// Factors by which the rarer of two values may become more or less frequent.
const FACTORS: [f64; 4] = [0.4, 0.65, 1.6, 2.6];

/// How far from its share in the reference the rarer value's true share may lie: that of few rows is uncertain, and grows
/// with the rows that come after the change.
const SPREAD: [f64; 3] = [0.85, 1.1, 1.4];

/// No tail holds more than this after the change.
const TAIL_MAX: f64 = 0.9;

/// Values of a signal that is a yes or no.
const FEW_VALUES: usize = 2;

/// An end of the distribution.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
enum End {
    Low,
    High,
}

/// How ranks (0 to 1) are distributed if the bet is right. Its mean over even ranks is 1, so nobody wins on average
/// as long as nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
enum Density {
    /// Exponential: more at one end than at the other.
    Tilt { rate: f64 },
    /// A tail of the given mass holds `factor` times as much.
    Tail { end: End, mass: f64, factor: f64 },
}

impl Density {
    fn at(self, rank: f64) -> f64 {
        match self {
            Self::Tilt { rate } => rate * (rate * rank).exp() / rate.exp_m1(),
            Self::Tail { end, mass, factor } => {
                let from_end = match end {
                    End::Low => rank,
                    End::High => 1.0 - rank,
                };
                if from_end <= mass {
                    factor
                } else {
                    (1.0 - mass * factor) / (1.0 - mass)
                }
            }
        }
    }
}

/// One bet and its evidence.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Bet {
    density: Density,
    /// For a change that began with the first row of `since`.
    evidence: f64,
    since: Since,
}

/// What came since a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Since {
    /// The time of the first row, milliseconds since 1970.
    pub at_ms: i64,
    pub rows: u64,
    pub sum: f64,
}

impl Bet {
    fn new(density: Density) -> Self {
        Self {
            density,
            evidence: 0.0,
            since: Since::default(),
        }
    }

    fn observe(&mut self, rank: f64, at_ms: i64, value: f64) {
        // Page's: what speaks against a change is forgotten, since it may yet begin.
        if self.evidence <= 1.0 {
            self.evidence = 1.0;
            self.since = Since {
                at_ms,
                ..Since::default()
            };
        }
        self.evidence *= self.density.at(rank);
        self.since.rows += 1;
        self.since.sum += value;
    }
}

/// All bets of a test, with equal stakes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Bets(Vec<Bet>);

impl Bets {
    /// Bets that suit a signal with the values of `sorted`, which are rising and will not be bet on.
    pub(super) fn new(sorted: &[f32]) -> Self {
        let distinct = 1 + sorted.windows(2).filter(|pair| pair[0] < pair[1]).count();
        let densities = if distinct <= FEW_VALUES {
            of_two_values(sorted)
        } else {
            of_many_values()
        };
        Self(densities.into_iter().map(Bet::new).collect())
    }

    /// Settles all bets on a row of the given rank, and gives their evidence.
    pub(super) fn observe(&mut self, rank: f64, at_ms: i64, value: f64) -> f64 {
        for bet in &mut self.0 {
            bet.observe(rank, at_ms, value);
        }
        let sum: f64 = self.0.iter().map(|bet| bet.evidence).sum();
        sum / self.0.len().max(1) as f64
    }

    /// What came since the change that the strongest evidence speaks for.
    pub(super) fn since(&self) -> Since {
        let strongest = self
            .0
            .iter()
            .max_by(|a, b| a.evidence.total_cmp(&b.evidence));
        strongest.map(|bet| bet.since).unwrap_or_default()
    }
}

fn of_many_values() -> Vec<Density> {
    let tilts = TILTS.map(|rate| Density::Tilt { rate });
    let tails = TAILS.iter().flat_map(|(mass, factor)| {
        [End::Low, End::High].map(|end| Density::Tail {
            end,
            mass: *mass,
            factor: *factor,
        })
    });
    tilts.into_iter().chain(tails).collect()
}

fn of_two_values(sorted: &[f32]) -> Vec<Density> {
    let lowest = sorted.first().copied().unwrap_or_default();
    let low = sorted.partition_point(|value| *value <= lowest);
    let rows = sorted.len() as f64;
    // Of one value only, it is not known on which side another would lie.
    let tails: Vec<(End, f64)> = if low == sorted.len() {
        vec![(End::Low, 0.0), (End::High, 0.0)]
    } else if 2 * low <= sorted.len() {
        vec![(End::Low, low as f64)]
    } else {
        vec![(End::High, rows - low as f64)]
    };
    let mut densities = Vec::new();
    for (end, rarer) in tails {
        let share = (rarer + 0.5) / (rows + 1.0);
        for mass in SPREAD.map(|spread| share * spread) {
            densities.extend(FACTORS.map(|factor| Density::Tail {
                end,
                mass,
                factor: factor.min(TAIL_MAX / mass),
            }));
        }
    }
    densities
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_bet_wins_on_average_when_ranks_are_even() {
        let yes_or_no: Vec<f32> = [vec![0.0; 24], vec![1.0; 76]].concat();
        let all = [
            of_many_values(),
            of_two_values(&yes_or_no),
            of_two_values(&[1.0; 30]),
        ];
        for density in all.concat() {
            let steps = 200_000;
            let mean = (0..steps)
                .map(|at| density.at((f64::from(at) + 0.5) / f64::from(steps)))
                .sum::<f64>()
                / f64::from(steps);
            assert!((mean - 1.0).abs() < 1e-3, "{density:?}: {mean}");
            for rank in [0.0, 0.3, 1.0] {
                assert!(density.at(rank) > 0.0, "{density:?}");
            }
        }
    }

    #[test]
    fn the_beginning_is_where_the_winning_bet_last_had_nothing() {
        let mut bets = Bets::new(&[0.1, 0.2, 0.3, 0.4]);
        for at in 0..50_i32 {
            bets.observe((f64::from(at) * 0.618).fract(), at.into(), 0.5);
        }
        for at in 50..80_i32 {
            bets.observe(0.01, at.into(), 0.1);
        }
        let since = bets.since();
        assert!((45..=55).contains(&since.at_ms), "{since:?}");
        assert_eq!(since.rows, u64::try_from(80 - since.at_ms).unwrap());
    }
}
