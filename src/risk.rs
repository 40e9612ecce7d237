//! How much can be routed when no more than a given share of it may be misrouted. Pure.
//!
//! A share that was counted on some rows says little about the questions to come; its upper confidence bound does. The
//! bound is Clopper and Pearson's ("The use of confidence or fiducial limits illustrated in the case of the binomial",
//! Biometrika 1934), which holds at any number of rows.

use statrs::function::beta::inv_beta_reg;

/// How sure Coterie's bounds on the share of misrouted questions are.
pub const CONFIDENCE_LEVEL: f64 = 0.95;

/// Steps of coverage at which [`threshold_for`] may stop: finer ones change the coverage by less than chance does.
const COVERAGE_STEPS: usize = 100;

/// A threshold of confidence, and what it does to the rows that it was chosen on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Threshold {
    /// Rows of at least this confidence are routed, 0 to 1.
    pub confidence_min: f32,
    /// Share of the rows that are routed, 0 to 1.
    pub coverage: f64,
    /// Share of the routed rows that are misrouted, 0 to 1.
    pub misrouted: f64,
    /// What that share is at most, with the confidence asked for and the choice of the threshold allowed for.
    pub misroute_upper: f64,
}

/// The one-sided upper bound of Clopper and Pearson on the share of misrouted questions.
///
/// Where `misrouted` of `routed` rows were wrong, the share of wrong ones among all such questions is at most this, with the
/// given confidence (such as 0.95; neither 0 nor 1). 1 where nothing was routed.
pub fn misroute_upper(misrouted: usize, routed: usize, confidence_level: f64) -> f64 {
    if misrouted >= routed {
        return 1.0;
    }
    let right = (routed - misrouted) as f64;
    inv_beta_reg(misrouted as f64 + 1.0, right, confidence_level)
}

/// The lowest threshold that can be trusted to misroute no more than a given share.
///
/// With the given confidence (such as 0.95), the share of misrouted questions among those that are routed is at most
/// `misroute_max` (such as 0.05). None if no threshold can be trusted with that: the rows are too few, or wrong too often
/// even where the confidence is greatest.
///
/// `rows`: the confidence of each row that was held back from training, and whether its category was right.
///
/// Trying many thresholds and keeping the best would break the promise, since each try may succeed by luck. So the
/// thresholds are tried in a sequence that is fixed before anything is known of right and wrong, from strict to loose, each
/// at the whole confidence level, and the first that fails ends it: fixed-sequence testing (Bauer, "Multiple testing in
/// clinical trials", Statistics in Medicine 1991), used for thresholds in "Learn then Test" (Angelopoulos et al. 2021).
/// The promise is broken only if the first threshold that is too loose passes its own test, however many there are. (The
/// sequence is one of coverages, so that a threshold's value is itself drawn from the rows. That changes nothing as long
/// as less confident rows are wrong at least as often, which is what a confidence is for.)
pub fn threshold_for(
    rows: &[(f32, bool)],
    misroute_max: f64,
    confidence_level: f64,
) -> Option<Threshold> {
    let mut rows = rows.to_vec();
    rows.sort_by(|a, b| b.0.total_cmp(&a.0));
    let wrong = wrong_so_far(&rows);
    let (starts, level) = starts(rows.len(), misroute_max, confidence_level);
    let loosest = |start: usize| {
        sequence(start, rows.len())
            .map(|routed| with_ties(&rows, routed))
            .map(|routed| Threshold {
                confidence_min: rows[routed - 1].0,
                coverage: routed as f64 / rows.len() as f64,
                misrouted: wrong[routed - 1] as f64 / routed as f64,
                misroute_upper: misroute_upper(wrong[routed - 1], routed, level),
            })
            .take_while(|threshold| threshold.misroute_upper <= misroute_max)
            .last()
    };
    starts
        .into_iter()
        .filter_map(loosest)
        .max_by(|a, b| a.coverage.total_cmp(&b.coverage))
}

/// How many rows the strictest threshold of each sequence routes, and the confidence level of every test.
///
/// A sequence ends at once where its first threshold fails: by bad luck if it routes few rows, for good if it routes too
/// many. Two sequences that share the risk of error guard against both (the multi-start form of "Learn then Test"): one
/// begins with a quarter of the rows, the other with half of them. Where a quarter is too few to pass even without an error,
/// one begins with half of them, or with as many as can pass at all.
fn starts(rows: usize, misroute_max: f64, confidence_level: f64) -> (Vec<usize>, f64) {
    let shared = 1.0 - (1.0 - confidence_level) / 2.0;
    let (quarter, half) = (rows / 4, rows / 2);
    if quarter > 0 && misroute_upper(0, quarter, shared) <= misroute_max {
        return (vec![quarter, half], shared);
    }
    let can_pass = |routed: &usize| misroute_upper(0, *routed, confidence_level) <= misroute_max;
    let start = (half.max(1)..=rows).find(can_pass);
    (start.into_iter().collect(), confidence_level)
}

/// How many of the most confident rows are routed, from strict to loose.
fn sequence(start: usize, rows: usize) -> impl Iterator<Item = usize> {
    let looser = (1..=COVERAGE_STEPS)
        .map(move |step| (rows * step).div_ceil(COVERAGE_STEPS))
        .filter(move |routed| *routed > start);
    std::iter::once(start).chain(looser)
}

/// A threshold cannot tell equal confidences apart: it routes all of them.
fn with_ties(rows: &[(f32, bool)], routed: usize) -> usize {
    let confidence_min = rows[routed - 1].0;
    let ties = rows[routed..]
        .iter()
        .take_while(|row| row.0.total_cmp(&confidence_min).is_eq());
    routed + ties.count()
}

/// At each row, how many are wrong up to and with it.
fn wrong_so_far(rows: &[(f32, bool)]) -> Vec<usize> {
    let mut wrong = 0;
    rows.iter()
        .map(|(_, right)| {
            wrong += usize::from(!right);
            wrong
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng as _, rngs::StdRng};

    use super::*;

    #[test]
    fn the_bound_is_the_one_of_the_published_tables() {
        // Without an error it is 1 − (1 − level)^(1 / n), with n errors of n it is 1.
        assert!((misroute_upper(0, 59, 0.95) - (1.0 - 0.05_f64.powf(1.0 / 59.0))).abs() < 1e-9);
        assert!((misroute_upper(1, 10, 0.95) - 0.394_163).abs() < 1e-5);
        assert!((misroute_upper(5, 100, 0.95) - 0.102_253).abs() < 1e-5);
        assert!((misroute_upper(10, 10, 0.95) - 1.0).abs() < f64::EPSILON);
        assert!((misroute_upper(0, 0, 0.95) - 1.0).abs() < f64::EPSILON);
    }

    /// Rows whose confidences fall evenly from 1 to 0; the `wrong` ones are given by their place.
    fn falling(rows: usize, wrong: impl Fn(usize) -> bool) -> Vec<(f32, bool)> {
        (0..rows)
            .map(|at| (1.0 - at as f32 / rows as f32, !wrong(at)))
            .collect()
    }

    #[test]
    fn rows_that_are_all_right_are_all_routed() {
        let threshold = threshold_for(&falling(100, |_| false), 0.05, 0.95).unwrap();
        assert!((threshold.coverage - 1.0).abs() < f64::EPSILON);
        assert!((threshold.confidence_min - 0.01).abs() < 1e-6);
        assert!(threshold.misrouted.abs() < f64::EPSILON);
        assert!(threshold.misroute_upper <= 0.05);
    }

    #[test]
    fn where_everything_may_be_wrong_everything_is_routed() {
        assert_eq!(threshold_for(&[], 1.0, 0.95), None);
        let threshold = threshold_for(&[(0.2, false)], 1.0, 0.95).unwrap();
        assert!((threshold.coverage - 1.0).abs() < f64::EPSILON);
    }

    #[test]
    fn the_threshold_lies_where_errors_begin() {
        let threshold = threshold_for(&falling(1000, |at| at >= 600), 0.05, 0.95).unwrap();
        assert!(threshold.coverage >= 0.6, "{threshold:?}");
        assert!(threshold.coverage < 0.65, "{threshold:?}");
        assert!(threshold.misroute_upper <= 0.05, "{threshold:?}");
    }

    #[test]
    fn there_is_no_threshold_where_none_can_be_trusted() {
        assert_eq!(threshold_for(&[], 0.05, 0.95), None);
        assert_eq!(threshold_for(&falling(58, |_| false), 0.05, 0.95), None);
        assert_eq!(
            threshold_for(&falling(500, |at| at % 5 == 0), 0.05, 0.95),
            None
        );
        assert_eq!(threshold_for(&falling(500, |_| false), 0.0, 0.95), None);
    }

    #[test]
    fn equal_confidences_are_routed_together_or_not_at_all() {
        let mut rows = vec![(0.9, true); 300];
        rows.extend(vec![(0.5, false); 300]);
        let threshold = threshold_for(&rows, 0.05, 0.95).unwrap();
        assert!((threshold.coverage - 0.5).abs() < f64::EPSILON);
        assert!((threshold.confidence_min - 0.9).abs() < f32::EPSILON);
        assert_eq!(
            threshold_for(&[(0.9, true); 300], 0.05, 0.95)
                .unwrap()
                .coverage,
            1.0
        );
        let mut mixed = vec![(0.7, true); 300];
        mixed.extend([(0.7, false); 100]);
        assert_eq!(threshold_for(&mixed, 0.05, 0.95), None);
    }

    /// How often, of 300 draws of rows, the chosen threshold misroutes more than `misroute_max` of all questions, and the
    /// mean coverage. A row of confidence c is right with probability `right(c)`, and c is even between 0.5 and 1.
    fn draws(rows: usize, misroute_max: f64, right: fn(f64) -> f64) -> (usize, f64) {
        const DRAWS: u64 = 300;
        let mut broken = 0;
        let mut coverage = 0.0;
        for seed in 0..DRAWS {
            let mut rng = StdRng::seed_from_u64(seed);
            let rows: Vec<(f32, bool)> = (0..rows)
                .map(|_| {
                    let confidence: f32 = rng.random_range(0.5..1.0);
                    (confidence, rng.random_bool(right(confidence.into())))
                })
                .collect();
            if let Some(threshold) = threshold_for(&rows, misroute_max, 0.95) {
                coverage += threshold.coverage / DRAWS as f64;
                broken +=
                    usize::from(misrouted_of_all(threshold.confidence_min, right) > misroute_max);
            }
        }
        (broken, coverage)
    }

    /// The share of all questions above the threshold that are misrouted, by the midpoint rule.
    fn misrouted_of_all(confidence_min: f32, right: impl Fn(f64) -> f64) -> f64 {
        let low = f64::from(confidence_min);
        let step = (1.0 - low) / 1000.0;
        let wrong = (0..1000).map(|at| 1.0 - right(low + (f64::from(at) + 0.5) * step));
        wrong.sum::<f64>() / 1000.0
    }

    #[test]
    fn the_promise_is_broken_in_no_more_than_one_draw_of_twenty() {
        // Of 300 draws 15 may break it on average; more than 24 would by chance happen once in a hundred times.
        for (rows, misroute_max) in [(300, 0.1), (800, 0.1), (2000, 0.05)] {
            for right in [
                |c: f64| c,
                |c: f64| c * c,
                |c: f64| c.sqrt(),
                |c: f64| (c + 0.1).min(0.97),
            ] {
                let (broken, _) = draws(rows, misroute_max, right);
                assert!(broken <= 24, "{rows} rows: {broken} of 300 are broken");
            }
        }
    }

    #[test]
    fn most_of_what_may_be_routed_is_although_some_labels_are_wrong() {
        // Two of a hundred labels are wrong; 0.853 of the questions could be routed if nothing were left to chance.
        let right = |c: f64| if c < 0.6 { 0.5 } else { 0.98 };
        let (_, coverage) = draws(2000, 0.05, right);
        assert!(coverage > 0.75, "{coverage}");
    }

    proptest! {
        #[test]
        fn what_is_promised_of_a_threshold_is_true_of_its_rows(
            rows in prop::collection::vec((0.0..1.0_f32, prop::bool::weighted(0.93)), 0..600),
            misroute_max in 0.02..=1.0,
        ) {
            if let Some(threshold) = threshold_for(&rows, misroute_max, 0.95) {
                let routed: Vec<_> = rows.iter().filter(|row| row.0 >= threshold.confidence_min).collect();
                let wrong = routed.iter().filter(|row| !row.1).count();
                prop_assert!((threshold.coverage - routed.len() as f64 / rows.len() as f64).abs() < 1e-12);
                prop_assert!((threshold.misrouted - wrong as f64 / routed.len() as f64).abs() < 1e-12);
                prop_assert!(threshold.misrouted <= threshold.misroute_upper);
                prop_assert!(threshold.misroute_upper <= misroute_max);
            }
        }
    }
}
