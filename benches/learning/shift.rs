//! A category that no route covers comes up, and two are asked for no more. Told and asserted: how soon that is noticed, and how
//! many questions of the new category are routed to it by the router that is in force after the next retraining.

use std::{collections::HashMap, path::PathBuf};

use coterie::{
    app::App, evaluate::Judged, ids::CategoryId, learning::judging, registry, router::Router,
    train::labels::Labelled,
};
use serde_json::Value;

use crate::{
    house::House,
    kill::run_to_end,
    replay::{Asked, ask_all, asked, upstream},
    rows::Dealt,
};

/// The category that comes up, and those that are gone by then.
const NEW: &str = "x_medical";
const GONE: [&str; 2] = ["x_sql", "x_writing"];

/// Questions that teach the router, that are its reference without a change, and that are asked after the change.
const TEACHING: usize = 1_400;
const QUIET: usize = 1_800;

/// One in so many of the later questions is of the new category.
const NEW_ONE_IN: usize = 4;

/// Questions between two looks for an alarm.
const LOOK_EVERY: usize = 25;

/// Rows of the new category that nobody sees.
const UNSEEN: usize = 100;

/// One in 20,000 is promised.
const FALSE_ALARMS_MAX: usize = 1;

/// After how many questions a change has to be noticed.
const NOTICED_WITHIN: usize = 300;

/// The share of the new category's questions that has to go to it.
const RECALL_MIN: f64 = 0.85;

pub(crate) async fn run(files: &[PathBuf]) {
    let dealt = Dealt::new(files, 1);
    let is_new = |row: &Labelled| row.category.as_str() == NEW;
    let (mut new, mut known): (Vec<Labelled>, Vec<Labelled>) =
        dealt.traffic.iter().cloned().partition(|row| is_new(row));
    new.extend(dealt.unseen.iter().filter(|row| is_new(row)).cloned());
    let unseen = new.split_off(new.len().saturating_sub(UNSEEN));
    let examples: Vec<Labelled> = dealt
        .examples
        .iter()
        .filter(|row| !is_new(row))
        .cloned()
        .collect();
    let later = known.split_off((TEACHING + QUIET).min(known.len()));
    let later = shifted(later, &new);
    let mut classes = dealt.classes();
    classes.retain(|class| class.as_str() != NEW);

    let upstream = upstream().await;
    let house = House::new(&examples, "[sparse, static, transformer]", &upstream);
    let shifting = async |base: &str, app: &App| {
        let (teaching, quiet) = known.split_at(TEACHING.min(known.len()));
        ask_all(base, &asked(teaching, &classes)).await;
        let taught = told(&house, &["retrain"]);
        println!(
            "taught by {} rows: promoted {}",
            taught["learnt"], taught["promoted"]
        );
        app.look_at_registry();
        tokio::time::sleep(std::time::Duration::from_secs(5)).await;
        ask_all(base, &asked(quiet, &classes)).await;
        let before = told(&house, &["drift"])["alarms"].as_array().unwrap().len();
        println!(
            "{} questions without a change: {before} alarms",
            quiet.len()
        );
        assert!(before <= FALSE_ALARMS_MAX, "{before} false alarms");
        let asked = unsaid_where(asked(&later, &classes), is_new);
        let noticed = noticed(&house, base, &asked, before).await;
        println!("noticed after {noticed:?} questions");
        let is_soon = noticed.is_some_and(|(questions, _)| questions <= NOTICED_WITHIN);
        assert!(is_soon, "not noticed within {NOTICED_WITHIN} questions");
    };
    Box::pin(house.serve(shifting)).await;
    accept(&house, &later, &unseen).await;
}

/// Of the new category nobody can say that it is it: no route covers it.
fn unsaid_where(mut asked: Vec<Asked>, is_new: impl Fn(&Labelled) -> bool) -> Vec<Asked> {
    for asked in asked.iter_mut().filter(|asked| is_new(&asked.row)) {
        asked.feedback = None;
    }
    asked
}

/// The traffic after the change.
fn shifted(known: Vec<Labelled>, new: &[Labelled]) -> Vec<Labelled> {
    let mut known = known
        .into_iter()
        .filter(|row| !GONE.contains(&row.category.as_str()));
    let mut shifted = Vec::new();
    for row in new {
        shifted.push(row.clone());
        shifted.extend(known.by_ref().take(NEW_ONE_IN - 1));
    }
    shifted
}

/// Asks everything; after how many questions there was an alarm, and what about.
async fn noticed(
    house: &House,
    base: &str,
    asked: &[Asked],
    before: usize,
) -> Option<(usize, String)> {
    let mut noticed = None;
    for (at, some) in asked.chunks(LOOK_EVERY).enumerate() {
        ask_all(base, some).await;
        if noticed.is_none() {
            // What was asked is written within the flush interval.
            tokio::time::sleep(std::time::Duration::from_millis(500)).await;
            let alarms = told(house, &["drift"])["alarms"].clone();
            let alarms = alarms.as_array().unwrap();
            noticed = alarms
                .get(before)
                .map(|alarm| ((at + 1) * LOOK_EVERY, alarm["signal"].to_string()));
        }
    }
    noticed
}

/// Accepts what is proposed and is mostly of the new category, learns it, and tells how much of it is routed there.
async fn accept(house: &House, asked: &[Labelled], unseen: &[Labelled]) {
    let of: HashMap<&str, &CategoryId> = asked
        .iter()
        .map(|row| (row.query.text.as_str(), &row.category))
        .collect();
    let drift = told(house, &["drift"]);
    let proposals = drift["proposals"].as_array().unwrap();
    let share = |proposal: &Value| {
        let examples = proposal["examples"].as_array().unwrap();
        let new = examples.iter().filter(|example| {
            let category = of.get(example.as_str().unwrap_or_default());
            category.is_some_and(|category| category.as_str() == NEW)
        });
        new.count() as f64 / examples.len().max(1) as f64
    };
    for proposal in proposals {
        println!(
            "proposed: {} for {} questions, {:.0} % of its examples new",
            proposal["name"],
            proposal["times"],
            100.0 * share(proposal)
        );
    }
    let of_new = proposals.iter().filter(|proposal| share(proposal) > 0.5);
    let names: Vec<&str> = of_new
        .filter_map(|proposal| proposal["name"].as_str())
        .collect();
    let name = *names.first().expect("the new category is proposed");
    let accept = names.iter().flat_map(|name| ["--accept", *name]);
    told(
        house,
        &["drift"].into_iter().chain(accept).collect::<Vec<_>>(),
    );
    let learnt = told(house, &["retrain"]);
    println!(
        "{name} accepted; learnt with {} that nobody labelled: promoted {} ({})",
        learnt["guessed"], learnt["promoted"], learnt["judgement"]["reason"]
    );
    assert_eq!(learnt["promoted"], true, "{}", learnt["judgement"]);
    let router = registry::open(&house.config(), None).await.unwrap();
    assert_eq!(learnt["challenger"], router.id().as_str(), "it is in force");
    let routed = routed_to(&router, &CategoryId::new(name), unseen).await;
    let recall = routed as f64 / unseen.len() as f64;
    println!(
        "of {} unseen questions {recall:.3} are routed to it",
        unseen.len()
    );
    assert!(recall >= RECALL_MIN, "less than {RECALL_MIN}");
}

/// How many of some questions a router is confident enough to send to a category: to find it the likeliest is not enough.
async fn routed_to(router: &Router, category: &CategoryId, rows: &[Labelled]) -> usize {
    let judged = judging::judge(router, rows.to_vec()).await.unwrap();
    let is_routed_there = |judged: &&Judged| {
        let likeliest = judged.scores.first();
        judged.routed && likeliest.is_some_and(|score| score.category == *category)
    };
    judged.iter().filter(is_routed_there).count()
}

fn told(house: &House, call: &[&str]) -> Value {
    let output = run_to_end(house, &[call, &["--json"]].concat());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{call:?}: {errors}");
    serde_json::from_slice(&output.stdout).unwrap()
}
