//! Without a change there is next to no alarm.

use super::house::{House, World};

/// Alarms of each of 20 runs of 20,000 questions of a world in which nothing changes.
fn false_alarms(world: World, named: bool) -> Vec<usize> {
    let run = |seed| {
        let mut house = House::new(seed);
        house.named = named;
        house.ask(&world, 20_000).len()
    };
    (0..20).map(run).collect()
}

#[test]
fn a_run_without_a_change_has_one_alarm_at_most() {
    let counts = false_alarms(World::default(), true);
    println!("false alarms: {counts:?}");
    assert!(counts.iter().all(|count| *count <= 1), "{counts:?}");
    assert!(counts.iter().sum::<usize>() <= 20, "{counts:?}");
}

#[test]
fn a_wobble_of_sessions_sets_off_nothing_where_conversations_are_named() {
    let bursts = World {
        burst: 5,
        ..World::default()
    };
    let counts = false_alarms(bursts, true);
    println!("bursts, one question of a conversation: {counts:?}");
    assert!(counts.iter().all(|count| *count <= 1), "{counts:?}");
    assert!(counts.iter().sum::<usize>() <= 20, "{counts:?}");
    // The naming is what does it: all questions of all conversations are more than the promise allows for.
    let mut house = House::new(0);
    house.named = false;
    assert!(house.ask(&bursts, 20_000).len() > 1);
}
