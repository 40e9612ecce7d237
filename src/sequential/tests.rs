use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};
use rayon::prelude::*;

use super::*;

const RUNS: u64 = 400;
const OUTCOMES: u64 = 20_000;

/// What both arms' mean outcomes are at a time.
type Means = fn(u64) -> [f64; 2];

/// A run of outcomes of 0 and 1, and whether the difference was always where it was said to be.
fn run(means: Means, canary_share: f64, seed: u64) -> (Standing, bool) {
    let mut random = SmallRng::seed_from_u64(seed);
    let mut test = SequentialTest::new(0.05).unwrap();
    let [champion, canary] = means(0);
    let mut holds = true;
    for time in 0..OUTCOMES {
        let is_canary = random.random_bool(canary_share);
        let arm = if is_canary {
            Arm::Canary
        } else {
            Arm::Champion
        };
        let mean = means(time)[usize::from(is_canary)];
        let outcome = f64::from(u8::from(random.random_bool(mean)));
        test.observe(arm, outcome).unwrap();
        // It changes with the canary's outcomes alone, but for the few blocks that began with one.
        if is_canary && let Some(difference) = test.difference() {
            holds &= (difference.low..=difference.high).contains(&(canary - champion));
        }
    }
    (test.standing(), holds)
}

/// After how many outcomes each of 400 runs found the canary worse, those that did; and the share whose difference was
/// once not where it was said to be.
fn alarms(means: Means, canary_share: f64) -> (Vec<u64>, f64) {
    let runs: Vec<(Standing, bool)> = (0..RUNS)
        .into_par_iter()
        .map(|seed| run(means, canary_share, seed))
        .collect();
    let missed = runs.iter().filter(|(_, holds)| !holds).count();
    let mut alarms: Vec<u64> = runs
        .into_iter()
        .filter_map(|(standing, _)| match standing {
            Standing::Open => None,
            Standing::Worse { outcomes } => Some(outcomes),
        })
        .collect();
    alarms.sort_unstable();
    (alarms, missed as f64 / RUNS as f64)
}

/// Questions that grow harder for both arms and easier again, thrice in a run.
fn tide(time: u64) -> [f64; 2] {
    let phase = time as f64 / OUTCOMES as f64 * 3.0 * std::f64::consts::TAU;
    [0.7 + 0.25 * phase.sin(); 2]
}

#[test]
fn of_canaries_as_good_as_the_champion_one_in_twenty_is_ever_called_worse_at_most() {
    let as_good: [(&str, Means, f64); 4] = [
        ("0.8", |_| [0.8; 2], 0.1),
        ("0.5", |_| [0.5; 2], 0.2),
        ("0.98", |_| [0.98; 2], 0.1),
        ("tide", tide, 0.05),
    ];
    for (name, means, share) in as_good {
        let (alarms, missed) = alarms(means, share);
        let alarms = alarms.len() as u64;
        println!("as good, {name}, share {share}: {alarms} of {RUNS}, missed {missed}");
        assert!(alarms * 20 <= RUNS, "{name} {share}: {alarms}");
        assert!(missed <= 0.05, "{name} {share}: {missed}");
    }
}

#[test]
fn of_canaries_worse_by_ten_points_nineteen_in_twenty_are_found() {
    let worse: [(Means, f64, u64); 3] = [
        (|_| [0.8, 0.7], 0.05, 10_000),
        (|_| [0.8, 0.7], 0.1, 5_000),
        (|_| [0.8, 0.7], 0.2, 2_500),
    ];
    for (means, share, median_max) in worse {
        let (alarms, missed) = alarms(means, share);
        let median = alarms[alarms.len() / 2];
        println!(
            "10 points worse, share {share}: {} of {RUNS}, median {median}, 90 % {}, missed {missed}",
            alarms.len(),
            alarms[alarms.len() * 9 / 10]
        );
        assert!(
            alarms.len() as u64 * 20 >= RUNS * 19,
            "{share}: {}",
            alarms.len()
        );
        assert!(median <= median_max, "{share}: {median}");
        assert!(missed <= 0.05, "{share}: {missed}");
    }
}

#[test]
fn a_better_canary_is_never_called_worse_and_its_interval_comes_to_exclude_zero() {
    let mut random = SmallRng::seed_from_u64(1);
    let mut test = SequentialTest::new(0.05).unwrap();
    for _ in 0..OUTCOMES {
        let is_canary = random.random_bool(0.1);
        let arm = if is_canary {
            Arm::Canary
        } else {
            Arm::Champion
        };
        let outcome: f64 = random.random_range(0.0..0.8) + if is_canary { 0.2 } else { 0.0 };
        assert_eq!(test.observe(arm, outcome).unwrap(), Standing::Open);
    }
    let difference = test.difference().unwrap();
    assert!(difference.low > 0.0 && difference.low < 0.2 && difference.high > 0.2);
    assert!((difference.mean - 0.2).abs() < 0.03, "{difference:?}");
}

#[test]
fn what_is_worse_stays_worse() {
    let mut test = SequentialTest::new(0.05).unwrap();
    let mut standing = Standing::Open;
    while standing == Standing::Open {
        test.observe(Arm::Champion, 1.0).unwrap();
        standing = test.observe(Arm::Canary, 0.0).unwrap();
    }
    // Ten blocks would be called worse by chance less often than once in a thousand times.
    assert!(test.outcomes() <= 20, "{}", test.outcomes());
    for _ in 0..1000 {
        test.observe(Arm::Champion, 0.0).unwrap();
        assert_eq!(test.observe(Arm::Canary, 1.0).unwrap(), standing);
    }
}

#[test]
fn a_test_that_was_stored_goes_on_as_if_it_had_not_been() {
    let mut random = SmallRng::seed_from_u64(3);
    let mut whole = SequentialTest::new(0.05).unwrap();
    let mut stored = whole.clone();
    for _ in 0..500 {
        let arm = if random.random_bool(0.1) {
            Arm::Canary
        } else {
            Arm::Champion
        };
        let outcome = random.random();
        let json = serde_json::to_string(&stored).unwrap();
        stored = serde_json::from_str(&json).unwrap();
        assert_eq!(stored.observe(arm, outcome), whole.observe(arm, outcome));
        assert_eq!(stored, whole);
    }
    assert!(whole.difference().is_some());
}

#[test]
fn what_is_no_outcome_is_refused_and_changes_nothing() {
    let mut test = SequentialTest::new(0.05).unwrap();
    test.observe(Arm::Canary, 1.0).unwrap();
    let before = test.clone();
    for outcome in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
        assert!(test.observe(Arm::Champion, outcome).is_err());
    }
    assert_eq!(test, before);
    assert_eq!(test.difference(), None);
    for alpha in [0.0, 1.0, -1.0, f64::NAN] {
        assert!(SequentialTest::new(alpha).is_err());
    }
}
