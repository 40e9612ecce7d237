//! What is kept, and what an alarm says.

use super::{
    super::{Drift, Signal},
    house::{House, World},
};
use crate::{
    drift::{CELLS_MAX, DriftConfig, Judged, Question, ROUTERS_MAX},
    ids::{CategoryId, ExpertId, RouterId},
};

const STRANGER: f64 = 1.0;

fn strange() -> World {
    World {
        stranger: STRANGER,
        ..World::default()
    }
}

#[test]
fn an_alarm_says_what_changed_when_and_by_how_much() {
    for seed in 0..5 {
        let mut house = House::new(seed);
        house.ask(&World::default(), 3_000);
        let alarms = house.ask(&strange(), 300);
        let alarm = &alarms[0];
        assert_eq!(alarm.signal, Signal::Strangeness);
        assert!((2_970..=3_030).contains(&alarm.since_ms), "{alarm:?}");
        assert!(alarm.noticed_ms > 3_000);
        assert!(alarm.before.abs() < 0.1, "{alarm:?}");
        assert!((alarm.after - STRANGER).abs() < 0.5, "{alarm:?}");
        assert_eq!(alarm.rows_before + 1, alarm.since_ms.unsigned_abs());
        assert_eq!(
            alarm.rows_before + alarm.rows_after,
            alarm.noticed_ms.unsigned_abs()
        );
    }
}

#[test]
fn after_an_alarm_what_is_new_becomes_the_reference() {
    let mut house = House::new(1);
    house.ask(&World::default(), 3_000);
    assert_eq!(house.ask(&strange(), 6_000).len(), 1);
    let back = house.ask(&World::default(), 300);
    assert_eq!(back.len(), 1);
    assert!(back[0].before > back[0].after, "{back:?}");
}

#[test]
fn tests_go_on_from_what_was_written_down() {
    let mut house = House::new(2);
    house.ask(&World::default(), 1_700);
    let mut other = House::new(2);
    other.ask(&World::default(), 1_700);
    let written = serde_json::to_string(&other.drift).unwrap();
    other.drift = serde_json::from_str(&written).unwrap();
    assert_eq!(other.drift, house.drift);
    let alarms = house.ask(&strange(), 400);
    assert!(!alarms.is_empty());
    assert_eq!(other.ask(&strange(), 400), alarms);
    assert_eq!(other.drift, house.drift);
}

#[test]
fn the_state_does_not_grow_with_the_questions() {
    let bytes = |house: &House| serde_json::to_string(&house.drift).unwrap().len();
    let mut house = House::new(3);
    house.ask(&World::default(), 4_000);
    let early = bytes(&house);
    house.ask(&World::default(), 16_000);
    let late = bytes(&house);
    println!("state: {early} bytes, then {late}");
    assert!(late < early + early / 5, "{early} {late}");
}

#[test]
fn there_are_only_so_many_cells() {
    let mut drift = Drift::new(DriftConfig::default());
    for cell in 0..CELLS_MAX + 10 {
        drift.observe_success(&Judged {
            at_ms: 0,
            conversation: None,
            category: &CategoryId::new(format!("category_{}", cell % 100)),
            experts: &[(ExpertId::new(format!("expert_{}", cell / 100)), 1.0)],
        });
    }
    let cells: usize = drift.success.values().map(|experts| experts.len()).sum();
    assert_eq!(cells, CELLS_MAX);
}

fn question(router: &RouterId) -> Question<'_> {
    Question {
        at_ms: 0,
        conversation: None,
        router,
        confidence: 0.5,
        refused: false,
        strangeness: Some(0.5),
        features: &[0.5],
    }
}

#[test]
fn what_is_no_number_is_passed_over() {
    let mut drift = Drift::new(DriftConfig::default());
    let router = RouterId::new("a");
    let question = Question {
        confidence: f32::NAN,
        strangeness: Some(f32::INFINITY),
        ..question(&router)
    };
    drift.observe(&question);
    let rows: Vec<usize> = drift.references(&router).iter().map(|it| it.rows).collect();
    assert_eq!(rows, [0, 1, 0]);
}

#[test]
fn a_conversation_counts_once_and_is_judged_once() {
    let mut drift = Drift::new(DriftConfig::default());
    let router = RouterId::new("a");
    let question = Question {
        conversation: Some(7),
        ..question(&router)
    };
    assert!(drift.observe(&question).counts);
    assert!(!drift.observe(&question).counts);
    let experts = [(ExpertId::new("expert"), 1.0)];
    let judged = Judged {
        at_ms: 0,
        conversation: Some(7),
        category: &CategoryId::new("law"),
        experts: &experts,
    };
    assert!(drift.observe_success(&judged).counts);
    assert!(!drift.observe_success(&judged).counts);
    let references = drift.references(&router);
    assert!(references.iter().all(|it| it.rows == 1), "{references:?}");
}

#[test]
fn a_promotion_takes_nothing_from_what_is_no_routers_doing() {
    let mut drift = Drift::new(DriftConfig {
        features: true,
        ..DriftConfig::default()
    });
    let [old, new] = ["old", "new"].map(RouterId::new);
    for router in [&old, &old, &new] {
        drift.observe(&question(router));
    }
    let rows = |drift: &Drift, router| -> Vec<usize> {
        let references = drift.references(router);
        let is_empty = |signal: &Signal| matches!(signal, Signal::Feature(at) if *at > 0);
        let seen = references.iter().filter(|it| !is_empty(&it.signal));
        seen.map(|it| it.rows).collect()
    };
    assert_eq!(rows(&drift, &new), [1, 1, 1, 3, 3]);
    // The one before goes on where it was, should it come back.
    assert_eq!(rows(&drift, &old), [2, 2, 2, 3, 3]);
    drift.see_anew(true);
    assert_eq!(rows(&drift, &old), [2, 2, 2, 0, 0]);
    for at in 0..ROUTERS_MAX {
        drift.observe(&question(&RouterId::new(format!("{at}"))));
    }
    assert_eq!(drift.routers.len(), ROUTERS_MAX);
    assert!(!drift.routers.contains_key(&old));
}

#[test]
fn a_reference_that_is_not_whole_says_what_it_has_and_needs() {
    let mut house = House::new(4);
    house.ask(&World::default(), 300);
    let router = RouterId::new("router");
    let references = house.drift.references(&router);
    let confidence = &references[0];
    assert_eq!(confidence.signal, Signal::Confidence);
    assert_eq!((confidence.rows, confidence.needs), (300, 1_000));
    assert!(!confidence.is_whole());
    house.ask(&World::default(), 900);
    let references = house.drift.references(&router);
    assert!(references[0].is_whole() && references[0].rows == 1_000);
    let is_success = |signal: &Signal| matches!(signal, Signal::Success { .. });
    let cells = references.iter().filter(|it| is_success(&it.signal));
    let rows: Vec<usize> = cells.map(|it| it.rows).collect();
    assert_eq!(rows.iter().sum::<usize>(), 1_200, "{references:?}");
    assert_eq!(references.len(), 3 + 4 + 1 + 12);
}
