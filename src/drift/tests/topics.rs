//! A new topic among the questions is noticed by where their vectors point.

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use super::{
    super::{Drift, DriftConfig, Question, Signal, project},
    house::{median, normal},
};
use crate::{ids::RouterId, router::narrow};

const DIMENSIONS: usize = 128;
const TOPICS: usize = 8;

/// Each is a world of its own.
const RUNS: u64 = 10;

/// Vectors as a static encoder makes them: all texts have something in common, those of a topic more, and each its own words.
struct Encoder {
    random: StdRng,
    common: Vec<f64>,
    /// The last of them is the new one.
    topics: Vec<Vec<f64>>,
}

impl Encoder {
    fn new(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let common = direction(&mut random);
        let topics = (0..=TOPICS).map(|_| direction(&mut random)).collect();
        Self {
            random,
            common,
            topics,
        }
    }

    fn vector(&mut self, topic: usize) -> Vec<f32> {
        let own = direction(&mut self.random);
        let sum = (0..DIMENSIONS)
            .map(|at| 0.5 * self.common[at] + 0.7 * self.topics[topic][at] + 0.6 * own[at]);
        let sum: Vec<f64> = sum.collect();
        let length = sum.iter().map(|number| number * number).sum::<f64>().sqrt();
        sum.iter().map(|number| narrow(number / length)).collect()
    }

    /// A question, of the new topic with a probability.
    fn ask(&mut self, new: f64) -> Vec<f32> {
        let topic = if self.random.random_bool(new) {
            TOPICS
        } else {
            self.random.random_range(0..TOPICS)
        };
        self.vector(topic)
    }
}

fn direction(random: &mut StdRng) -> Vec<f64> {
    let numbers: Vec<f64> = (0..DIMENSIONS).map(|_| normal(random)).collect();
    let length = numbers.iter().map(|it| it * it).sum::<f64>().sqrt();
    numbers.iter().map(|number| number / length).collect()
}

/// After how many questions each of so many runs notices a new topic that has a share of them.
fn delays(share: f64, most: usize) -> Vec<usize> {
    let router = RouterId::new("router");
    let run = |seed| {
        let mut encoder = Encoder::new(seed);
        let mut drift = Drift::new(DriftConfig {
            features: true,
            seed,
            ..DriftConfig::default()
        });
        let mut ask = |new, at_ms| {
            let features = project(&encoder.ask(new), seed);
            let question = Question {
                at_ms,
                conversation: None,
                router: &router,
                confidence: 0.9,
                refused: false,
                strangeness: None,
                features: &features,
            };
            let alarms = drift.observe(&question).alarms;
            alarms.iter().any(|alarm| alarm.signal == Signal::Novelty)
        };
        let before = (0..2_500).filter(|at| ask(0.0, *at)).count();
        assert_eq!(before, 0, "nothing had changed");
        let noticed = (1..=most).find(|_| ask(share, 2_500));
        noticed.unwrap_or(usize::MAX)
    };
    (0..RUNS).map(run).collect()
}

#[test]
fn a_new_topic_is_noticed_within_some_hundred_questions() {
    for (share, most) in [(0.1, 600), (0.2, 200)] {
        let delays = delays(share, most);
        let soon = delays.iter().filter(|delay| **delay <= most).count();
        println!(
            "{share}: {soon} of {RUNS} within {most}, median {}",
            median(delays.clone())
        );
        assert!(soon * 10 >= delays.len() * 9, "{share}: {delays:?}");
    }
}
