//! Whether intervals hold what they promise, on logs whose true values are known.

use super::*;

const LOGS: u64 = 100;

/// How many of the intervals hold the true value: of all logs, by estimator; and how many logs are said to tell.
struct Covered {
    inverse_propensity: usize,
    self_normalised: usize,
    doubly_robust: usize,
    telling: usize,
}

fn covered(rows: usize, explore: f64, differing: usize, grades: Grades) -> Covered {
    let mut covered = Covered {
        inverse_propensity: 0,
        self_normalised: 0,
        doubly_robust: 0,
        telling: 0,
    };
    for seed in 0..LOGS {
        let house = House::new(seed * 7 + 1, differing);
        let log = house.log(rows, explore, grades, seed + 1_000);
        let target = |row: usize, expert: usize| {
            f64::from(u8::from(house.target[log[row].category] == expert))
        };
        let report = estimate(&outcomes(&log, EXPERTS, target, seed), &Bounds::default());
        let holds = |estimate: Option<Estimate>| {
            let estimate = estimate.unwrap();
            usize::from(estimate.low <= house.value() && house.value() <= estimate.high)
        };
        covered.inverse_propensity += holds(report.inverse_propensity);
        covered.self_normalised += holds(report.self_normalised);
        covered.doubly_robust += holds(report.doubly_robust);
        covered.telling += usize::from(report.can_tell());
    }
    covered
}

/// Doubted logs included: where a log cannot tell, the interval says so too.
fn assert_covers(covered: &Covered) {
    for count in [
        covered.inverse_propensity,
        covered.self_normalised,
        covered.doubly_robust,
    ] {
        assert!(count >= 93, "{count} of {LOGS}");
    }
}

#[test]
fn at_twenty_per_cent_exploration_three_thousand_outcomes_tell() {
    let right_or_wrong = covered(3_000, 0.2, 4, Grades::Binary);
    assert_covers(&right_or_wrong);
    assert!(right_or_wrong.telling >= 90, "{}", right_or_wrong.telling);
}

#[test]
fn graded_rewards_are_covered_as_well() {
    let graded = covered(3_000, 0.2, 4, Grades::Quarters);
    assert_covers(&graded);
    assert!(graded.telling >= 90, "{}", graded.telling);
}

#[test]
fn at_five_per_cent_exploration_ten_thousand_outcomes_tell() {
    let covered = covered(10_000, 0.05, 4, Grades::Binary);
    assert_covers(&covered);
    assert!(covered.telling >= 80, "{}", covered.telling);
}

#[test]
fn at_two_per_cent_exploration_three_thousand_outcomes_say_that_they_cannot_tell() {
    let covered = covered(3_000, 0.02, 4, Grades::Binary);
    assert_covers(&covered);
    assert!(covered.telling <= 5, "{}", covered.telling);
}

#[test]
fn at_two_per_cent_exploration_ten_thousand_outcomes_are_covered() {
    assert_covers(&covered(10_000, 0.02, 4, Grades::Binary));
}

#[test]
fn conversations_of_alike_rewards_widen_the_interval() {
    // Rewards of a conversation are all the same: as if there were a fifth of the rows.
    let (mut held, mut naive) = (0, 0);
    for seed in 0..LOGS {
        let house = House::new(9, 4);
        let mut log = house.log(2_000, 0.2, Grades::Binary, seed);
        let mean = house.value();
        for (at, row) in log.iter_mut().enumerate() {
            row.expert = house.target[row.category];
            row.propensity = Some(1.0);
            row.cluster = at as u64 / 5;
            let uniform = synthetic::uniform(seed ^ (row.cluster << 20));
            row.reward = f64::from(u8::from(uniform < mean));
        }
        let target = |row: usize, expert: usize| {
            f64::from(u8::from(house.target[log[row].category] == expert))
        };
        let rows = outcomes(&log, EXPERTS, target, seed);
        let holds = |rows: &[Outcome]| {
            let report = estimate(rows, &Bounds::default());
            let estimate = report.self_normalised.unwrap();
            usize::from(estimate.low <= mean && mean <= estimate.high)
        };
        held += holds(&rows);
        let apart = |(at, row): (usize, &Outcome)| Outcome {
            cluster: at as u64,
            ..*row
        };
        naive += holds(&rows.iter().enumerate().map(apart).collect::<Vec<_>>());
    }
    assert!(held >= 90, "{held}");
    assert!(naive <= 75, "{naive}: the clusters would not matter");
}
