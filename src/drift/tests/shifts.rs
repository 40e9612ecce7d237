//! What changes is noticed soon.

use super::{
    super::{Alarm, Signal},
    house::{House, LOGIT_078, World, median},
};

const RUNS: u64 = 30;

/// Within how many questions each run notices a change after `before` questions without; `most` and more if not.
fn delays(before: usize, changed: World, most: usize, what: &Signal) -> Vec<usize> {
    let run = |seed| {
        let mut house = House::new(1_000 + seed);
        house.ask(&World::default(), before);
        let sees = |alarm: &Alarm| alarm.signal == *what;
        let noticed = (1..=most).find(|_| house.ask_one(&changed).iter().any(sees));
        noticed.unwrap_or(usize::MAX)
    };
    (0..RUNS).map(run).collect()
}

fn assert_soon(before: usize, changed: World, most: usize, what: &Signal) {
    let delays = delays(before, changed, most, what);
    let soon = delays.iter().filter(|delay| **delay <= most).count();
    println!(
        "{what:?} after {before}: {soon} of {RUNS} within {most}, median {}",
        median(delays.clone())
    );
    assert!(soon * 10 >= delays.len() * 9, "{what:?}: {delays:?}");
}

#[test]
fn less_confidence_is_noticed_within_300_questions() {
    let changed = World {
        confidence_logit: LOGIT_078,
        ..World::default()
    };
    assert_soon(1_500, changed, 300, &Signal::Confidence);
    assert_soon(6_000, changed, 300, &Signal::Confidence);
}

#[test]
fn more_refused_questions_are_noticed_within_300() {
    let changed = World {
        refused: 0.15,
        ..World::default()
    };
    assert_soon(4_000, changed, 300, &Signal::OutOfDomain);
}

#[test]
fn fewer_refused_questions_are_noticed_as_well() {
    let changed = World {
        refused: 0.01,
        ..World::default()
    };
    assert_soon(8_000, changed, 2_000, &Signal::OutOfDomain);
}

#[test]
fn stranger_questions_are_noticed_within_300() {
    let changed = World {
        stranger: 0.6,
        ..World::default()
    };
    assert_soon(1_500, changed, 300, &Signal::Strangeness);
}

#[test]
fn an_expert_that_gets_worse_is_noticed_within_300_of_its_questions() {
    for before in [500, 1_000, 1_500] {
        let run = |seed: u64| {
            let mut house = House::new(2_000 + seed);
            for _ in 0..before {
                house.judge_at(0.8);
            }
            let noticed = (1..=300).find(|_| !house.judge_at(0.6).is_empty());
            noticed.unwrap_or(usize::MAX)
        };
        let delays: Vec<usize> = (0_u64..200).map(run).collect();
        let soon = delays.iter().filter(|delay| **delay <= 300).count();
        println!(
            "success after {before}: {soon} of 200, median {}",
            median(delays)
        );
        assert!(
            soon >= if before < 1_000 { 140 } else { 180 },
            "{before}: {soon}"
        );
    }
}

#[test]
fn an_expert_that_is_down_is_noticed_though_another_answers() {
    let mut house = House::new(3);
    house.ask(&World::default(), 6_000);
    let down = World {
        failing: 1.0,
        ..World::default()
    };
    let alarms = house.ask(&down, 600);
    let of_it = |alarm: &&Alarm| matches!(&alarm.signal, Signal::Success { expert, .. } if expert.as_str() == "expert");
    // Fifty questions in each of the twelve categories.
    assert!(alarms.iter().filter(of_it).count() >= 10, "{alarms:?}");
    assert!(alarms.iter().all(|alarm| alarm.after < alarm.before));
}
