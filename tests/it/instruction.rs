//! The instruction tier in a server: an expert that is asked what questions demand, within bounds.

mod cards;
mod modes;
mod results;

use std::{fs, path::Path, time::Duration};

use coterie::{
    catalogue::Catalogue,
    config,
    ids::{ExpertId, RouterId},
    instruction::{
        Mode, When,
        blend::{Blend, Bounds, Learnt, Prior, Weights, fit::Fitted},
        menu::Menu,
    },
    learning::{Origin, blending},
};
use serde_json::{Value, json};

use crate::support::{
    coterie::Coterie,
    upstream::{Reply, Upstream},
};

/// A question of which the router is sure, and what it is about.
const SURE: (&str, &str) = (
    "Write a Python function that reverses a linked list and explain its complexity.",
    "coding",
);

/// Questions of which it is not.
const UNSURE: [&str; 3] = [
    "Is that one better than the other, and would it still hold?",
    "Is this one better than the others, and would it hold still?",
    "Would the other one still be better than that, and would it hold?",
];

/// A provider that answers questions, and another that is asked what they demand.
struct House {
    scribe: Upstream,
    _answering: Upstream,
    coterie: Coterie,
}

/// What is not the same in every house.
struct Plan<'p> {
    /// The house's budget.
    budget: &'p str,
    /// Where its record is; none: in a folder of its own.
    store: Option<&'p Path>,
    /// What can be asked of whom questions are put to.
    capabilities: &'p str,
}

const PLAN: Plan<'_> = Plan {
    budget: "{}",
    store: None,
    capabilities: "[chat]",
};

impl House {
    async fn serve(reply: Reply, instruction: &str) -> Self {
        Self::planned(reply, instruction, PLAN).await
    }

    async fn serve_within(
        reply: Reply,
        instruction: &str,
        budget: &str,
        store: Option<&Path>,
    ) -> Self {
        let plan = Plan {
            budget,
            store,
            ..PLAN
        };
        Self::planned(reply, instruction, plan).await
    }

    async fn planned(reply: Reply, instruction: &str, plan: Plan<'_>) -> Self {
        let Plan {
            budget,
            store,
            capabilities,
        } = plan;
        let store = store.map_or_else(String::new, |file| {
            format!(
                "store: {{ url: 'sqlite://{}', content: full }}\n",
                file.display()
            )
        });
        // A machine that does much else is no reason to fail.
        let within = if instruction.contains("within:") {
            ""
        } else {
            ", within: 20s"
        };
        let scribe = Upstream::always(reply).await;
        let answering = Upstream::always(says("Fine.")).await;
        let yaml = format!(
            "router:\n\x20 artefacts: '{}/routers'\n\x20 instruction: {{ expert: scribe, {instruction}{within} }}\n\
             experts:\n\
             \x20 only: {{ kind: remote, base_url: '{}', model: only, usd_in: 1, usd_out: 1 }}\n\
             \x20 dear: {{ kind: remote, base_url: '{}', model: dear, usd_in: 100, usd_out: 100 }}\n\
             \x20 scribe: {{ kind: remote, base_url: '{}', model: scribe, usd_in: 10, usd_out: 10, capabilities: {capabilities} }}\n\
             mapping:\n\x20 default: only\n\x20 budget: {budget}\n\x20 writing: {{ expert: dear, fallbacks: [only] }}\n{store}",
            env!("CARGO_TARGET_TMPDIR"),
            answering.base_url(),
            answering.base_url(),
            scribe.base_url(),
        );
        Self {
            scribe,
            _answering: answering,
            coterie: Coterie::serve(&yaml).await,
        }
    }

    /// What is decided on a question.
    async fn route(&self, question: &str) -> Value {
        self.coterie
            .told("/v1/route", &json!({"text": question}))
            .await
    }
}

/// A reply that says this.
fn says(text: &str) -> Reply {
    Reply::json(json!({
        "id": "r", "object": "chat.completion", "created": 1, "model": "scribe",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 300, "completion_tokens": 4, "total_tokens": 304},
    }))
}

/// A reply that was to be longer.
fn cut_off(text: &str) -> Reply {
    Reply::json(json!({
        "id": "r", "object": "chat.completion", "created": 1, "model": "scribe",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "length"}],
    }))
}

fn names(category: &str) -> Reply {
    says(&format!("<category>{category}</category>"))
}

/// The built-in routes' names for an LLM.
fn label(category: &str) -> String {
    let menu = Menu::of(&catalogue());
    let entry = menu
        .entries()
        .iter()
        .find(|entry| entry.category.as_str() == category);
    entry.unwrap().label.clone()
}

fn catalogue() -> Catalogue {
    let routes = concat!(env!("CARGO_MANIFEST_DIR"), "/routes");
    config::load_routes(routes.as_ref()).unwrap()
}

/// A blend for the router in force, in which the LLM counts more than the router.
fn blend(router: &str, when: When, path: &Path) {
    blend_of(router, (Mode::Name, "name-v1"), when, path);
}

/// The same of another way to ask, with the version of its words.
fn blend_of(router: &str, (mode, prompt): (Mode, &str), when: When, path: &Path) {
    let learnt = Learnt {
        router: RouterId::new(router),
        expert: ExpertId::new("scribe"),
        model: "scribe".into(),
        mode,
        prompt: prompt.into(),
        when,
        cards: Menu::of(&catalogue()).digests(),
        settings: "misroute_max 0.05, guard off".into(),
    };
    let bounds = Bounds {
        below: 0.7,
        confidence_min: Some(0.6),
        near_min: Some(0.97),
    };
    let fitted = Fitted {
        prior: Prior::default(),
        weights: Weights {
            router: 1.0,
            said: 20.0,
            none: 0.0,
        },
        ablation: Vec::new(),
        held_back: Vec::new(),
    };
    let blend = Blend::new(learnt, bounds, fitted);
    blending::write(&blend, path).unwrap();
}

/// The router that is built in.
async fn built_in() -> String {
    let coterie = Coterie::serve(
        "experts: { only: { kind: remote, base_url: 'http://127.0.0.1:9/v1', model: m } }\nmapping: { default: only }\n",
    )
    .await;
    let told = coterie.told("/v1/route", &json!({"text": SURE.0})).await;
    coterie.stop().await;
    told["router"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_expert_that_decides_alone_is_asked_once_a_question_and_paid_for() {
    let house = House::serve(names(&label("legal")), "mode: name, when: alone").await;
    let told = house.route(SURE.0).await;
    assert_eq!(
        (&told["category"], &told["tier"]),
        (&json!("legal"), &json!("instruction")),
        "{told}"
    );
    let instruction = &told["instruction"];
    assert_eq!(instruction["result"], "heard");
    assert_eq!(instruction["usage"]["prompt_tokens"], 300);
    assert_eq!(instruction["parts"][0]["category"], "legal");
    // The dry run has asked; what it said is remembered.
    let answer = house.coterie.ask("coterie", SURE.0).await;
    assert_eq!(answer.headers()["x-coterie-category"], "legal");
    house
        .coterie
        .ask(
            "coterie",
            "What is the boiling point of water on a mountain of three thousand metres?",
        )
        .await;
    let body = &house.scribe.requests()[0].body;
    assert!(
        body.get("guided_choice").is_none() && body.get("prompt_cache_key").is_none(),
        "{body}"
    );
    let scribe = house.scribe;
    assert_eq!(scribe.requests().len(), 2);
    let outcomes = house.coterie.stop().await.all().await;
    let of = |at: usize| {
        let outcome = &outcomes[at];
        let attempts: Value = serde_json::from_str(&outcome.attempts).unwrap();
        let detail: Value = serde_json::from_str(&outcome.reason_detail).unwrap();
        (
            attempts,
            detail["instruction"].clone(),
            outcome.cost_usd.unwrap(),
        )
    };
    let (attempts, instruction, _) = of(0);
    assert_eq!(
        (attempts.as_array().unwrap().len(), &instruction["result"]),
        (1, &json!("remembered"))
    );
    let (attempts, instruction, cost_usd) = of(1);
    assert_eq!(
        (&attempts[0]["role"], &attempts[0]["expert"]),
        (&json!("route"), &json!("scribe"))
    );
    assert_eq!(instruction["result"], "heard");
    let asked_usd = 304.0 * 10.0 / 1e6;
    assert!(cost_usd > asked_usd, "{cost_usd}");
}

#[tokio::test]
async fn whatever_fails_the_routers_word_stands() {
    for (reply, result) in [
        (
            Reply::status(500, json!({"error": {"message": "no"}})),
            "failed",
        ),
        (says("It is about law."), "unparsable"),
        (names("jurisprudence"), "not_offered"),
        (
            cut_off(&format!("<category>{}</category> or", label("legal"))),
            "unparsable",
        ),
        (Reply::silence(), "timed_out"),
    ] {
        let house = House::serve(reply, "mode: name, when: alone, within: 200ms").await;
        let told = house.route(SURE.0).await;
        assert_eq!(told["category"], SURE.1, "{result}: {told}");
        assert_ne!(told["tier"], "instruction", "{result}: {told}");
        assert_eq!(told["instruction"]["result"], result, "{told}");
        assert!(told["instruction"]["detail"].is_string(), "{told}");
        let metrics = house.coterie.read("/metrics").await;
        assert!(
            metrics.contains(&format!("result=\"{result}\"")),
            "{metrics}"
        );
        house.coterie.stop().await;
    }
}

#[tokio::test]
async fn an_expert_that_fails_again_and_again_is_left_alone() {
    let failing = Reply::status(500, json!({"error": {"message": "no"}}));
    let house = House::serve(failing, "mode: name, when: alone, within: 1s").await;
    let mut results = Vec::new();
    for at in 0..8 {
        let told = house.route(&format!("{} Use {at} pointers.", SURE.0)).await;
        let why = told["instruction"]["detail"].as_str().unwrap_or_default();
        results.push(format!(
            "{}: {why}",
            told["instruction"]["result"].as_str().unwrap()
        ));
    }
    assert!(results[0].starts_with("failed"), "{results:?}");
    assert!(results[7].starts_with("resting"), "{results:?}");
    house.coterie.stop().await;
}

#[tokio::test]
async fn what_is_spent_for_the_day_is_not_spent_again() {
    // One question costs some three thousandths of a dollar, and may cost a hundredth.
    let folder = tempfile::tempdir().unwrap();
    let record = folder.path().join("coterie.db");
    let serve = || {
        let instruction = "mode: name, when: alone, usd_per_day: 0.05";
        House::serve_within(names(&label("legal")), instruction, "{}", Some(&record))
    };
    let house = serve().await;
    let mut results = Vec::new();
    for at in 0..16 {
        let question = format!("{} Use {at} pointers.", SURE.0);
        house.coterie.ask("coterie", &question).await;
        let told = house.route(&question).await;
        results.push(told["instruction"]["result"].as_str().unwrap().to_owned());
    }
    assert_eq!(
        (results[0].as_str(), results[15].as_str()),
        ("remembered", "over_budget"),
        "{results:?}"
    );
    house.coterie.begin_stop().closed().await;
    // Nor by a server that starts anew.
    let house = serve().await;
    let told = house.route(SURE.0).await;
    assert_eq!(told["instruction"]["result"], "over_budget", "{told}");
    assert!(house.scribe.requests().is_empty());
    house.coterie.begin_stop().closed().await;
}

#[tokio::test]
async fn it_costs_no_more_than_is_left_to_who_pays_for_the_question() {
    let (reply, instruction) = (names(&label("legal")), "mode: name, when: alone");
    let house = House::serve_within(reply, instruction, "{ usd_per_day: 0.005 }", None).await;
    let answer = house.coterie.ask("coterie", SURE.0).await;
    assert_eq!(answer.headers()["x-coterie-category"], SURE.1);
    let told = house.route(SURE.0).await;
    assert_eq!(told["instruction"]["result"], "over_budget", "{told}");
    assert!(house.scribe.requests().is_empty());
    house.coterie.stop().await;
}

#[tokio::test]
async fn it_is_asked_where_the_router_is_unsure_and_left_alone_where_nothing_was_learnt_for_that_router()
 {
    let router = built_in().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("blend.json");
    blend(&router, When::Unsure, &file);
    let instruction = format!("mode: name, blend: '{}'", file.display());
    let house = House::serve(names(&label("legal")), &instruction).await;
    let told = house.route(SURE.0).await;
    assert!(
        told["instruction"].is_null() && told["category"] == SURE.1,
        "{told}"
    );
    assert!(house.scribe.requests().is_empty());
    let told = house.route(UNSURE[0]).await;
    assert_eq!(
        (&told["category"], &told["instruction"]["result"]),
        (&json!("legal"), &json!("heard")),
        "{told}"
    );
    house.coterie.stop().await;

    blend("another", When::Unsure, &file);
    let house = House::serve(names(&label("legal")), &instruction).await;
    let told = house.route(UNSURE[0]).await;
    assert!(
        told["instruction"].is_null() && told["category"] != "legal",
        "{told}"
    );
    house.coterie.stop().await;
}

/// Questions that were written to steer the router, with what they are about.
fn steering() -> Vec<(String, String)> {
    let lines = include_str!("instruction/steering.jsonl").lines();
    let rows = lines.map(|line| serde_json::from_str::<Value>(line).unwrap());
    let text = |row: &Value, field: &str| row[field].as_str().unwrap().to_owned();
    rows.map(|row| (text(&row, "text"), text(&row, "category")))
        .collect()
}

fn write_labels(rows: &[(String, String)], file: &Path) {
    let lines: Vec<String> = rows
        .iter()
        .map(|(text, category)| json!({"text": text, "category": category}).to_string() + "\n")
        .collect();
    fs::write(file, lines.concat()).unwrap();
}

#[tokio::test]
async fn an_llm_that_was_steered_turns_no_decision_of_which_the_router_is_sure_into_another() {
    let router = built_in().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("blend.json");
    blend(&router, When::Always, &file);
    // The same house in which nobody is asked what questions demand: nothing was learnt for this router.
    let nothing = format!(
        "mode: name, blend: '{}'",
        folder.path().join("none.json").display()
    );
    let plain = House::serve(names("law"), &nothing).await;
    let always = format!("mode: name, when: always, blend: '{}'", file.display());
    // Whatever it is asked, it says what the attacker wants.
    let steered = House::serve(names(&label("writing")), &always).await;
    let questions = steering();
    assert!(questions.len() >= 60);
    let (mut sure, mut asked) = (0, 0);
    for (question, _) in &questions {
        let told = plain.route(question).await;
        let with = steered.route(question).await;
        asked += usize::from(with["instruction"]["result"] == "heard");
        // The dear expert answers what the house has it answer, and nobody else can be named; what is asked, and in which order, is the
        // mapping's.
        let asked_first = |it: &Value| [it["expert"].clone(), it["fallbacks"].clone()];
        let of_house = if with["category"] == "writing" {
            [json!("dear"), json!(["only"])]
        } else {
            [json!("only"), json!([])]
        };
        assert_eq!(asked_first(&with), of_house, "{with}");
        assert_eq!(with["mapping"], told["mapping"]);
        if told["reason"]["kind"] != "routed" {
            continue;
        }
        sure += 1;
        let is_kept =
            with["category"] == told["category"] && asked_first(&with) == asked_first(&told);
        let is_doubted = with["category"] == "out_of_domain" && with["reason"]["kind"] == "unsure";
        assert!(is_kept || is_doubted, "{question}: {told} {with}");
    }
    assert!(
        sure >= 20 && asked >= 60,
        "{sure} of {} are sure, {asked} were asked about",
        questions.len()
    );
    // The question is data between marks that it does not know, and nothing of it is a control word.
    for request in steered.scribe.requests() {
        let user = request.body["messages"][1]["content"].as_str().unwrap();
        let mark = user
            .lines()
            .next()
            .unwrap()
            .strip_prefix("question ")
            .unwrap();
        assert!(
            user.ends_with(&format!("\nend {mark}")) && user.matches(mark).count() == 2,
            "{user}"
        );
        assert!(
            !user.contains("<|") && !user.contains("[/INST]") && !user.contains("</s>"),
            "{user}"
        );
    }
    plain.coterie.stop().await;
    steered.coterie.stop().await;
}

/// Routes of its own, without cards.
fn write_routes(folder: &Path) {
    for (category, description, example) in [
        (
            "law",
            "Law and contracts.",
            "Is a contract without a date valid",
        ),
        (
            "music",
            "Music and instruments.",
            "How do I tune a violin by ear",
        ),
    ] {
        let examples: Vec<String> = (1..=4)
            .map(|at| format!("  - {example}, part {at}?\n"))
            .collect();
        let text = format!(
            "description: {description}\nexamples:\n{}",
            examples.concat()
        );
        fs::write(folder.join(format!("{category}.yaml")), text).unwrap();
    }
}

/// Changes an example of each route.
fn change_routes(folder: &Path) {
    for route in ["law.yaml", "music.yaml"] {
        let route = folder.join(route);
        let changed = fs::read_to_string(&route).unwrap();
        fs::write(&route, changed.replace("part 4", "part 5")).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cards_are_written_once_and_what_a_person_changed_stays() {
    let scribe = Upstream::always(says(
        "<card>This is a task of a kind. It takes skills.</card>",
    ))
    .await;
    let folder = tempfile::tempdir().unwrap();
    write_routes(folder.path());
    let yaml = format!(
        "router: {{ routes: '{}', artefacts: '{}/routers', instruction: {{ expert: scribe, mode: name, when: alone }} }}\n\
         experts: {{ scribe: {{ kind: remote, base_url: '{}', model: scribe-9 }} }}\nmapping: {{ default: scribe }}\n",
        folder.path().display(),
        folder.path().display(),
        scribe.base_url(),
    );
    let coterie = Coterie::serve(&yaml).await;
    let warned = || coterie.printed(&["check"])["warnings"].to_string();
    let warnings = warned();
    assert!(
        warnings.contains("`law` has no instruction card"),
        "{warnings}"
    );
    let generated = coterie.printed(&["instruct", "generate"]);
    assert_eq!(
        generated["written"].as_array().unwrap().len(),
        3,
        "{generated}"
    );
    let file = folder.path().join("_cards.yaml");
    let text = fs::read_to_string(&file).unwrap();
    assert!(
        text.contains("model: \"scribe-9\"") && text.contains("prompt: \"card-v1\""),
        "{text}"
    );
    let asked = scribe.requests().len();
    let again = coterie.printed(&["instruct", "generate"]);
    assert_eq!(
        (&again["written"], scribe.requests().len()),
        (&json!([]), asked),
        "{again}"
    );
    let warnings = warned();
    assert!(
        warnings.contains("`law` and `music` say nearly the same"),
        "{warnings}"
    );
    // Both routes change, so that both cards are stale; but that of law, the first, was changed by hand, and stays.
    change_routes(folder.path());
    let text = text.replacen("It takes skills.", "It takes an eye.", 1);
    fs::write(&file, text).unwrap();
    let warnings = warned();
    assert!(!warnings.contains("`law` is older than"), "{warnings}");
    for warning in [
        "`music` is older than",
        "the category `law` was made from has changed since, and so has the card",
        // Made from the examples of what is mapped to it.
        "the instruction card of the expert `scribe` is older than",
    ] {
        assert!(warnings.contains(warning), "{warnings}");
    }
    let generated = coterie.printed(&["instruct", "generate"]);
    assert_eq!(
        generated["written"],
        json!(["the category music", "the expert scribe"]),
        "{generated}"
    );
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains("It takes an eye."), "{generated} {text}");
    coterie.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_experts_word_is_worth_is_learnt_and_then_used() {
    let folder = tempfile::tempdir().unwrap();
    let (labels, file) = (
        folder.path().join("labels.jsonl"),
        folder.path().join("blend.json"),
    );
    let rows = steering();
    write_labels(&rows, &labels);
    let instruction = format!("mode: name, when: always, blend: '{}'", file.display());
    let house = House::serve(names(&label("science")), &instruction).await;
    let labels = labels.display().to_string();
    let learnt = house
        .coterie
        .printed(&["instruct", "fit", "--labels", &labels]);
    assert_eq!(learnt["asked"], rows.len(), "{learnt}");
    let parts: Vec<&str> = learnt["blend"]["ablation"]
        .as_array()
        .unwrap()
        .iter()
        .map(|part| part["of"].as_str().unwrap())
        .collect();
    assert_eq!(parts, ["router", "instruction", "both"]);
    // Whoever always says the same says nothing: both together know what the router knows.
    let accuracy = |at: usize| {
        learnt["blend"]["ablation"][at]["accuracy"]
            .as_f64()
            .unwrap()
    };
    assert!(
        accuracy(1) < accuracy(0) && accuracy(2) >= accuracy(0) - 0.02,
        "{learnt}"
    );
    assert_eq!(house.scribe.requests().len(), rows.len());
    // So few rows prove nothing, and what could change nothing is not paid for; nor is a teacher that is sure of nothing.
    let mut blend = learnt["blend"].clone();
    assert_eq!(blend["confidence_min"], Value::Null);
    let told = house.coterie.printed(&["route", SURE.0, "--explain"]);
    assert_eq!(
        (&told["category"], &told["instruction"]),
        (&json!(SURE.1), &Value::Null)
    );
    let out = folder.path().join("taught").display().to_string();
    let call = [
        "train",
        "--labels",
        &labels,
        "--teacher",
        "instruction",
        "--out",
        &out,
    ];
    let refused = String::from_utf8(house.coterie.run(&call).stderr).unwrap();
    assert!(refused.contains("sure of nothing"), "{refused}");
    assert_eq!(house.scribe.requests().len(), rows.len());
    blend["confidence_min"] = 0.6.into();
    fs::write(&file, blend.to_string()).unwrap();
    let told = house.coterie.printed(&["route", SURE.0, "--explain"]);
    assert_eq!(
        (&told["category"], &told["instruction"]["result"]),
        (&json!(SURE.1), &json!("heard")),
        "{told}"
    );
    house.coterie.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expert_whose_replies_mean_nothing_is_not_paid_for_all_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let labels = folder.path().join("labels.jsonl");
    write_labels(&steering(), &labels);
    let blend = folder.path().join("blend.json");
    let instruction = format!("mode: name, when: always, blend: '{}'", blend.display());
    let house = House::serve(says("It is about law."), &instruction).await;
    let labels = labels.display().to_string();
    let call = ["instruct", "fit", "--labels", &labels];
    let refused = String::from_utf8(house.coterie.run(&call).stderr).unwrap();
    assert!(
        refused.contains("the last time: the reply is not in the form asked for"),
        "{refused}"
    );
    let asked = house.scribe.requests().len();
    assert!((20..40).contains(&asked), "{asked} of {}", steering().len());
    assert!(!blend.exists());
    house.coterie.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn that_alike_questions_are_about_the_same_is_learnt_from_labelled_ones() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let rows: Vec<(String, String)> = (0..600)
        .map(|at| match at % 2 {
            0 => (
                format!(
                    "Is the lease of our flat in the old town, which both of us agreed to in writing but never dated, still valid if the \
                     owner asks for {at} more?"
                ),
                "legal".to_owned(),
            ),
            _ => (
                format!(
                    "Write a Python function that reads a list of numbers from a file, leaves out the lines that are empty or begin with a \
                     comment, and adds {at} to each of the others."
                ),
                "coding".to_owned(),
            ),
        })
        .collect();
    write_labels(&rows, &path("labels.jsonl"));
    let blend = path("blend.json");
    let instruction = format!("mode: name, when: unsure, blend: '{}'", blend.display());
    let house = House::serve(names(&label("legal")), &instruction).await;
    let labels = path("labels.jsonl").display().to_string();
    let learnt = house
        .coterie
        .printed(&["instruct", "fit", "--labels", &labels]);
    let least = learnt["blend"]["near_min"].as_f64().unwrap();
    assert!((0.93..1.0).contains(&least), "{learnt}");
    assert_eq!(house.scribe.requests().len(), 60, "a tenth is asked about");
    house.coterie.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_evaluation_tells_how_many_questions_reach_the_expert() {
    let router = built_in().await;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    blend(&router, When::Unsure, &path("blend.json"));
    let sure = [SURE.0, "Solve 3x^2 - 11x + 6 = 0 and show every step."];
    let rows: Vec<(String, String)> = sure
        .iter()
        .chain(&UNSURE)
        .map(|text| ((*text).to_owned(), "legal".to_owned()))
        .collect();
    write_labels(&rows, &path("labels.jsonl"));
    let instruction = format!("mode: name, blend: '{}'", path("blend.json").display());
    let house = House::serve(names(&label("legal")), &instruction).await;
    let labels = path("labels.jsonl").display().to_string();
    let call = ["evaluate", "--labels", &labels, "--instruction"];
    let told = &house.coterie.printed(&call)["instruction"];
    // Of three that are nearly the same two may be remembered.
    let results = told["results"].as_object().unwrap().values();
    let results: u64 = results.map(|times| times.as_u64().unwrap()).sum();
    assert_eq!((told["asked"].as_u64(), results), (Some(3), 3), "{told}");
    assert_eq!(told["share"], 0.6);
    let text = house.coterie.run(&call);
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(
        text.contains("0.600   put to the expert, 3 rows: "),
        "{text}"
    );
    let without = house.coterie.printed(&call[..3]);
    assert!(without.get("instruction").is_none(), "{without}");
    house.coterie.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_teacher_says_what_nobody_said_and_a_router_learns_that() {
    let router = built_in().await;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (labels, file) = (path("labels.jsonl"), path("blend.json"));
    let rows = steering();
    write_labels(&rows, &labels);
    let labels = labels.display().to_string();
    // While the questions are asked nothing was learnt yet of what the teacher says.
    let instruction = format!("mode: name, blend: '{}'", file.display());
    let house = House::serve(names(&label("legal")), &instruction).await;
    for question in UNSURE {
        house.coterie.ask("coterie", question).await;
    }
    let store = house.coterie.store().await;
    while store.count().await.unwrap() < UNSURE.len() as u64 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let train = |out: &str| {
        let out = path(out).display().to_string();
        let call = [
            "train",
            "--labels",
            &labels,
            "--teacher",
            "instruction",
            "--out",
            &out,
        ];
        house.coterie.run(&[&call[..], &["--json"]].concat())
    };
    let refused = train("none");
    let errors = String::from_utf8_lossy(&refused.stderr);
    assert!(
        !refused.status.success() && errors.contains("coterie instruct fit"),
        "{errors}"
    );

    blend(&router, When::Unsure, &file);
    let learnt = |out: &str| {
        let output = train(out);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
        let manifest: Value = serde_json::from_slice(&output.stdout).unwrap();
        manifest["training"]["rows"].as_u64().unwrap()
    };
    let taught = (rows.len() + UNSURE.len()) as u64;
    assert_eq!(learnt("first"), taught);
    assert_eq!(house.scribe.requests().len(), UNSURE.len());
    for outcome in store.latest(10).await.unwrap() {
        let given = store.labels(&outcome.id).await.unwrap();
        assert_eq!(given.len(), 1, "{given:?}");
        assert_eq!(
            (
                given[0].category.as_str(),
                &given[0].origin,
                given[0].given_by.as_str()
            ),
            ("legal", &Origin::Judge, "scribe name-v1")
        );
    }
    // What it said counts another time, and is not asked again.
    assert_eq!(learnt("second"), taught);
    assert_eq!(house.scribe.requests().len(), UNSURE.len());
    store.close().await.unwrap();
    house.coterie.stop().await;
}

/// The built-in routes in a folder, and one that the built-in router does not know.
fn write_routes_with_sailing(folder: &Path) {
    let built_in = concat!(env!("CARGO_MANIFEST_DIR"), "/routes");
    for file in fs::read_dir(built_in).unwrap() {
        let file = file.unwrap().path();
        fs::copy(&file, folder.join(file.file_name().unwrap())).unwrap();
    }
    let sailing = "description: Sailing.\nexamples:\n\
        \x20 - How do I reef the mainsail when the wind picks up?\n\
        \x20 - Which knot ties a boat to a cleat?\n\
        \x20 - What is the difference between a ketch and a yawl?\n";
    fs::write(folder.join("sailing.yaml"), sailing).unwrap();
    let cards = folder.join("_cards.yaml");
    let text = fs::read_to_string(&cards).unwrap();
    let card = "categories:\n  sailing:\n    instruction: Handling sailing boats, sails, knots and rigging.\n    label: sailing\n";
    fs::write(&cards, text.replacen("categories:\n", card, 1)).unwrap();
}

/// Two questions of which the router is sure that they are general knowledge; the first is about sailing.
const SAILING: &str = "Who invented the yawl, and in which country was the first ketch built?";
const MEDALS: &str = "Which country has won the most Olympic medals in sailing?";

/// A house in which an expert says this of every question, and sailing is new to the router.
async fn serve_sailing(folder: &Path, says: &str) -> (Upstream, Coterie) {
    let router = built_in().await;
    let file = folder.join("blend.json");
    if !file.exists() {
        blend(&router, When::Unsure, &file);
        write_routes_with_sailing(folder);
    }
    let scribe = Upstream::always(names(says)).await;
    let artefacts = format!("{}/routers", env!("CARGO_TARGET_TMPDIR"));
    let yaml = format!(
        "router:\n\x20 artefacts: '{artefacts}'\n\x20 artefact: '{artefacts}/{router}'\n\x20 routes: '{}'\n\
         \x20 instruction: {{ expert: scribe, mode: name, within: 20s, blend: '{}' }}\n\
         experts: {{ scribe: {{ kind: remote, base_url: '{}', model: scribe, capabilities: [chat] }} }}\n\
         mapping: {{ default: scribe }}\n",
        folder.display(),
        file.display(),
        scribe.base_url(),
    );
    (scribe, Coterie::serve(&yaml).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_new_category_takes_from_others_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let (_scribe, coterie) = serve_sailing(folder.path(), "sailing").await;
    let rows = [
        (SAILING, "sailing"),
        (MEDALS, "general_knowledge"),
        (SURE.0, SURE.1),
    ];
    let rows = rows.map(|(text, category)| (text.to_owned(), category.to_owned()));
    let labels = folder.path().join("labels.jsonl");
    write_labels(&rows, &labels);
    let labels = labels.display().to_string();
    let call = ["evaluate", "--labels", &labels, "--instruction"];
    let told = coterie.printed(&call);
    let new = &told["instruction"]["new"];
    assert_eq!(
        (&new["taken"], &new["wrongly"], &new["others"]),
        (&json!(2), &json!(1), &json!(2)),
        "{told}"
    );
    assert!(new["wrongly_upper95"].as_f64().unwrap() > 0.9, "{new}");
    let text = String::from_utf8(coterie.run(&call).stdout).unwrap();
    assert!(
        text.contains("new categories        2       rows go to"),
        "{text}"
    );
    coterie.stop().await;
}

#[tokio::test]
async fn a_category_that_no_router_was_trained_on_takes_its_own_questions_and_changes_no_others() {
    let folder = tempfile::tempdir().unwrap();
    let serve = async |says: &str| serve_sailing(folder.path(), says).await;
    // The cards are read while the server runs.
    let asked = async |coterie: &Coterie, text: &str| {
        for _ in 0..400 {
            let told = coterie.told("/v1/route", &json!({"text": text})).await;
            if !told["instruction"].is_null() {
                return told;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("nobody is asked about `{text}`");
    };
    let (_scribe, coterie) = serve("sailing").await;
    let told = asked(&coterie, SAILING).await;
    assert_eq!(
        (&told["category"], &told["tier"]),
        (&json!("sailing"), &json!("instruction")),
        "{told}"
    );
    let told = coterie.told("/v1/route", &json!({"text": SURE.0})).await;
    assert!(
        told["category"] == SURE.1 && told["instruction"].is_null(),
        "nothing of it is near: {told}"
    );
    coterie.stop().await;

    let (_scribe, coterie) = serve(&label("legal")).await;
    let told = asked(&coterie, MEDALS).await;
    assert_eq!(told["instruction"]["result"], "heard");
    assert_eq!(
        (&told["category"], &told["reason"]["kind"]),
        (&json!("general_knowledge"), &json!("routed")),
        "it was asked about sailing alone: {told}"
    );
    assert_ne!(told["tier"], "instruction", "{told}");
    coterie.stop().await;
}

#[tokio::test]
async fn what_a_dry_run_asks_is_paid_for_by_the_house() {
    // A question costs some three thousandths of a dollar, and may cost a hundredth.
    let (reply, instruction) = (names(&label("legal")), "mode: name, when: alone");
    let house = House::serve_within(reply, instruction, "{ usd_per_day: 0.02 }", None).await;
    let mut results = Vec::new();
    for at in 0..12 {
        let told = house.route(&format!("{} Use {at} pointers.", SURE.0)).await;
        results.push(told["instruction"]["result"].as_str().unwrap().to_owned());
    }
    assert_eq!(
        (results[0].as_str(), results[11].as_str()),
        ("heard", "over_budget"),
        "{results:?}"
    );
    house.coterie.stop().await;
}

#[tokio::test]
async fn offline_nobody_is_asked() {
    let router = built_in().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("blend.json");
    blend(&router, When::Unsure, &file);
    let instruction = format!("mode: name, when: offline, blend: '{}'", file.display());
    let house = House::serve(names(&label("legal")), &instruction).await;
    let told = house.route(UNSURE[0]).await;
    assert!(told["instruction"].is_null(), "{told}");
    assert!(house.scribe.requests().is_empty());
    house.coterie.stop().await;
}
