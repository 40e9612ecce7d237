//! Intervals by empirical likelihood, which stay honest where a few rows carry most of the weight.
//!
//! A value is believed unless every distribution that has it makes the log too unlikely (Owen, "Empirical likelihood ratio
//! confidence intervals for a single functional", Biometrika 1988). The distributions may put some mass where no row of the
//! log lies, as far as the largest weight that the logging policy allows (Karampatziakis, Langford and Mineiro, "Empirical
//! likelihood for contextual bandits", `NeurIPS` 2020): a log that happens to hold none of the rare, heavy rows is not taken
//! for one that shows there are none. The likelihood ratio is compared with the square of Student's t, whose degrees of
//! freedom are how many terms the spread really comes from, since chi-square's quantile is rather small for a few heavy rows.
//!
//! Chosen by simulation: of 100 logs of 3,000 to 10,000 rows with 2 to 20 % exploration, these intervals hold the true value
//! in 91 to 100, with chi-square's quantile in 89 to 100, normal ones in 68 to 98, those of the bootstrap-t in 58 to 99;
//! empirical Bernstein bounds always do, but are up to five times as wide. The price is paid where a log holds few heavy
//! rows: there they are up to twice as wide as with chi-square's quantile.

use statrs::function::beta::inv_beta_reg;

/// Steps of the search for the end of an interval; it settles after about five.
const END_STEPS: usize = 40;

/// Steps of the search for the likeliest distribution; it settles after about five.
const TILT_STEPS: usize = 60;

/// How exactly the ends are found.
const PRECISION: f64 = 1e-7;

/// Degrees of freedom from which on the normal quantile is meant; the incomplete beta function is not exact for many more.
const FREEDOM_MAX: f64 = 1e4;

/// How near to the edge a tilt may come, so that no logarithm is infinite.
const INSIDE: f64 = 1.0 - 1e-9;

/// What a row, or all rows of one cluster, say about a value: `constant − slope · value`, which is zero on average exactly
/// at the true value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Term {
    pub(super) constant: f64,
    pub(super) slope: f64,
}

impl Term {
    fn at(self, value: f64) -> f64 {
        self.constant - self.slope * value
    }
}

/// What the term of a single row can be at the least and at the most, whether or not such a row is in the log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reach {
    pub(super) low: Term,
    pub(super) high: Term,
}

/// Equal terms, counted.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    counted: Vec<(Term, f64)>,
    reach: Reach,
    /// The value at which the terms are zero on average.
    value: f64,
    /// From how many terms their spread comes: 1 if from a single one, their number if all are as far from zero.
    freedom: f64,
}

impl Terms {
    /// None where the terms say nothing of the value.
    pub(super) fn new(mut terms: Vec<Term>, reach: Reach) -> Option<Self> {
        let constants: f64 = terms.iter().map(|term| term.constant).sum();
        let slopes: f64 = terms.iter().map(|term| term.slope).sum();
        let value = (slopes > 0.0).then(|| constants / slopes)?;
        terms.sort_by(|a, b| {
            let constant = a.constant.total_cmp(&b.constant);
            constant.then(a.slope.total_cmp(&b.slope))
        });
        let mut counted: Vec<(Term, f64)> = Vec::new();
        for term in terms {
            match counted.last_mut() {
                Some((last, count)) if *last == term => *count += 1.0,
                _ => counted.push((term, 1.0)),
            }
        }
        let freedom = freedom(&counted, value);
        Some(Self {
            counted,
            reach,
            value,
            freedom,
        })
    }

    pub(super) fn value(&self) -> f64 {
        self.value
    }

    /// The values between 0 and 1 that are believed at a level of confidence, such as 0.95: the lowest and the highest.
    pub(super) fn interval(&self, level: f64) -> (f64, f64) {
        let bound = students_t(level, self.freedom);
        (self.end(0.0, bound), self.end(1.0, bound))
    }

    /// The believed value that is nearest to `limit`, by regula falsi in the manner of Illinois (Dowell and Jarratt 1971).
    fn end(&self, limit: f64, bound: f64) -> f64 {
        let inside = self.value.clamp(0.0, 1.0);
        let over = |value: f64| self.root_ratio(value) - bound;
        let (mut near, mut far) = ((inside, over(inside)), (limit, over(limit)));
        if far.1 <= 0.0 {
            return limit;
        }
        if near.1 >= 0.0 {
            return inside;
        }
        let mut was_far = None;
        for _ in 0..END_STEPS {
            let next = if far.1.is_finite() {
                far.0 - far.1 * (far.0 - near.0) / (far.1 - near.1)
            } else {
                f64::midpoint(near.0, far.0)
            };
            let next_over = over(next);
            if next_over.abs() < PRECISION || (far.0 - near.0).abs() < PRECISION {
                return next;
            }
            // An end that stays twice in a row counts half, so that the other one moves too.
            let is_far = next_over > 0.0;
            if was_far == Some(is_far) {
                let stays = if is_far { &mut near.1 } else { &mut far.1 };
                *stays /= 2.0;
            }
            was_far = Some(is_far);
            *(if is_far { &mut far } else { &mut near }) = (next, next_over);
        }
        far.0
    }

    /// The root of twice the logarithm of how much likelier the log is without this value: about how many standard errors
    /// the value is away.
    fn root_ratio(&self, value: f64) -> f64 {
        let (mut low, mut high) = (self.reach.low.at(value), self.reach.high.at(value));
        let mut sum = 0.0;
        for (term, count) in &self.counted {
            let at = term.at(value);
            (low, high) = (low.min(at), high.max(at));
            sum += count * at;
        }
        // A distribution that has the value needs terms on both sides of zero.
        let edge = if sum > 0.0 { -1.0 / low } else { -1.0 / high };
        if sum.abs() < f64::MIN_POSITIVE || !edge.is_finite() {
            return if edge.is_finite() || sum == 0.0 {
                0.0
            } else {
                f64::INFINITY
            };
        }
        let ratio = self.log_ratio(value, self.tilt(value, edge * INSIDE));
        (2.0 * ratio.max(0.0)).sqrt()
    }

    fn log_ratio(&self, value: f64, tilt: f64) -> f64 {
        let log = |(term, count): &(Term, f64)| count * (tilt * term.at(value)).ln_1p();
        self.counted.iter().map(log).sum()
    }

    /// How strongly the log must be reweighted to have the value: where the concave log ratio is greatest between 0 and the
    /// edge, by Newton's method kept within a bracket.
    fn tilt(&self, value: f64, edge: f64) -> f64 {
        let slope = |tilt: f64| {
            self.counted.iter().fold((0.0, 0.0), |sum, (term, count)| {
                let at = term.at(value);
                let share = at / (1.0 + tilt * at);
                (sum.0 + count * share, sum.1 - count * share * share)
            })
        };
        let is_short = |slope: f64| slope * edge > 0.0;
        if is_short(slope(edge).0) {
            return edge;
        }
        let (mut short, mut long, mut tilt) = (0.0, edge, 0.0);
        for _ in 0..TILT_STEPS {
            let (first, second) = slope(tilt);
            if is_short(first) {
                short = tilt;
            } else {
                long = tilt;
            }
            let newton = tilt - first / second;
            let is_between = (newton - short) * (newton - long) < 0.0;
            let next = if is_between {
                newton
            } else {
                f64::midpoint(short, long)
            };
            let has_settled = (next - tilt).abs() <= PRECISION * edge.abs();
            tilt = next;
            if has_settled {
                break;
            }
        }
        tilt
    }
}

/// (Σ s²)² / Σ s⁴ over the terms.
fn freedom(counted: &[(Term, f64)], value: f64) -> f64 {
    let (squares, fourths) = counted.iter().fold((0.0, 0.0), |sum, (term, count)| {
        let square = term.at(value).powi(2);
        (sum.0 + count * square, sum.1 + count * square * square)
    });
    if fourths > 0.0 {
        (squares * squares / fourths).max(1.0)
    } else {
        counted.iter().map(|(_, count)| count).sum()
    }
}

/// The two-sided quantile of Student's t; any number of degrees of freedom has one.
fn students_t(level: f64, freedom: f64) -> f64 {
    let freedom = freedom.min(FREEDOM_MAX);
    let x = inv_beta_reg(freedom / 2.0, 0.5, 1.0 - level);
    (freedom * (1.0 - x) / x.max(f64::MIN_POSITIVE)).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean(values: &[f64], high: f64) -> Terms {
        let term = |constant: f64| Term {
            constant,
            slope: 1.0,
        };
        let terms = values.iter().map(|value| term(*value)).collect();
        let reach = Reach {
            low: term(0.0),
            high: term(high),
        };
        Terms::new(terms, reach).unwrap()
    }

    #[test]
    fn students_quantiles_are_those_of_the_published_tables() {
        for (freedom, quantile) in [
            (1.0, 12.706),
            (5.0, 2.571),
            (30.0, 2.042),
            (1e3, 1.962),
            (1e4, 1.960),
            (1e7, 1.960),
        ] {
            let found = students_t(0.95, freedom);
            assert!((found - quantile).abs() < 6e-4, "{freedom}: {found}");
        }
    }

    #[test]
    fn ends_of_a_share_solve_the_binomial_likelihood_ratio() {
        let values: Vec<f64> = (0..400)
            .map(|at| f64::from(u8::from(at % 4 == 0)))
            .collect();
        let terms = mean(&values, 1.0);
        let (low, high) = terms.interval(0.95);
        assert!(low < 0.25 && 0.25 < high);
        let bound = students_t(0.95, terms.freedom).powi(2);
        for end in [low, high] {
            let ratio = 100.0 * (0.25_f64 / end).ln() + 300.0 * (0.75 / (1.0 - end)).ln();
            assert!((2.0 * ratio - bound).abs() < 1e-4, "{end}");
        }
    }

    #[test]
    fn a_log_without_a_heavy_row_does_not_rule_heavy_rows_out() {
        let values = vec![0.1; 1_000];
        let (low, high) = mean(&values, 1.0).interval(0.95);
        let (same_low, far) = mean(&values, 100.0).interval(0.95);
        assert!((low - same_low).abs() < 1e-6);
        assert!(high < 0.11, "{high}");
        assert!(far > 0.2, "{far}");
    }

    #[test]
    fn rows_that_all_say_one_leave_as_much_room_as_their_number() {
        let (low, high) = mean(&[1.0; 300], 1.0).interval(0.95);
        assert!((high - 1.0).abs() < f64::EPSILON);
        // −2 n ln v = t², as with the rule of three.
        assert!((low - (-students_t(0.95, 300.0).powi(2) / 600.0).exp()).abs() < 1e-5);
        assert!(mean(&[1.0], 1.0).interval(0.95).0 < 0.1);
    }

    #[test]
    fn no_terms_say_nothing() {
        let edge = Term {
            constant: 0.0,
            slope: 0.0,
        };
        let reach = Reach {
            low: edge,
            high: edge,
        };
        assert!(Terms::new(Vec::new(), reach).is_none());
    }
}
