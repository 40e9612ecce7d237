//! The watch for drift over real questions among which nothing shifts: false alarms in each 20,000 of them, of which there is one
//! on average at most.
//!
//! A router that learnt a third of the traffic decides every other row once, as in a server. Each run draws its questions from
//! these, any as likely as any other, has experts answer that succeed as often as they always do, and writes what came of it into a
//! store of its own, which the watch reads as a server and `coterie drift` do: a test that raised an alarm begins anew. Each
//! question is a conversation of its own, since the very same one that is drawn again is somebody else's.
//!
//! Who sees nothing raises no false alarm either. So each run ends with questions that the router refuses, and with no others, and
//! the same watch has to notice that.

use std::{ops::Range, path::PathBuf, time::Duration};

use coterie::{
    clock,
    composition::{Composition, MODEL_NAME, Wish, dry_run},
    decision::{Decision, Reason},
    drift::Alarm,
    expert::{Attempt, Role},
    ids::{ExpertId, OUT_OF_DOMAIN},
    learning::watch::{self, Watch},
    mapping::{Demand, Today},
    outcome::{Ask, Ending, Outcome},
    router::static_encoder::StaticEncoder,
    store::Store,
    train::labels::Labelled,
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde_json::json;

use crate::{house::House, replay::taught, rows::Dealt};

/// All of them; the number of a run is its seed.
pub(crate) const RUNS: Range<u64> = 0..20;

/// Questions of a run among which nothing shifts.
const QUESTIONS: usize = 20_000;

/// False alarms in so many, on average over the runs.
const FALSE_ALARMS_MAX: f64 = 1.0;

/// Refused questions after these: a change that nobody should miss.
const REFUSED: usize = 1_000;

/// One in so many questions of the traffic teaches the router.
const TAUGHT_ONE_IN: usize = 3;

/// Who answers, and which share of its answers comes about; where one does not, another is asked.
const EXPERTS: [(&str, f64); 3] = [("steady", 0.97), ("fair", 0.9), ("frail", 0.7)];

/// As many as the recorder's writer writes at once.
const BATCH: usize = 256;

/// How long ago the first question came, and the time between two, in milliseconds: the last came so long ago that what is said of
/// answers is waited for no more.
const BEGUN: Duration = Duration::from_hours(48);
const APART_MS: i64 = 5_000;

/// A question, and what the router and the mapping said of it.
struct Decided {
    question: String,
    decision: Decision,
}

impl Decided {
    fn is_refused(&self) -> bool {
        matches!(
            self.decision.reason,
            Reason::Unsure { .. } | Reason::OutOfDomain
        )
    }
}

pub(crate) async fn run(files: &[PathBuf], runs: Range<u64>) {
    let dealt = Dealt::new(files, 1);
    let house = House::of_experts(&dealt.examples, "[sparse, static]", &experts(&dealt));
    let (lessons, others) = dealt.traffic.split_at(dealt.traffic.len() / TAUGHT_ONE_IN);
    let router = Box::pin(taught(&house, lessons.to_vec())).await;
    let config = house.config();
    let composition = Composition::new(&config, router);
    let decided = decided(&composition, &[others, &dealt.unseen].concat()).await;
    let router = composition.router();
    let encoder = router.artefact().static_encoder.as_ref();
    let world = World {
        all: decided.iter().collect(),
        refused: decided.iter().filter(|it| it.is_refused()).collect(),
        encoder: encoder.expect("the router reads with a static encoder"),
        questions_per_false_alarm: config.learning.questions_per_false_alarm,
    };
    println!(
        "{} questions decided by router {}, of which it refuses {}; shares of experts' answers that come about: {EXPERTS:?}",
        world.all.len(),
        router.id(),
        world.refused.len()
    );
    let (mut done, mut false_alarms) = (0_usize, 0);
    for seed in runs {
        false_alarms += world.false_alarms(seed).await;
        done += 1;
    }
    let mean = false_alarms as f64 / done as f64;
    println!(
        "{done} runs of {QUESTIONS} questions without a shift: {false_alarms} false alarms, {mean:.2} a run; the {REFUSED} refused \
         questions after them were noticed each time"
    );
    assert!(
        mean <= FALSE_ALARMS_MAX,
        "no more than {FALSE_ALARMS_MAX} is promised"
    );
}

/// What questions are drawn from, and what the watch is begun with.
struct World<'d> {
    all: Vec<&'d Decided>,
    refused: Vec<&'d Decided>,
    encoder: &'d StaticEncoder,
    questions_per_false_alarm: f64,
}

impl World<'_> {
    /// How many there are in one run, which it tells of.
    async fn false_alarms(&self, seed: u64) -> usize {
        let now_ms = clock::now_ms();
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("coterie.db")).await;
        let store = store.unwrap();
        let begun = Watch::begin(&store, self.questions_per_false_alarm, now_ms).await;
        let mut watch = begun.unwrap();
        let mut traffic = Traffic::new(seed, now_ms);
        traffic.ask(&store, &self.all, QUESTIONS).await;
        let false_alarms = self.read_on(&mut watch, &store).await;
        assert_eq!(watch.questions(), QUESTIONS, "each is looked at");
        tell(seed, &watch, &false_alarms, &traffic);
        traffic.ask(&store, &self.refused, REFUSED).await;
        let noticed = self.read_on(&mut watch, &store).await;
        assert!(!noticed.is_empty(), "{REFUSED} refused ones are noticed");
        store.close().await.unwrap();
        false_alarms.len()
    }

    async fn read_on(&self, watch: &mut Watch, store: &Store) -> Vec<Alarm> {
        let caught_up = watch.catch_up(store, Some(self.encoder), clock::now_ms());
        let caught_up = caught_up.await;
        assert!(caught_up.is_at_end, "{:?}", caught_up.error);
        caught_up.alarms
    }
}

/// The configuration's part on experts: each answers a category in three, and the next one is its fallback.
fn experts(dealt: &Dealt) -> String {
    let name = |at: usize| EXPERTS[at % EXPERTS.len()].0;
    let answers = |at: usize| format!("{{ expert: {}, fallbacks: [{}] }}", name(at), name(at + 1));
    let experts: String = EXPERTS
        .iter()
        .map(|(name, _)| {
            format!(
                "  {name}: {{ kind: remote, base_url: 'http://127.0.0.1:9/v1', model: {name} }}\n"
            )
        })
        .collect();
    let classes = dealt.classes();
    let mapping: String = classes
        .iter()
        .filter(|class| class.as_str() != OUT_OF_DOMAIN)
        .enumerate()
        .map(|(at, category)| format!("  {category}: {}\n", answers(at)))
        .collect();
    format!(
        "experts:\n{experts}mapping:\n  default: {}\n{mapping}",
        answers(0)
    )
}

/// Decides on rows as a server does on questions that begin a conversation.
async fn decided(composition: &Composition, rows: &[Labelled]) -> Vec<Decided> {
    let mut decided = Vec::with_capacity(rows.len());
    // Where there is nothing to classify the watch looks at nothing.
    for row in rows.iter().filter(|row| !row.query.is_empty()) {
        let question = row.query.likelier_reading().to_owned();
        let request = dry_run(json!({"text": question})).unwrap();
        let wish = Wish::default();
        let ruling = composition.rule(&row.query, &request, Demand::of(&request), &wish);
        let ruled = ruling.await.unwrap();
        let chosen = composition.choose(ruled, Today::default(), &[]);
        let (decision, _usd) = chosen.unwrap();
        decided.push(Decided { question, decision });
    }
    decided
}

fn tell(seed: u64, watch: &Watch, alarms: &[Alarm], traffic: &Traffic) {
    let references = watch.references();
    let whole = references.iter().filter(|it| it.is_whole()).count();
    println!(
        "run {seed}: {} alarms; {whole} of {} tests have their reference",
        alarms.len(),
        references.len()
    );
    for alarm in alarms {
        println!(
            "  {} at question {}: {}",
            watch::signal_word(&alarm.signal),
            traffic.asked_by(alarm.noticed_ms),
            watch::in_words(alarm)
        );
    }
}

/// Questions that come one after another.
struct Traffic {
    random: StdRng,
    begun_ms: i64,
    asked: i64,
}

impl Traffic {
    fn new(seed: u64, now_ms: i64) -> Self {
        Self {
            random: StdRng::seed_from_u64(seed),
            begun_ms: now_ms - i64::try_from(BEGUN.as_millis()).unwrap(),
            asked: 0,
        }
    }

    /// So many of some questions, any as likely as any other each time.
    async fn ask(&mut self, store: &Store, of: &[&Decided], count: usize) {
        let mut left = count;
        while left > 0 {
            let batch = left.min(BATCH);
            let outcomes: Vec<Outcome> = (0..batch).map(|_| self.ask_one(of)).collect();
            store.write(&outcomes).await.unwrap();
            left -= batch;
        }
    }

    fn ask_one(&mut self, of: &[&Decided]) -> Outcome {
        let Decided { question, decision } = of[self.random.random_range(0..of.len())];
        let at = self.asked;
        self.asked += 1;
        let (attempts, answered_by) = self.answered(decision);
        let ending = match answered_by {
            Some(_) => Ending::Completed,
            None => Ending::ExpertFailed,
        };
        Outcome {
            id: format!("{at:06}"),
            asked_at_ms: self.begun_ms + at * APART_MS,
            ask: Ask {
                model: MODEL_NAME.to_owned(),
                question: Some(question.clone()),
                session: Some(format!("session-{at}")),
                ..Ask::default()
            },
            decision: decision.clone(),
            attempts,
            answered_by,
            first_token: None,
            total: Duration::from_secs(1),
            usage: None,
            cost_usd: None,
            ending,
            error: None,
            answer: None,
        }
    }

    /// Who was asked, and who answered.
    fn answered(&mut self, decision: &Decision) -> (Vec<Attempt>, Option<ExpertId>) {
        let mut attempts = Vec::new();
        for expert in decision.order() {
            let succeeds = self.random.random_bool(success_of(&expert));
            let mut attempt = Attempt::begun(expert.clone(), Role::Answer);
            attempt.error = (!succeeds).then(|| "failed".to_owned());
            attempts.push(attempt);
            if succeeds {
                return (attempts, Some(expert));
            }
        }
        (attempts, None)
    }

    /// How many questions had come at a time.
    fn asked_by(&self, at_ms: i64) -> i64 {
        (at_ms - self.begun_ms) / APART_MS + 1
    }
}

fn success_of(expert: &ExpertId) -> f64 {
    let known = EXPERTS.iter().find(|(name, _)| *name == expert.as_str());
    known.expect("nobody else is asked").1
}
