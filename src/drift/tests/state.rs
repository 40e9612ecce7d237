//! What is kept, and what an alarm says.

use super::{
    super::{Drift, Signal},
    house::{House, World},
};
use crate::{
    drift::{CELLS_MAX, DriftConfig, Judged, Question},
    ids::{CategoryId, ExpertId},
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
            category: &CategoryId::new(format!("category_{}", cell % 100)),
            expert: &ExpertId::new(format!("expert_{}", cell / 100)),
            success: 1.0,
        });
    }
    let cells: usize = drift.success.values().map(|experts| experts.len()).sum();
    assert_eq!(cells, CELLS_MAX);
}

#[test]
fn what_is_no_number_is_passed_over() {
    let mut drift = Drift::new(DriftConfig::default());
    let question = Question {
        at_ms: 0,
        conversation: None,
        confidence: f32::NAN,
        refused: false,
        strangeness: Some(f32::INFINITY),
        features: &[],
    };
    let before = drift.clone();
    drift.observe(&question);
    assert_eq!(drift.confidence, before.confidence);
    assert_eq!(drift.strangeness, before.strangeness);
    assert_ne!(drift.refused, before.refused);
}
