//! How much better one policy would have been than another on the same log.

use super::{
    CONFIDENCE_LEVEL, Estimate, Outcome, Weighed,
    estimator::{clustered, doubly_robust_term, weight_max},
    interval::{Reach, Term, Terms},
};

/// The mean reward of one target policy less that of another, −1 to 1, doubly robust; none without a row that both can use,
/// or without predictions.
///
/// The rows of both are those of one log, in the same order. What both policies would have done alike cancels out row by row,
/// so that a change of a few choices is told from none where two intervals would overlap.
pub fn difference(one: &[Outcome], other: &[Outcome]) -> Option<Estimate> {
    let pairs: Vec<(Weighed, Weighed)> = one
        .iter()
        .zip(other)
        .filter(|(one, other)| one.has_reward() && other.has_reward())
        .filter_map(|(one, other)| Some((Weighed::new(one)?, Weighed::new(other)?)))
        .collect();
    let (ones, others): (Vec<Weighed>, Vec<Weighed>) = pairs.into_iter().unzip();
    let values =
        |rows: &[Weighed]| -> Option<Vec<f64>> { rows.iter().map(doubly_robust_term).collect() };
    let (of_one, of_other) = (values(&ones)?, values(&others)?);
    // Moved and scaled, so that what lies between −1 and 1 lies between 0 and 1, where intervals are looked for.
    let mut terms = of_one.iter().zip(of_other).map(|(one, other)| Term {
        constant: f64::midpoint(one - other, 1.0),
        slope: 1.0,
    });
    let terms = clustered(&ones, |_| terms.next().unwrap_or(EVEN));
    let most = 1.0 + weight_max(&ones).max(weight_max(&others));
    let end = |value: f64| Term {
        constant: f64::midpoint(value, 1.0),
        slope: 1.0,
    };
    let reach = Reach {
        low: end(-most),
        high: end(most),
    };
    let terms = Terms::new(terms, reach)?;
    let (low, high) = terms.interval(CONFIDENCE_LEVEL);
    let back = |value: f64| 2.0 * value - 1.0;
    Some(Estimate {
        value: back(terms.value()),
        low: back(low),
        high: back(high),
    })
}

/// No difference at all.
const EVEN: Term = Term {
    constant: 0.5,
    slope: 1.0,
};

#[cfg(test)]
mod tests {
    use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};

    use super::*;
    use crate::off_policy::{Logged, outcomes};

    /// Two experts in one category, the second tried out on a tenth; how often each is right.
    fn log(right: [f64; 2], rows: u64, seed: u64) -> Vec<Logged> {
        let mut random = SmallRng::seed_from_u64(seed);
        let logged = |cluster| {
            let expert = usize::from(random.random_bool(0.1));
            Logged {
                category: 0,
                expert,
                reward: f64::from(u8::from(random.random_bool(right[expert]))),
                propensity: Some([0.9, 0.1][expert]),
                cluster,
            }
        };
        (0..rows).map(logged).collect()
    }

    fn gain(log: &[Logged]) -> Estimate {
        let always = |wanted: usize| {
            let target = move |_, expert: usize| f64::from(u8::from(expert == wanted));
            outcomes(log, 2, target, 7)
        };
        difference(&always(1), &always(0)).unwrap()
    }

    #[test]
    fn a_better_expert_is_found_and_an_equal_one_is_not() {
        let better = gain(&log([0.6, 0.8], 4000, 1));
        assert!(better.low > 0.0 && better.high < 0.4, "{better:?}");
        let (mut found, mut held) = (0, 0);
        for seed in 0..100 {
            let equal = gain(&log([0.7, 0.7], 1000, seed));
            found += usize::from(equal.low > 0.0);
            held += usize::from(equal.low <= 0.0 && 0.0 <= equal.high);
        }
        assert!(found <= 6 && held >= 90, "{found} found, {held} held");
    }

    #[test]
    fn rows_whose_reward_is_not_known_are_passed_over() {
        let known = log([0.6, 0.8], 4000, 1);
        let mut all = known.clone();
        all.extend(known.iter().take(50).map(|row| Logged {
            reward: f64::NAN,
            cluster: row.cluster + 10_000,
            ..*row
        }));
        assert_eq!(gain(&all), gain(&known));
    }

    #[test]
    fn what_is_the_same_differs_by_nothing() {
        let log = log([0.6, 0.8], 500, 1);
        let same = outcomes(&log, 2, |_, expert| f64::from(u8::from(expert == 0)), 7);
        let none = difference(&same, &same).unwrap();
        assert!(none.value.abs() < 1e-9 && none.low <= 0.0 && none.high >= 0.0);
        assert!(difference(&[], &[]).is_none());
    }
}
