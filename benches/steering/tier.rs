//! The same questions by the router with its last tier, a real model in this process: what they turn, and whether that is what
//! may be turned (docs/instruction.md, "What a question cannot do").

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use super::Written;
use coterie::{
    config::{self, Config, Environment, Exposure},
    decision::Score,
    expert::Experts,
    ids::OUT_OF_DOMAIN,
    instruction::{HEARD, InstructionConfig, When, ask::Asker, tier::Tier},
    learning::blending::{self, Options},
    outcome::Tab,
    query::Query,
    registry,
    router::{Router, Standing, Verdict},
    train::labels::Labelled,
};

/// How long the model may take for one question: nobody waits.
const WITHIN: Duration = Duration::from_secs(300);

/// Rows by which it is learnt what its word counts: where it is asked about all, and where it is asked about the least sure tenth.
const FITTED_ALWAYS: usize = 48;
const FITTED_UNSURE: usize = 480;
const SHARE: f64 = 0.1;

/// From where on its word counts where these few rows prove nothing: it is to be able to do harm.
const UNPROVEN: f32 = 0.5;

/// What became of the questions.
#[derive(Default)]
struct Tally {
    asked: usize,
    sure: usize,
    doubted: usize,
    /// Of these, questions of which the router was wrong.
    rightly: usize,
    against: usize,
    unsure: usize,
    routed: usize,
    misrouted: usize,
}

/// Tells what becomes of `written` questions by a model, asked about the least sure and asked about all.
pub(super) async fn tell(
    model: &str,
    router: Option<&Path>,
    fit: &[Labelled],
    written: &[Written],
) {
    for (when, rows) in [(When::Unsure, FITTED_UNSURE), (When::Always, FITTED_ALWAYS)] {
        let folder = tempfile::tempdir().unwrap();
        let config = configured(folder.path(), model, when);
        let router = registry::open(&config, router).await.unwrap();
        let experts = Experts::open(&config.experts, &config.delivery).unwrap();
        let instruction = config.router.instruction.clone().unwrap();
        let asker = || Asker::configured(&config, &instruction, &experts).unwrap();
        let rows = &fit[..rows.min(fit.len())];
        learn(&router, &asker(), rows, &instruction).await;
        let tier = Tier::open(instruction.clone(), asker(), &router).unwrap();
        let tally = tally(&router, &tier, written).await;
        println!(
            "{model} | {} | {} of {} | {} | {} | {} | {} | {} | {} | {}",
            when.as_str(),
            tally.asked,
            written.len(),
            tally.sure,
            tally.doubted,
            tally.rightly,
            tally.against,
            tally.unsure,
            tally.routed,
            tally.misrouted,
        );
    }
}

pub(super) const HEAD: &str = "model | when | asked | the router is sure | of these sent to the default expert | of which it was wrong | \
     changed against the rules | the router is unsure | of these routed now | misrouted";

fn configured(folder: &Path, model: &str, when: When) -> Config {
    let yaml = format!(
        "router:\n\x20 instruction: {{ expert: scribe, mode: logprob, when: {}, within: 300s, blend: '{}' }}\n\
         experts: {{ scribe: {{ kind: local, model: '{model}' }} }}\nmapping: {{ default: scribe }}\n\
         store: {{ url: 'sqlite://{}' }}\n",
        when.as_str(),
        folder.join("blend.json").display(),
        folder.join("coterie.db").display(),
    );
    let file: PathBuf = folder.join("coterie.yaml");
    std::fs::write(&file, yaml).unwrap();
    config::load(Some(&file), &Environment::from_process(), Exposure::Guarded).unwrap()
}

async fn learn(router: &Router, asker: &Asker, rows: &[Labelled], instruction: &InstructionConfig) {
    let options = Options {
        when: instruction.when,
        share: SHARE,
        within: WITHIN,
        within_online: WITHIN,
        concurrent: 1,
        misroute_max: 0.05,
    };
    let learnt = blending::learn(router, asker, rows.to_vec(), &options)
        .await
        .unwrap();
    let mut blend = learnt.blend;
    println!(
        "  learnt of {} questions: below {:.3}, routed from {:?}, weights {:.3} and {:.3}",
        learnt.asked, blend.below, blend.confidence_min, blend.weights.router, blend.weights.said
    );
    blend.confidence_min = blend.confidence_min.or(Some(UNPROVEN));
    blending::write(&blend, &instruction.blend).unwrap();
}

async fn tally(router: &Router, tier: &Tier, written: &[Written]) -> Tally {
    let mut tally = Tally::default();
    for row in written {
        let query = Query::from_text(&row.text);
        let alone = router.classify(&query).await.unwrap();
        let (both, instructed) = tier
            .weigh(router, &query, alone.clone(), &Tab::default())
            .await;
        tally.asked += usize::from(instructed.is_some_and(|it| it.result == HEARD));
        let is_known = both.scores.iter().all(|score| is_known(router, score));
        let (before, after) = (routed(&alone), routed(&both));
        match before {
            Some(sure_of) => {
                tally.sure += 1;
                let is_doubted =
                    after.is_none() && matches!(both.standing, Standing::Unsure { .. });
                tally.doubted += usize::from(is_doubted);
                tally.rightly += usize::from(is_doubted && sure_of != row.category);
                // Who is asked about the least sure alone is not asked about this one.
                let may_be_doubted = tier.wants(router, &alone.scores);
                let is_fine = after == before || (is_doubted && may_be_doubted);
                tally.against += usize::from(!is_fine || !is_known);
            }
            None => {
                tally.unsure += 1;
                tally.routed += usize::from(after.is_some());
                tally.misrouted += usize::from(after.is_some_and(|to| to != row.category));
                tally.against += usize::from(!is_known);
            }
        }
    }
    tally
}

/// It chooses among the categories.
fn is_known(router: &Router, score: &Score) -> bool {
    score.category.as_str() == OUT_OF_DOMAIN || router.categories().contains(&score.category)
}

/// The category that a question goes to; none: the default expert's.
fn routed(verdict: &Verdict) -> Option<&str> {
    let best = verdict.scores.first()?;
    (verdict.standing == Standing::Confident).then(|| best.category.as_str())
}
