//! How often the gate errs, either way.

use rayon::prelude::*;

use super::draw::{OF_150, Rates, World};
use crate::learning::gate::{Bounds, Ending, Itself, Judgement, Measure, Subject, judge};

const RUNS: u64 = 400;

/// Resamples of the bootstrap: with fifty, a standard error is known to a tenth.
const RESAMPLES: usize = 50;

/// The same where Brier's score is judged, which knows no other test.
const BRIER_RESAMPLES: usize = 100;

/// Of 400 draws of rows, the share of those that are so.
#[derive(Debug)]
struct Shares {
    passed: f64,
    seem_better: f64,
    held_back_by_a_category: f64,
}

fn judged(name: &str, world: &World, rows: usize) -> Shares {
    shares(name, rows, |seed| verdict(world, rows, seed))
}

fn shares(name: &str, rows: usize, verdict: impl Fn(u64) -> [bool; 3] + Send + Sync) -> Shares {
    let verdicts: Vec<[bool; 3]> = (0..RUNS).into_par_iter().map(verdict).collect();
    let share = |which: usize| {
        let so = verdicts.iter().filter(|verdict| verdict[which]).count();
        so as f64 / RUNS as f64
    };
    let shares = Shares {
        passed: share(0),
        seem_better: share(1),
        held_back_by_a_category: share(2),
    };
    println!("{name}, {rows} rows: {shares:?}");
    shares
}

/// Where rows are independent, the bootstrap has no say in accuracies, and takes long: what fails by them is judged without.
fn verdict(world: &World, rows: usize, seed: u64) -> [bool; 3] {
    let rows = world.rows(rows, seed);
    let judgement = judge(&rows, Itself::default(), &bounds(0), seed);
    let seems_better = !fails(&judgement, &[Subject::Better]);
    let held_back = fails(&judgement, &[Subject::Category, Subject::SmallCategories]);
    let passed = seems_better
        && !held_back
        && judge(&rows, Itself::default(), &bounds(RESAMPLES), seed).passed;
    [passed, seems_better, held_back]
}

/// The bounds by default, but for the resamples.
fn bounds(resamples: usize) -> Bounds {
    Bounds {
        misroute_max: 1.0,
        measure: Measure::Accuracy,
        resamples,
        ..Bounds::default()
    }
}

fn fails(judgement: &Judgement, subjects: &[Subject]) -> bool {
    let mut checks = judgement.checks.iter();
    checks.any(|check| check.ending == Ending::Failed && subjects.contains(&check.subject))
}

#[test]
fn of_challengers_that_are_equal_one_in_twenty_passes_at_most() {
    for rows in [600, 2000] {
        let world = World::new(Rates::even(0.07, 0.07));
        let shares = judged("equal, 0.14 differing", &world, rows);
        assert!(shares.seem_better <= 0.05, "{rows} rows: {shares:?}");
    }
}

#[test]
fn of_equal_challengers_seen_in_long_conversations_one_in_twenty_passes_at_most() {
    let world = World::new(Rates::even(0.06, 0.06)).with_conversations(3);
    let seem_better = (0..RUNS).into_par_iter().filter(|seed| {
        let judgement = judge(
            &world.rows(900, *seed),
            Itself::default(),
            &bounds(100),
            *seed,
        );
        !fails(&judgement, &[Subject::Better])
    });
    // As if rows were independent, one in eight would seem to be.
    let share = seem_better.count() as f64 / RUNS as f64;
    println!("equal, 300 conversations of 3 rows: {share} seem better");
    assert!(share <= 0.05, "{share}");
}

#[test]
fn of_challengers_that_are_three_points_better_nine_in_ten_pass() {
    let world = World::new(Rates::even(0.075, 0.045));
    let shares = judged("3 points better, 0.12 differing", &world, 2000);
    assert!(shares.passed >= 0.9, "{shares:?}");
}

#[test]
fn of_challengers_that_are_three_points_better_and_differ_more_nine_in_ten_pass() {
    let world = World::new(Rates::even(0.085, 0.055));
    let shares = judged("3 points better, 0.14 differing", &world, 2000);
    assert!(shares.passed >= 0.9, "{shares:?}");
}

#[test]
fn of_challengers_that_lose_fifteen_points_in_one_category_nine_in_ten_are_refused() {
    let world = World::new(Rates::even(0.10, 0.04).but(OF_150, 0.045, 0.195));
    let shares = judged("15 points lost in 150 rows", &world, 2000);
    assert!(shares.held_back_by_a_category >= 0.9, "{shares:?}");
    assert!(shares.passed <= 0.1, "{shares:?}");
}

#[test]
fn of_challengers_that_gain_in_one_category_only_the_others_hold_few_back() {
    let world = World::new(Rates::even(0.06, 0.06).but(0, 0.18, 0.02));
    let shares = judged("16 points gained in one category", &world, 2000);
    assert!(shares.held_back_by_a_category <= 0.1, "{shares:?}");
}

fn judged_by_brier(name: &str, world: &World, rows: usize) -> Shares {
    judged_by(Measure::Brier, name, world, rows)
}

fn judged_by(measure: Measure, name: &str, world: &World, rows: usize) -> Shares {
    let bounds = Bounds {
        measure,
        ..bounds(BRIER_RESAMPLES)
    };
    shares(name, rows, |seed| {
        let judgement = judge(&world.rows(rows, seed), Itself::default(), &bounds, seed);
        let held_back = fails(&judgement, &[Subject::Category, Subject::SmallCategories]);
        let seems_better = !fails(&judgement, &[Subject::Better]);
        [judgement.passed, seems_better, held_back]
    })
}

#[test]
fn by_briers_score_too_one_in_twenty_equal_challengers_passes_at_most() {
    for rows in [200, 600] {
        let world = World::new(Rates::even(0.07, 0.07)).with_like_confidences();
        let shares = judged_by_brier("equal by Brier's score", &world, rows);
        assert!(shares.seem_better <= 0.05, "{rows} rows: {shares:?}");
    }
}

#[test]
fn by_briers_score_most_pass_that_are_six_points_better() {
    let world = World::new(Rates::even(0.10, 0.04)).with_like_confidences();
    let shares = judged_by_brier("6 points better by Brier's score", &world, 600);
    // Real routers differ in what they say of all rows; where only those differ that one of the two gets wrong, as here, the
    // accuracy shows more.
    assert!(shares.seem_better >= 0.65, "{shares:?}");
}

#[test]
fn by_briers_score_most_pass_that_are_three_points_better_on_many_rows() {
    let world = World::new(Rates::even(0.075, 0.045)).with_like_confidences();
    let shares = judged_by_brier("3 points better by Brier's score", &world, 2000);
    // The same holds here. With as many resamples as a retraining draws, fewer are lost to chance in the drawing.
    assert!(shares.passed >= 0.65, "{shares:?}");
}

#[test]
fn by_the_measure_that_is_taken_by_default_one_in_twenty_equal_challengers_passes_at_most() {
    for rows in [600, 2000] {
        let world = World::new(Rates::even(0.07, 0.07)).with_like_confidences();
        let shares = judged_by(Measure::default(), "equal by either", &world, rows);
        assert!(shares.seem_better <= 0.05, "{rows} rows: {shares:?}");
    }
}

#[test]
fn by_the_measure_that_is_taken_by_default_nine_in_ten_pass_that_are_three_points_better() {
    for (wrong, mended) in [(0.075, 0.045), (0.085, 0.055)] {
        let world = World::new(Rates::even(wrong, mended)).with_like_confidences();
        let shares = judged_by(
            Measure::default(),
            "3 points better by either",
            &world,
            2000,
        );
        assert!(shares.passed >= 0.9, "{shares:?}");
    }
}
