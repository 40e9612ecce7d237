mod coverage;
mod synthetic;

use super::*;
use synthetic::{EXPERTS, Grades, House};

fn row(reward: f64, propensity: f64, target: f64, cluster: u64) -> Outcome {
    Outcome {
        expert: 0,
        reward,
        propensity: Some(propensity),
        target,
        weight_max: target / propensity,
        unsupported: 0.0,
        predicted: None,
        cluster,
    }
}

fn predicted(outcome: Outcome, logged: f64, target: f64) -> Outcome {
    let predicted = Some(Predicted { logged, target });
    Outcome {
        predicted,
        ..outcome
    }
}

fn assert_close(estimate: Option<Estimate>, value: f64) {
    let estimate = estimate.unwrap();
    assert!((estimate.value - value).abs() < 1e-12, "{estimate:?}");
    assert!(estimate.low <= value && value <= estimate.high);
}

/// Which doubts there are, by the beginnings of their names.
fn named(report: &Report) -> Vec<String> {
    let name = |doubt: &Doubt| {
        let doubt = serde_json::to_value(doubt).unwrap();
        doubt["doubt"].as_str().unwrap().to_owned()
    };
    report.doubts.iter().map(name).collect()
}

#[test]
fn estimates_of_four_rows_are_those_worked_out_by_hand() {
    let rows = [
        predicted(row(1.0, 0.5, 1.0, 0), 0.5, 0.5),
        predicted(row(0.0, 0.5, 0.0, 1), 0.25, 0.75),
        predicted(row(0.5, 0.25, 0.25, 2), 0.5, 0.5),
        predicted(row(0.0, 0.5, 0.5, 3), 0.25, 0.25),
    ];
    let report = estimate(&rows, &Bounds::default());
    // Weights 2, 0, 1, 1.
    assert_close(report.inverse_propensity, 2.5 / 4.0);
    assert_close(report.self_normalised, 2.5 / 4.0);
    assert_close(report.doubly_robust, (1.5 + 0.75 + 0.5 + 0.0) / 4.0);
    assert!((report.effective_rows - 16.0 / 6.0).abs() < 1e-12);
    assert!((report.largest_share - 0.5).abs() < 1e-12);
    assert!((report.weight_mean - 1.0).abs() < 1e-12);
    assert_eq!(report.best(), report.doubly_robust);
}

#[test]
fn the_policy_that_served_is_worth_its_mean_reward() {
    let rows: Vec<Outcome> = (0..400_u32)
        .map(|at| row(f64::from(at % 4) / 4.0, 1.0, 1.0, at.into()))
        .collect();
    let report = estimate(&rows, &Bounds::default());
    assert!(report.can_tell());
    assert_close(report.inverse_propensity, 0.375);
    assert_close(report.self_normalised, 0.375);
    assert_eq!(report.doubly_robust, None, "nothing was predicted");
    let interval = report.self_normalised.unwrap();
    // A standard error of 0.28 / 20.
    assert!((interval.high - interval.low - 2.0 * 1.96 * 0.014).abs() < 0.002);
}

#[test]
fn rows_without_a_propensity_or_a_reward_are_left_out_and_counted() {
    let whole: Vec<Outcome> = (0..90).map(|at| row(1.0, 1.0, 1.0, at)).collect();
    let lacking = |propensity: Option<f64>, reward: f64| Outcome {
        propensity,
        ..row(reward, 1.0, 1.0, 7)
    };
    let broken = [
        lacking(None, 1.0),
        lacking(Some(0.0), 1.0),
        lacking(Some(1.5), 1.0),
        lacking(Some(1.0), f64::NAN),
    ];
    let report = estimate(&[&whole[..], &broken].concat(), &Bounds::default());
    assert_eq!((report.rows, report.left_out), (90, 4));
    assert!(report.can_tell());
    let report = estimate(&[&whole[..3], &broken].concat(), &Bounds::default());
    assert_eq!(
        named(&report),
        ["few_effective_rows", "one_row_dominates", "left_out"]
    );
    let report = estimate(&broken, &Bounds::default());
    assert_eq!(named(&report), ["no_rows"]);
    assert_eq!(report.best(), None);
}

#[test]
fn a_few_heavy_rows_are_not_relied_on() {
    let mut rows: Vec<Outcome> = (0..300).map(|at| row(1.0, 1.0, 0.5, at)).collect();
    rows.push(row(0.0, 0.01, 1.0, 300));
    rows.push(row(0.0, 0.02, 1.0, 301));
    let report = estimate(&rows, &Bounds::default());
    assert_eq!(named(&report), ["few_effective_rows", "one_row_dominates"]);
    let text = report.doubts[1].to_string();
    assert_eq!(
        text,
        "one outcome has 33.3 % of all weight; at most 10.0 % may be one's"
    );
}

#[test]
fn propensities_that_cannot_be_true_are_found() {
    // Written down as twice as likely as they were.
    let house = House::new(3, 2);
    let mut log = house.log(3_000, 0.2, Grades::Binary, 5);
    let target = |row: usize, expert: usize, log: &[Logged]| {
        f64::from(u8::from(house.logging[log[row].category] == expert))
    };
    let sound = outcomes(&log, EXPERTS, |row, expert| target(row, expert, &log), 1);
    assert!(estimate(&sound, &Bounds::default()).can_tell());
    for row in &mut log {
        row.propensity = row.propensity.map(|propensity| propensity / 2.0);
    }
    let untrue = outcomes(&log, EXPERTS, |row, expert| target(row, expert, &log), 1);
    let report = estimate(&untrue, &Bounds::default());
    assert_eq!(named(&report), ["untrue_propensities"]);
}

#[test]
fn what_has_no_reward_still_tells_of_the_propensities() {
    // Both answer half of the questions; of the second's answers rewards are known of one in five.
    let rows: Vec<Outcome> = (0..4_000_usize)
        .map(|at| Outcome {
            expert: at % 2,
            target: f64::from(u8::from(at % 2 == 0)),
            reward: if at % 2 == 1 && at % 10 > 1 {
                f64::NAN
            } else {
                0.5
            },
            ..row(0.5, 0.5, 1.0, at as u64)
        })
        .collect();
    let report = estimate(&rows, &Bounds::default());
    assert!((report.weight_mean - 1.0).abs() < 1e-9, "{report:?}");
    assert_eq!(named(&report), ["unequal_rewards"]);
    assert_eq!(
        report.doubts[0].to_string(),
        "rewards are known of 20.0 % of one expert's answers and of 100.0 % of another's; what is not known may be otherwise"
    );
}

#[test]
fn rewards_that_are_seldom_known_of_anybody_are_no_doubt_of_their_own() {
    let rows: Vec<Outcome> = (0..4_000_usize)
        .map(|at| Outcome {
            expert: at % 2,
            reward: if at % 20 > 1 { f64::NAN } else { 0.5 },
            ..row(0.5, 0.5, 0.5, at as u64)
        })
        .collect();
    assert_eq!(named(&estimate(&rows, &Bounds::default())), ["left_out"]);
}

#[test]
fn experts_that_the_log_never_shows_are_told_of() {
    let house = House::new(3, 4);
    let log = house.log(3_000, 0.0, Grades::Binary, 5);
    let target =
        |row: usize, expert: usize| f64::from(u8::from(house.target[log[row].category] == expert));
    let report = estimate(&outcomes(&log, EXPERTS, target, 1), &Bounds::default());
    assert!(named(&report).contains(&"unsupported".to_owned()));
    let share = |row: &&Logged| house.target[row.category] != house.logging[row.category];
    let differing = log.iter().filter(share).count() as f64 / 3_000.0;
    assert!((report.unsupported - differing).abs() < 1e-12);
}

#[test]
fn a_wrong_model_of_the_rewards_is_put_right() {
    let house = House::new(11, 4);
    let log = house.log(10_000, 0.2, Grades::Quarters, 2);
    let target =
        |row: usize, expert: usize| f64::from(u8::from(house.target[log[row].category] == expert));
    let rows: Vec<Outcome> = outcomes(&log, EXPERTS, target, 1)
        .into_iter()
        .map(|outcome| predicted(outcome, 1.0, 1.0))
        .collect();
    let robust = estimate(&rows, &Bounds::default()).doubly_robust.unwrap();
    assert!(robust.low <= house.value() && house.value() <= robust.high);
    assert!(robust.high < 0.9, "the model says 1: {robust:?}");
}

#[test]
fn the_same_log_gives_the_same_report() {
    let house = House::new(5, 4);
    let log = house.log(2_000, 0.2, Grades::Binary, 8);
    let target =
        |row: usize, expert: usize| f64::from(u8::from(house.target[log[row].category] == expert));
    let report = || estimate(&outcomes(&log, EXPERTS, target, 4), &Bounds::default());
    assert_eq!(report(), report());
    let other = estimate(&outcomes(&log, EXPERTS, target, 5), &Bounds::default());
    assert_eq!(other.self_normalised, report().self_normalised);
    assert_ne!(other.doubly_robust, report().doubly_robust, "other parts");
}
