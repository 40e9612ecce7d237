//! How much figures would differ on other rows of the same kind.
//!
//! Conversations are drawn with replacement, with all of their rows and with what both routers said of them: a paired
//! bootstrap (Efron, "Bootstrap methods: another look at the jackknife", Annals of Statistics 1979) of whole clusters (Field
//! and Welsh, "Bootstrapping clustered data", Journal of the Royal Statistical Society B 2007).

use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};
use rayon::prelude::*;

use super::{
    Interval, Said,
    ranked::{Entry, Ranked},
    sample::Sample,
};
use crate::ids::OUT_OF_DOMAIN;

/// The figures of the rows as they are and of every resample.
pub(super) struct Bootstrap {
    /// Of the rows as they are.
    pub(super) observed: Figures,
    resampled: Vec<Figures>,
}

/// Figures of both routers, the champion's first, on rows drawn. NaN where there is none.
#[derive(Debug, PartialEq)]
pub(super) struct Figures {
    /// Expected calibration errors.
    pub(super) ece: [f64; 2],
    /// Areas under the ROC curve of the out-of-domain score.
    pub(super) ood_auroc: [f64; 2],
    /// Challenger's accuracy less the champion's, on all rows.
    pub(super) gain: f64,
    /// Champion's mean Brier score less the challenger's.
    pub(super) brier_gain: f64,
    /// The same in each group of the sample.
    pub(super) group_gains: Vec<f64>,
}

impl Bootstrap {
    pub(super) fn new(sample: &Sample<'_>, resamples: usize, seed: u64) -> Self {
        let orders = Orders::new(sample);
        let resample = |number: u64| {
            let mut random = SmallRng::seed_from_u64(seed.rotate_left(32) ^ number);
            let mut drawn = vec![0; sample.conversations()];
            for _ in 0..drawn.len() {
                drawn[random.random_range(0..sample.conversations())] += 1;
            }
            orders.figures(sample, &drawn)
        };
        Self {
            observed: orders.figures(sample, &vec![1; sample.conversations()]),
            resampled: (0..resamples as u64)
                .into_par_iter()
                .map(resample)
                .collect(),
        }
    }

    /// A figure's distribution over the resamples, those left out in which it does not exist.
    pub(super) fn spread(&self, figure: impl Fn(&Figures) -> f64) -> Spread {
        let mut values: Vec<f64> = self.resampled.iter().map(figure).collect();
        values.retain(|value| value.is_finite());
        values.sort_by(f64::total_cmp);
        Spread(values)
    }
}

/// A figure in every resample, the least first.
pub(super) struct Spread(Vec<f64>);

impl Spread {
    /// The percentile interval; NaN without a resample.
    pub(super) fn interval(&self, confidence: f64) -> Interval {
        let tail = (1.0 - confidence) / 2.0;
        Interval {
            low: self.quantile(tail),
            high: self.quantile(1.0 - tail),
            confidence,
        }
    }

    /// How often the figure is `limit` or less, the figure itself counted as one such time (Davison and Hinkley,
    /// "Bootstrap Methods and Their Application", 1997), so that it is never nought.
    pub(super) fn p_of_at_most(&self, limit: f64) -> f64 {
        let below = self.0.partition_point(|value| *value <= limit);
        (below + 1) as f64 / (self.0.len() + 1) as f64
    }

    /// The figure's standard error; NaN with fewer than two resamples.
    pub(super) fn standard_error(&self) -> f64 {
        let count = self.0.len() as f64;
        let mean = self.0.iter().sum::<f64>() / count;
        let squares: f64 = self.0.iter().map(|value| (value - mean).powi(2)).sum();
        (squares / (count - 1.0)).sqrt()
    }

    /// Between the two nearest resamples, in proportion.
    fn quantile(&self, share: f64) -> f64 {
        let Some(last) = self.0.len().checked_sub(1) else {
            return f64::NAN;
        };
        let place = share.clamp(0.0, 1.0) * last as f64;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of a length"
        )]
        let below = place as usize;
        let (low, high) = (self.0[below], self.0[(below + 1).min(last)]);
        low + (high - low) * (place - below as f64)
    }
}

/// The rows in all orders that figures need, so that no resample has to sort.
struct Orders {
    by_confidence: [Ranked; 2],
    by_strangeness: [Ranked; 2],
}

impl Orders {
    fn new(sample: &Sample<'_>) -> Self {
        let by_confidence = |said: fn(&super::Row) -> Said| {
            ranked(sample, |row| (said(row).confidence, said(row).is_right))
        };
        let by_strangeness = |said: fn(&super::Row) -> Said| {
            ranked(sample, |row| {
                let is_strange = row.label.as_str() == OUT_OF_DOMAIN;
                (said(row).out_of_domain, is_strange)
            })
        };
        Self {
            by_confidence: [
                by_confidence(|row| row.champion),
                by_confidence(|row| row.challenger),
            ],
            by_strangeness: [
                by_strangeness(|row| row.champion),
                by_strangeness(|row| row.challenger),
            ],
        }
    }

    fn figures(&self, sample: &Sample<'_>, drawn: &[u32]) -> Figures {
        let mut rows = vec![0; sample.groups().len()];
        let mut nets = vec![0; sample.groups().len()];
        let mut brier_gain = 0.0;
        for (at, row) in sample.rows().iter().enumerate() {
            let times = i64::from(drawn[sample.conversation_of(at)]);
            rows[sample.group_of(at)] += times;
            nets[sample.group_of(at)] += times * row.net();
            brier_gain += f64::from(drawn[sample.conversation_of(at)]) * row.brier_gain();
        }
        let share = |net: i64, rows: i64| net as f64 / rows as f64;
        let all: i64 = rows.iter().sum();
        Figures {
            ece: self
                .by_confidence
                .each_ref()
                .map(|order| order.calibration_error(drawn)),
            ood_auroc: self
                .by_strangeness
                .each_ref()
                .map(|order| order.area(drawn)),
            gain: share(nets.iter().sum(), all),
            brier_gain: brier_gain / all as f64,
            group_gains: nets
                .into_iter()
                .zip(rows)
                .map(|(net, rows)| share(net, rows))
                .collect(),
        }
    }
}

fn ranked(sample: &Sample<'_>, of: impl Fn(&super::Row) -> (f64, bool)) -> Ranked {
    Ranked::new(sample.rows().iter().enumerate().map(|(at, row)| {
        let (value, holds) = of(row);
        Entry {
            value,
            holds,
            conversation: sample.conversation_of(at),
        }
    }))
}

/// The challenger's figure less the champion's.
pub(super) fn difference([champion, challenger]: [f64; 2]) -> f64 {
    challenger - champion
}
