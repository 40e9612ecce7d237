//! Made-up questions, what became of them and what was said of them.

use std::{sync::LazyLock, time::Duration};

use coterie::{
    clock,
    config::{Prefer, Preference},
    decision::{Decision, Reason, Score},
    expert::{Attempt, Role},
    ids::{CategoryId, ExpertId, MappingId, RouterId},
    learning::{Label, Origin},
    mapping::Grounds,
    outcome::{Ask, Ending, Feedback, Outcome},
};
use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};

pub(crate) const CATEGORIES: usize = 12;
pub(crate) const EXPERTS: usize = 5;

/// Words of a question that are used in its category alone.
const TOPIC_WORDS: usize = 4;

/// Time between two outcomes, in milliseconds: a million in eleven days.
const APART_MS: i64 = 1000;

/// When the first was asked, milliseconds since 1970 UTC: so long ago that a million are all of the last thirty days, which is as
/// far as retraining looks back for the mapping.
static BEGIN_MS: LazyLock<i64> = LazyLock::new(|| clock::now_ms() - 12 * 24 * 60 * 60 * 1000);

/// Made-up traffic, but for its times the same in each run.
pub(crate) struct Traffic {
    pub(crate) random: SmallRng,
}

pub(crate) fn asked_at_ms(at: usize) -> i64 {
    *BEGIN_MS + i64::try_from(at).unwrap_or(i64::MAX) * APART_MS
}

/// As ids of version 7 are: they begin with the time.
pub(crate) fn id(at: usize) -> String {
    let mixed = (at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let time = asked_at_ms(at).unsigned_abs();
    format!(
        "{:08x}-{:04x}-7{:03x}-8{:03x}-{:012x}",
        time >> 16,
        time & 0xffff,
        mixed >> 52,
        mixed >> 40 & 0xfff,
        mixed & 0xffff_ffff_ffff
    )
}

pub(crate) fn category(at: usize) -> CategoryId {
    CategoryId::new(format!("category_{}", at % CATEGORIES))
}

pub(crate) fn expert(at: usize) -> ExpertId {
    ExpertId::new(format!("expert-{}", at % EXPERTS))
}

fn letter(at: usize) -> char {
    char::from(b"abcdefghijklmnopqrstuvwxyz"[at % 26])
}

impl Traffic {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            random: SmallRng::seed_from_u64(seed),
        }
    }

    /// Words of a made-up language, so many on average.
    fn text(&mut self, words: usize) -> String {
        let words = self.random.random_range(words / 2..words * 3 / 2);
        let mut text = String::new();
        for _ in 0..words {
            let letters = self.random.random_range(2..9);
            text.extend((0..letters).map(|_| char::from(self.random.random_range(b'a'..=b'z'))));
            text.push(' ');
        }
        text
    }

    /// A question of the category that an outcome has: some of its words are used there alone.
    pub(crate) fn question(&mut self, at: usize) -> String {
        let mut question = self.text(16);
        for _ in 0..TOPIC_WORDS {
            let of_category = letter(at % CATEGORIES);
            let word = letter(self.random.random_range(0..26));
            question.extend([of_category, word, of_category, word, ' ']);
        }
        question
    }

    pub(crate) fn outcome(&mut self, at: usize) -> Outcome {
        let scores = (0..CATEGORIES).map(|other| Score {
            category: category(at + other),
            probability: self.random.random::<f32>() / 12.0,
        });
        let scores = scores.collect();
        let decision = Decision {
            category: Some(category(at)),
            confidence: self.random.random(),
            scores,
            tier: None,
            reason: Reason::Routed,
            strangeness: Some(self.random.random()),
            instruction: None,
            session: None,
            expert: expert(at / 7),
            fallbacks: vec![expert(at + 1)],
            propensity: 1.0,
            grounds: Grounds::new(MappingId::new("m1"), Prefer::Word(Preference::Balanced)),
            router: RouterId::new("r1"),
            took: Duration::from_micros(self.random.random_range(40..900)),
        };
        Outcome {
            id: id(at),
            asked_at_ms: asked_at_ms(at),
            ask: Ask {
                key_name: Some(format!("team-{}", at % 20)),
                model: "coterie".into(),
                streamed: at.is_multiple_of(2),
                question: Some(self.question(at)),
                session: Some(format!("{:032x}", at / 3)),
            },
            decision,
            attempts: vec![Attempt::begun(expert(at / 7), Role::Answer)],
            answered_by: Some(expert(at / 7)),
            first_token: Some(Duration::from_micros(
                self.random.random_range(20_000..900_000),
            )),
            total: Duration::from_micros(self.random.random_range(900_000..9_000_000)),
            usage: None,
            cost_usd: Some(self.random.random()),
            ending: Ending::Completed,
            error: None,
            answer: Some(self.text(80)),
        }
    }

    pub(crate) fn feedback(&mut self, at: usize) -> Feedback {
        let says_category = self.random.random_range(0..4) == 0;
        Feedback {
            outcome_id: id(at),
            given_at_ms: asked_at_ms(at) + 60_000,
            score: Some(self.random.random()),
            category: says_category.then(|| category(at).to_string()),
            expert: None,
            comment: Some("It was fine.".into()),
            key_name: Some(format!("team-{}", at % 20)),
            judged_by: None,
        }
    }

    pub(crate) fn label(&mut self, at: usize) -> Label {
        Label {
            outcome_id: id(at),
            given_at_ms: asked_at_ms(at) + 90_000,
            category: category(at).to_string(),
            origin: Origin::Person,
            given_by: format!("person-{}", self.random.random_range(0..5)),
        }
    }
}
