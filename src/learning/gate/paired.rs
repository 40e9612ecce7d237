//! Two routers' hits and misses on the same rows.

use statrs::function::beta::beta_reg;

use super::{Interval, normal};

/// Halvings of the search for an end of an interval: as fine as floating point.
const HALVINGS: usize = 60;

/// On how many rows, or of how many conversations, one router did better than the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Pairs {
    /// Where the challenger did better.
    pub(super) gains: usize,
    /// Where the champion did better.
    pub(super) losses: usize,
    /// All, those with no difference included.
    pub(super) count: usize,
}

impl Pairs {
    /// Counts differences, positive where the challenger did better.
    pub(super) fn of(nets: impl IntoIterator<Item = i64>) -> Self {
        nets.into_iter().fold(Self::default(), |pairs, net| Self {
            gains: pairs.gains + usize::from(net > 0),
            losses: pairs.losses + usize::from(net < 0),
            count: pairs.count + 1,
        })
    }

    /// How likely at least as many gains would be if gains and losses were equally likely: the exact test of `McNemar`
    /// ("Note on the sampling error of the difference between correlated proportions or percentages", Psychometrika
    /// 1947), one-sided.
    pub(super) fn p_of_gain(self) -> f64 {
        at_least(self.gains, self.gains + self.losses)
    }

    /// How likely more losses would be, or half as likely just as many: the mid-p form of the same test, one-sided. It is
    /// less cautious where there are few, and still errs about as often as it says (Fagerland, Lydersen and Laake, "The
    /// `McNemar` test for binary matched-pairs data: mid-p and asymptotic are better than exact conditional", BMC Medical
    /// Research Methodology 2013).
    pub(super) fn p_of_loss(self) -> f64 {
        let differing = self.gains + self.losses;
        let more = at_least(self.losses + 1, differing);
        f64::midpoint(more, at_least(self.losses, differing))
    }

    /// The interval of the difference of the two shares, by the score test (Tango, "Equivalence test and confidence
    /// interval for the difference in proportions for the paired-sample design", Statistics in Medicine 1998).
    pub(super) fn interval(self, confidence: f64) -> Interval {
        let z = normal::quantile(f64::midpoint(1.0, confidence));
        // The score falls as the difference that it tests rises.
        let end = |score: f64| {
            let (mut low, mut high) = (-1.0, 1.0);
            for _ in 0..HALVINGS {
                let middle = f64::midpoint(low, high);
                if self.score(middle) > score {
                    low = middle;
                } else {
                    high = middle;
                }
            }
            f64::midpoint(low, high)
        };
        Interval {
            low: end(z),
            high: end(-z),
            confidence,
        }
    }

    /// How many standard errors the observed difference lies above `difference`, the standard error being that of the
    /// likeliest shares that differ by just that.
    fn score(self, difference: f64) -> f64 {
        let [gains, losses, count] =
            [self.gains, self.losses, self.count].map(|count| count as f64);
        let b = (2.0 * count - gains + losses) * difference - gains - losses;
        let c = -losses * difference * (1.0 - difference);
        let lost = ((b * b - 8.0 * count * c).max(0.0).sqrt() - b) / (4.0 * count);
        let variance = count * (2.0 * lost + difference * (1.0 - difference));
        (gains - losses - count * difference) / variance.max(f64::MIN_POSITIVE).sqrt()
    }
}

/// How likely at least `heads` of `tosses` of a fair coin are.
fn at_least(heads: usize, tosses: usize) -> f64 {
    if heads == 0 {
        return 1.0;
    }
    if heads > tosses {
        return 0.0;
    }
    beta_reg(heads as f64, (tosses - heads + 1) as f64, 0.5)
}

/// Corrects p-values for there being several of them, so that all of them together err no more often than one would
/// (Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 1979).
pub(super) fn holm(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|a, b| p_values[*a].total_cmp(&p_values[*b]));
    let mut corrected = vec![1.0; p_values.len()];
    let mut greatest: f64 = 0.0;
    for (place, at) in order.into_iter().enumerate() {
        let left = (p_values.len() - place) as f64;
        greatest = greatest.max((left * p_values[at]).min(1.0));
        corrected[at] = greatest;
    }
    corrected
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(gains: usize, losses: usize, count: usize) -> Pairs {
        Pairs {
            gains,
            losses,
            count,
        }
    }

    fn near(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-9, "{a} {b}");
    }

    #[test]
    fn the_exact_test_counts_coin_tosses() {
        near(pairs(5, 0, 9).p_of_gain(), 1.0 / 32.0);
        near(pairs(9, 1, 50).p_of_gain(), 11.0 / 1024.0);
        near(pairs(0, 0, 50).p_of_gain(), 1.0);
        near(pairs(3, 3, 50).p_of_gain(), 42.0 / 64.0);
    }

    #[test]
    fn the_mid_p_test_counts_the_observed_toss_half() {
        near(pairs(0, 5, 9).p_of_loss(), 0.5 / 32.0);
        near(pairs(1, 9, 50).p_of_loss(), (1.0 + 10.0 / 2.0) / 1024.0);
        near(pairs(0, 0, 50).p_of_loss(), 0.5);
        near(pairs(3, 3, 50).p_of_loss(), 0.5);
    }

    #[test]
    fn the_interval_holds_the_truth_as_often_as_it_says_and_the_score_test_agrees_with_it() {
        let of = pairs(43, 20, 200);
        let interval = of.interval(0.95);
        // At a difference of zero the score is that of McNemar's asymptotic test.
        near(of.score(0.0), 23.0 / 63.0_f64.sqrt());
        near(of.score(interval.low), normal::quantile(0.975));
        near(of.score(interval.high), normal::quantile(0.025));
        assert!(interval.low < 0.115 && 0.115 < interval.high);
        let mirrored = pairs(20, 43, 200).interval(0.95);
        near(mirrored.low, -interval.high);
        near(mirrored.high, -interval.low);
    }

    #[test]
    fn rows_without_a_difference_still_have_an_interval() {
        let interval = pairs(0, 0, 50).interval(0.95);
        let z2 = normal::quantile(0.975).powi(2);
        near(interval.high, z2 / (50.0 + z2));
        near(interval.low, -interval.high);
    }

    #[test]
    fn corrected_p_values_are_those_of_holm() {
        let corrected = holm(&[0.04, 0.01, 0.03, 0.9]);
        for (got, right) in corrected.into_iter().zip([0.09, 0.04, 0.09, 0.9]) {
            near(got, right);
        }
        assert!(holm(&[]).is_empty());
    }
}
