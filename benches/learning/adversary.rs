//! A hundred small retrainings, in each of which one client lies.

use std::{ops::Range, path::PathBuf};

use coterie::{
    evaluate::Evaluation,
    ids::CategoryId,
    learning::{
        Evidence, Origin, Statement,
        challenger::{self, Lessons},
        crossfit::Champion,
        gate::Bounds,
        judging,
        resolve::{self, Rules},
        retrain::{self, Options},
        split,
    },
    registry,
    router::Router,
    train::labels::Labelled,
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};

use crate::{
    house::{House, KEYS},
    rows::{Dealt, wrong},
};

/// All of them; the number of a run is its seed.
pub(crate) const RUNS: Range<u64> = 0..100;

/// Runs between two lines that say how it goes: all take three hours of a core.
const TOLD_EVERY: u64 = 10;

/// Labelled questions of one run.
const LABELLED: usize = 700;

/// Share of the feedback that is the liar's, all of it wrong, and of the others' feedback that is wrong.
const LIES: f64 = 0.3;
const NOISE: f64 = 0.1;

/// What a promotion may lose at the most, as a share of the unseen rows.
const LOSS_MAX: f64 = 0.005;

pub(crate) async fn run(files: &[PathBuf], runs: Range<u64>) {
    let (mut promoted, mut lost, mut found, mut differences) = (0, 0, 0, Vec::new());
    for seed in runs.clone() {
        let dealt = Dealt::new(files, seed);
        let house = House::new(&dealt.examples, "[sparse, static]", "127.0.0.1:9");
        let config = house.config();
        let champion = registry::open(&config, None).await.unwrap();
        let evidence = evidence(&dealt, &champion, seed).await;
        let classes = dealt.classes();
        let rules = Rules {
            without: &[],
            categories: &classes,
            client_share_max: resolve::CLIENT_SHARE_MAX,
        };
        let (rows, account) = resolve::resolve(&evidence, &rules);
        found += usize::from(
            account
                .clients_distrusted
                .iter()
                .any(|it| it.client == name(0)),
        );
        let split = split::split(rows, &std::collections::HashMap::new());
        let options = Options {
            seed,
            without: Vec::new(),
            bounds: Bounds::default(),
            promotes: false,
        };
        let artefacts = &config.router.artefacts;
        let lessons = Lessons {
            routes: &config.catalogue,
            rows: &split.rows,
            earlier: &split.earlier,
        };
        let trained = challenger::train(&config, lessons, seed, artefacts);
        let folder = trained.await.unwrap();
        let challenger = challenger::open(folder, &champion, &config).await.unwrap();
        let knowing = Champion::new(&champion, &split.rows, &evidence).unwrap();
        let both = (&knowing, &challenger);
        let compared = retrain::compare(&config, both, &split, &options).await;
        let compared = compared.unwrap();
        if compared.judgement.passed {
            promoted += 1;
            let difference = accuracy(&challenger, &dealt.unseen).await
                - accuracy(&champion, &dealt.unseen).await;
            lost += usize::from(difference < -LOSS_MAX);
            differences.push(difference);
        }
        if (seed + 1) % TOLD_EVERY == 0 {
            println!(
                "runs {} to {seed}: {promoted} promoted, {lost} lost",
                runs.start
            );
        }
    }
    differences.sort_by(f64::total_cmp);
    println!(
        "runs {runs:?} with a liar: found in {found}; {promoted} challengers promoted, of which {lost} lose more than half a \
         point; what promotions change: {:+.3} at worst, {:+.3} in the middle",
        differences.first().unwrap_or(&0.0),
        differences.get(differences.len() / 2).unwrap_or(&0.0)
    );
    assert_eq!(lost, 0, "promotions that lose more than {LOSS_MAX}");
}

/// What is said of some of the traffic: by the liar always the same wrong thing of each category, which is worse than
/// chance, by the others mostly what is right.
async fn evidence(dealt: &Dealt, champion: &Router, seed: u64) -> Vec<Evidence> {
    let mut random = StdRng::seed_from_u64(seed);
    let classes = dealt.classes();
    let mut lies = classes.clone();
    lies.shuffle(&mut random);
    let rows: Vec<Labelled> = dealt.traffic.iter().take(LABELLED).cloned().collect();
    let judged = judging::judge(champion, rows.clone()).await.unwrap();
    let evidence = rows.iter().zip(judged).zip(0..).map(|((row, judged), at)| {
        let is_lie = random.random_bool(LIES);
        let client = if is_lie {
            0
        } else {
            random.random_range(1..KEYS)
        };
        let category = if is_lie {
            lie(&classes, &lies, &row.category)
        } else if random.random_bool(NOISE) {
            wrong(&classes, &row.category, &mut random)
        } else {
            row.category.clone()
        };
        let routed_to = judged.scores.first().filter(|_| judged.routed);
        Evidence {
            outcome_id: format!("{at:05}"),
            asked_at_ms: at,
            conversation: None,
            question: row.query.text.clone(),
            routed_to: routed_to.map(|score| score.category.to_string()),
            statements: vec![Statement {
                category: category.to_string(),
                origin: Origin::Feedback,
                given_by: Some(name(client)),
                given_at_ms: at,
            }],
        }
    });
    evidence.collect()
}

/// What the liar calls a category: another one.
fn lie(classes: &[CategoryId], lies: &[CategoryId], right: &CategoryId) -> CategoryId {
    let at = classes.iter().position(|class| class == right).unwrap();
    let lie = &lies[at];
    let next = &lies[(at + 1) % lies.len()];
    if lie == right {
        next.clone()
    } else {
        lie.clone()
    }
}

fn name(client: usize) -> String {
    format!("client-{client}")
}

async fn accuracy(router: &Router, rows: &[Labelled]) -> f64 {
    let judged = judging::judge(router, rows.to_vec()).await.unwrap();
    Evaluation::of(&judged, router.id().clone())
        .unwrap()
        .accuracy
}
