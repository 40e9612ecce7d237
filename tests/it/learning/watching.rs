//! What a running server says by itself of questions that change.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};

use super::{House, known_questions, of_the_night_sky};

/// Questions before the change, which are more than a test's reference, and questions since.
const BEFORE: usize = 1_200;
const SINCE: usize = 250;

/// What begins the lines of metrics that count alarms.
const ALARMS: &str = "coterie_drift_alarms_total{";

/// What `coterie drift` says once all questions are written. Nothing is proposed: that would be read by the transformer.
async fn drift(house: &House, questions: usize) -> Value {
    for _ in 0..100 {
        let told = house.coterie.printed(&["drift", "--since", "1ms"]);
        if told["questions"] == questions {
            return told;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{questions} questions are never all written");
}

/// The lines of metrics that count these alarms, sorted.
fn lines(alarms: &Value) -> Vec<String> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for alarm in alarms.as_array().unwrap() {
        *counts.entry(alarm["signal"].as_str().unwrap()).or_default() += 1;
    }
    let counts = counts.into_iter();
    counts
        .map(|(signal, count)| format!("{ALARMS}signal=\"{signal}\"}} {count}"))
        .collect()
}

/// The lines that the server has, sorted.
async fn counted(house: &House) -> Vec<String> {
    let metrics = house.coterie.read("/metrics").await;
    let lines = metrics.lines().filter(|line| line.starts_with(ALARMS));
    let mut lines: Vec<String> = lines.map(str::to_owned).collect();
    lines.sort_unstable();
    lines
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_server_says_by_itself_of_a_change_what_the_command_says() {
    let house = House::with_strangers().await;
    house.ask(known_questions(BEFORE)).await;
    let quiet = drift(&house, BEFORE).await;
    assert_eq!(quiet["alarms"], json!([]), "{quiet:#}");
    house.ask(of_the_night_sky(SINCE)).await;
    let found = drift(&house, BEFORE + SINCE).await;
    let expected = lines(&found["alarms"]);
    assert!(!expected.is_empty(), "{found:#}");
    // It looks every half minute, and nobody tells it to.
    for tries in 0.. {
        let told = counted(&house).await;
        if told == expected {
            break;
        }
        assert!(tries < 900, "{told:?} instead of {expected:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    house.coterie.stop().await;
}
