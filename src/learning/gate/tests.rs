mod draw;
mod simulation;

use proptest::prelude::*;

use self::draw::{Rates, World};
use super::*;
use crate::ids::OUT_OF_DOMAIN;

/// As many resamples as a test can wait for.
fn bounds() -> Bounds {
    Bounds {
        measure: Measure::Accuracy,
        // These champions misroute as they like.
        misroute_max: 1.0,
        conversations_min: 200,
        resamples: 100,
        ..Bounds::default()
    }
}

/// A challenger that is six points better everywhere.
fn much_better(rows: usize) -> Vec<Row> {
    World::new(Rates::even(0.09, 0.03)).rows(rows, 1)
}

fn ending(judgement: &Judgement, subject: Subject) -> Ending {
    let mut endings = judgement
        .checks
        .iter()
        .filter(|check| check.subject == subject);
    endings.next().unwrap().ending
}

fn failed(judgement: &Judgement) -> Vec<Subject> {
    let failed = judgement
        .checks
        .iter()
        .filter(|check| check.ending == Ending::Failed);
    failed.map(|check| check.subject).collect()
}

#[test]
fn a_challenger_that_is_much_better_passes_and_the_judgement_says_what_was_not_judged() {
    let judgement = judge(&much_better(2000), Itself::default(), &bounds(), 7);
    assert!(judgement.passed, "{}", judgement.reason);
    assert_eq!(judgement.reason, "passed every check that could be made");
    assert_eq!(ending(&judgement, Subject::LatencyP99), Ending::Skipped);
    let better = &judgement.checks[1];
    assert_eq!(better.subject, Subject::Better);
    assert!(
        better
            .words
            .starts_with("the challenger is right more often: "),
        "{}",
        better.words
    );
    let (difference, interval) = (better.difference.unwrap(), better.interval.unwrap());
    assert!(interval.low > 0.0 && interval.low < difference && difference < interval.high);
}

#[test]
fn the_same_challenger_in_the_champions_place_is_refused_by_its_accuracy() {
    let mut rows = much_better(2000);
    for row in &mut rows {
        std::mem::swap(&mut row.champion, &mut row.challenger);
    }
    let judgement = judge(&rows, Itself::default(), &bounds(), 7);
    assert!(!judgement.passed);
    assert_eq!(ending(&judgement, Subject::Better), Ending::Failed);
}

#[test]
fn too_few_rows_are_refused_without_a_further_check() {
    for rows in [0, 1, 199] {
        let judgement = judge(&much_better(rows), Itself::default(), &bounds(), 7);
        assert!(!judgement.passed);
        assert!(
            judgement.reason.contains("too few rows"),
            "{}",
            judgement.reason
        );
        assert_eq!(failed(&judgement), [Subject::Rows]);
        assert_eq!(judgement.checks.len(), 1);
    }
}

#[test]
fn rows_of_few_conversations_are_too_few_however_many_they_are() {
    let mut rows = much_better(2000);
    for (at, row) in rows.iter_mut().enumerate() {
        row.conversation = at as u64 % 199;
    }
    let judgement = judge(&rows, Itself::default(), &bounds(), 7);
    assert_eq!((judgement.rows, judgement.conversations), (2000, 199));
    assert!(
        judgement.reason.contains("too few rows"),
        "{}",
        judgement.reason
    );
}

#[test]
fn no_rows_never_pass_even_where_none_are_asked_for() {
    let none_needed = Bounds {
        conversations_min: 0,
        ..bounds()
    };
    assert!(!judge(&[], Itself::default(), &none_needed, 7).passed);
}

#[test]
fn a_confidence_that_is_no_number_is_refused() {
    for confidence in [f64::NAN, 1.5, -0.1, f64::INFINITY] {
        let mut rows = much_better(2000);
        rows[17].challenger.confidence = confidence;
        assert_eq!(
            failed(&judge(&rows, Itself::default(), &bounds(), 7)),
            [Subject::Rows]
        );
    }
    let mut rows = much_better(2000);
    rows[17].champion.out_of_domain = f64::NAN;
    assert_eq!(
        failed(&judge(&rows, Itself::default(), &bounds(), 7)),
        [Subject::Rows]
    );
}

#[test]
fn a_challenger_whose_confidences_are_too_high_is_refused_for_that_alone() {
    let mut rows = much_better(2000);
    for row in &mut rows {
        row.challenger.confidence = 1.0 - (1.0 - row.challenger.confidence) / 3.0;
    }
    assert_eq!(
        failed(&judge(&rows, Itself::default(), &bounds(), 7)),
        [Subject::Calibration]
    );
}

#[test]
fn a_challenger_that_finds_nothing_strange_is_refused_for_that_alone() {
    let mut rows = much_better(2000);
    for row in &mut rows {
        row.challenger.out_of_domain = 0.0;
    }
    let judgement = judge(&rows, Itself::default(), &bounds(), 7);
    assert_eq!(failed(&judgement), [Subject::OutOfDomain]);
    assert!(
        judgement.reason.contains("0.500 beside 0."),
        "{}",
        judgement.reason
    );
}

#[test]
fn without_rows_out_of_domain_that_check_is_skipped_and_says_so() {
    let mut rows = much_better(2000);
    rows.retain(|row| row.label.as_str() != OUT_OF_DOMAIN);
    let judgement = judge(&rows, Itself::default(), &bounds(), 7);
    assert!(judgement.passed, "{}", judgement.reason);
    let mut checks = judgement.checks.iter();
    let skipped = checks
        .find(|check| check.subject == Subject::OutOfDomain)
        .unwrap();
    assert_eq!(skipped.ending, Ending::Skipped);
    assert!(
        skipped.words.contains("0 rows out of domain"),
        "{}",
        skipped.words
    );
}

#[test]
fn latencies_may_be_as_many_times_as_long_as_is_allowed_and_no_longer() {
    let of = |challenger_p50_us, challenger_p99_us| Latency {
        champion_p50_us: 1000,
        champion_p99_us: 4000,
        challenger_p50_us,
        challenger_p99_us,
    };
    let rows = much_better(2000);
    let (p50, p99) = (Subject::LatencyP50, Subject::LatencyP99);
    for (slack_us, latency, fails) in [
        (0, of(1500, 6000), vec![]),
        (0, of(1501, 100), vec![p50]),
        (0, of(100, 6001), vec![p99]),
        (1000, of(2000, 6000), vec![]),
        (1000, of(2001, 6000), vec![p50]),
    ] {
        let bounds = Bounds {
            latency_slack_us: slack_us,
            ..bounds()
        };
        assert_eq!(
            failed(&judge(
                &rows,
                Itself {
                    latency: Some(latency),
                    ..Itself::default()
                },
                &bounds,
                7
            )),
            fails
        );
    }
}

#[test]
fn a_loss_on_the_newest_rows_is_refused_whatever_the_others_say() {
    let mut rows = much_better(2000);
    for row in rows.iter_mut().rev().take(200) {
        row.is_newest = true;
    }
    assert_eq!(
        ending(
            &judge(&rows, Itself::default(), &bounds(), 7),
            Subject::Newest
        ),
        Ending::Passed
    );
    let mut turned = rows.clone();
    for row in turned.iter_mut().filter(|row| row.is_newest) {
        std::mem::swap(&mut row.champion, &mut row.challenger);
    }
    let judgement = judge(&turned, Itself::default(), &bounds(), 7);
    assert_eq!(ending(&judgement, Subject::Better), Ending::Passed);
    assert_eq!(failed(&judgement), [Subject::Newest]);
    for row in rows.iter_mut().take(1980) {
        row.is_newest = false;
    }
    assert_eq!(
        ending(
            &judge(&rows, Itself::default(), &bounds(), 7),
            Subject::Newest
        ),
        Ending::Skipped
    );
}

#[test]
fn what_is_done_at_the_threshold_is_judged_as_well() {
    let better = much_better(2000);
    let refused = |mut rows: Vec<Row>, change: fn(&mut Row)| {
        rows.iter_mut().step_by(5).for_each(change);
        failed(&judge(&rows, Itself::default(), &bounds(), 7))
    };
    // It knows more, and refuses a fifth.
    let shy = refused(better.clone(), |row| row.challenger.is_routed = false);
    assert_eq!(shy, [Subject::Settled]);
    // It routes what no category covers.
    let mut strange = better;
    for row in strange.iter_mut().take(400) {
        row.label = CategoryId::new(OUT_OF_DOMAIN);
        (row.champion.is_routed, row.challenger.is_routed) = (false, true);
        (row.champion.is_right, row.challenger.is_right) = (false, false);
    }
    let bold = failed(&judge(&strange, Itself::default(), &bounds(), 7));
    assert!(bold.contains(&Subject::Misrouted), "{bold:?}");
}

#[test]
fn where_the_routes_have_changed_it_is_enough_to_be_no_worse() {
    let as_good = World::new(Rates::even(0.05, 0.05)).rows(2000, 1);
    let worse = World::new(Rates::even(0.03, 0.09)).rows(2000, 1);
    let better = |rows: &[Row], needs_gain: bool| {
        let bounds = Bounds {
            needs_gain,
            ..bounds()
        };
        ending(&judge(rows, Itself::default(), &bounds, 7), Subject::Better)
    };
    assert_eq!(better(&as_good, true), Ending::Failed);
    assert_eq!(better(&as_good, false), Ending::Passed);
    assert_eq!(better(&worse, false), Ending::Failed);
}

#[test]
fn what_a_new_category_takes_is_held_against_no_other() {
    let mut rows = much_better(2000);
    let label = rows[0].label.clone();
    let of_category = rows.iter_mut().filter(|row| row.label == label);
    for row in of_category.step_by(3) {
        (row.champion.is_right, row.challenger.is_right) = (true, false);
        row.is_taken = true;
    }
    let loses = |rows: &[Row]| {
        let judgement = judge(rows, Itself::default(), &bounds(), 7);
        let mut checks = judgement.checks.into_iter();
        let check = checks.find(|check| check.category.as_ref() == Some(&label));
        check.map(|check| (check.ending, check.words)).unwrap()
    };
    let (ending, words) = loses(&rows);
    assert_eq!(ending, Ending::Passed, "{words}");
    assert!(words.contains("categories that are new take"), "{words}");
    rows.iter_mut().for_each(|row| row.is_taken = false);
    assert_eq!(loses(&rows).0, Ending::Failed);
}

#[test]
fn what_a_new_category_takes_makes_no_small_loss_a_large_one() {
    let mut rows = much_better(3_600);
    let of =
        |rows: &[Row], label: &CategoryId| rows.iter().filter(|row| row.label == *label).count();
    let label = rows
        .iter()
        .map(|row| row.label.clone())
        .max_by_key(|label| of(&rows, label))
        .unwrap();
    // A fifth of all: twelve losses and no gain are certain, and within the margin of two points.
    assert!((620..1_000).contains(&of(&rows, &label)));
    for (at, row) in rows.iter_mut().filter(|row| row.label == label).enumerate() {
        (row.champion.is_right, row.challenger.is_right) = (at < 40, (22..40).contains(&at));
        row.is_taken = (12..22).contains(&at);
    }
    let judgement = judge(&rows, Itself::default(), &bounds(), 7);
    let mut checks = judgement.checks.into_iter();
    let check = checks
        .find(|check| check.category.as_ref() == Some(&label))
        .unwrap();
    assert_eq!(check.ending, Ending::Passed, "{}", check.words);
}

#[test]
fn who_routes_twice_as_much_may_send_more_of_it_astray() {
    // Of two thousand rows the champion routes 500, 60 of them wrong; the challenger all, 200 of them wrong.
    let mut rows = much_better(2000);
    for (at, row) in rows.iter_mut().enumerate() {
        row.champion.is_routed = at < 500;
        row.champion.is_right = at >= 60 && at % 3 > 0;
        row.challenger.is_routed = true;
        row.challenger.is_right = at % 10 > 0;
    }
    let misrouted = |rows: &[Row]| {
        ending(
            &judge(rows, Itself::default(), &bounds(), 7),
            Subject::Misrouted,
        )
    };
    assert_eq!(misrouted(&rows), Ending::Passed);
    // A third of what it routes.
    for (at, row) in rows.iter_mut().enumerate() {
        row.champion.is_right = at % 10 > 0;
        row.challenger.is_right = at % 3 > 0;
    }
    assert_eq!(misrouted(&rows), Ending::Failed);
}

#[test]
fn nobody_is_held_to_what_a_champion_settles_that_breaks_its_promise() {
    // It routes everything, a fifth of it wrong; the challenger refuses what it is not sure of.
    let mut rows = much_better(600);
    for row in &mut rows {
        row.champion.is_routed = true;
        row.challenger.is_routed = row.challenger.is_right;
    }
    let settled = |misroute_max: f64| {
        let bounds = Bounds {
            misroute_max,
            ..bounds()
        };
        let judgement = judge(&rows, Itself::default(), &bounds, 1);
        ending(&judgement, Subject::Settled)
    };
    assert_eq!(settled(0.05), Ending::Skipped);
    assert_ne!(settled(0.5), Ending::Skipped);
}

#[test]
fn a_router_that_came_out_worse_than_its_stand_ins_is_refused() {
    let rows = much_better(2000);
    let right = rows.iter().filter(|row| row.challenger.is_right).count() as f64 / 2000.0;
    for (accuracy, fails) in [
        (right + 0.05, vec![]),
        (right - 0.019, vec![]),
        (right - 0.021, vec![Subject::Itself]),
    ] {
        let itself = Itself {
            accuracy: Some(accuracy),
            ..Itself::default()
        };
        assert_eq!(failed(&judge(&rows, itself, &bounds(), 7)), fails);
    }
}

#[test]
fn small_categories_are_judged_together_and_named() {
    let mut rows = much_better(2000);
    for (at, row) in rows.iter_mut().take(50).enumerate() {
        row.label = CategoryId::new(format!("small-{}", at % 5));
        (row.champion.is_right, row.champion.confidence) = (true, 0.95);
        (row.challenger.is_right, row.challenger.confidence) = (false, 0.05);
    }
    let judgement = judge(&rows, Itself::default(), &bounds(), 7);
    assert_eq!(failed(&judgement), [Subject::SmallCategories]);
    assert!(
        judgement.reason.contains("`small-0`, `small-1`"),
        "{}",
        judgement.reason
    );
    let judgement = judge(&rows.split_off(40), Itself::default(), &bounds(), 7);
    assert_eq!(
        ending(&judgement, Subject::SmallCategories),
        Ending::Skipped
    );
}

#[test]
fn a_judgement_survives_json_and_does_not_depend_on_the_number_of_threads() {
    let rows = much_better(600);
    let judgement = judge(&rows, Itself::default(), &bounds(), 7);
    let json = serde_json::to_string(&judgement).unwrap();
    assert_eq!(serde_json::from_str::<Judgement>(&json).unwrap(), judgement);
    let alone = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()
        .unwrap();
    assert_eq!(
        alone.install(|| judge(&rows, Itself::default(), &bounds(), 7)),
        judgement
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn whatever_the_rows_a_pass_means_that_nothing_failed_and_figures_are_numbers(
        seed in any::<u64>(),
        gain in 0.0..0.18,
        loss in 0.0..0.2,
        per_conversation in 1_u64..4,
        resamples in 0_usize..30,
    ) {
        let mut rows = World::new(Rates::even(gain, loss)).rows(400, seed);
        for row in &mut rows {
            row.conversation /= per_conversation;
        }
        let bounds = Bounds { measure: Measure::Accuracy, resamples, conversations_min: 1, ..Bounds::default() };
        let judgement = judge(&rows, Itself::default(), &bounds, seed);
        prop_assert_eq!(judgement.passed, failed(&judgement).is_empty());
        prop_assert!(resamples > 1 || !judgement.passed);
        let json = serde_json::to_string(&judgement).unwrap();
        prop_assert_eq!(serde_json::from_str::<Judgement>(&json).unwrap(), judgement);
    }
}
