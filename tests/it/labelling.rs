//! `coterie label`: by a person line by line and at a terminal, by a judge, and by labelled questions nearby; and what is
//! trained on it.

mod concurrent;
mod neighbours;
mod terminal;
mod training;

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Command, Output, Stdio},
    time::Duration,
};

use coterie::{
    config::{Prefer, Preference},
    decision::{Decision, Reason, Score},
    ids::{CategoryId, ExpertId, MappingId, RouterId},
    learning::{Label, Origin},
    mapping::Grounds,
    outcome::{Ask, Ending, Feedback, Outcome},
    store::Store,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{
    coterie::write_config,
    upstream::{Reply, Upstream},
};

/// A store with outcomes, and a configuration that names it.
struct House {
    folder: TempDir,
    store: Store,
}

impl House {
    /// The expert `gpt` is at this address.
    async fn new(base_url: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let yaml = format!(
            "experts: {{ gpt: {{ kind: remote, base_url: '{base_url}', model: far, usd_in: 1, usd_out: 2 }} }}\n\
             mapping: {{ default: gpt }}\n"
        );
        write_config(folder.path(), &yaml);
        let store = Store::open(&folder.path().join("coterie.db"))
            .await
            .unwrap();
        Self { folder, store }
    }

    async fn without_experts() -> Self {
        Self::new("http://127.0.0.1:9/v1").await
    }

    /// Questions that were asked in turn; their ids are their texts.
    async fn asked<'q>(&self, questions: impl IntoIterator<Item = &'q str>) {
        let outcomes: Vec<_> = (1..)
            .zip(questions)
            .map(|(at, question)| outcome(question, question, "gpt", at))
            .collect();
        self.store.write(&outcomes).await.unwrap();
    }

    async fn labelled(&self, labels: &[(&str, &str)]) {
        let labels: Vec<_> = labels
            .iter()
            .map(|(id, category)| Label {
                outcome_id: (*id).to_owned(),
                given_at_ms: 1,
                category: (*category).to_owned(),
                origin: Origin::Person,
                given_by: "ann".to_owned(),
            })
            .collect();
        self.store.add_labels(&labels).await.unwrap();
    }

    /// The categories of an outcome's labels of one origin.
    async fn labels(&self, id: &str, origin: Origin) -> Vec<String> {
        let labels = self.store.labels(id).await.unwrap().into_iter();
        let of = labels.filter(|label| label.origin == origin);
        of.map(|label| label.category).collect()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_coterie"));
        command
            .arg("label")
            .args(args)
            .arg("--config")
            .arg(self.folder.path().join("coterie.yaml"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs it with this input.
    fn run(&self, args: &[&str], input: &str) -> Output {
        let mut child = self.command(args).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(input.as_bytes()).ok();
        drop(stdin);
        child.wait_with_output().unwrap()
    }

    /// What it prints as JSON; it must work.
    fn told(&self, args: &[&str]) -> Value {
        let output = self.run(&[args, &["--json"]].concat(), "");
        assert!(output.status.success(), "{}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn outcome(id: &str, question: &str, expert: &str, asked_at_ms: i64) -> Outcome {
    let score = |category, probability| Score {
        category: CategoryId::new(category),
        probability,
    };
    Outcome {
        id: id.into(),
        asked_at_ms,
        ask: Ask {
            model: "coterie".into(),
            question: Some(question.into()),
            ..Ask::default()
        },
        decision: Decision {
            category: Some(CategoryId::new("legal")),
            confidence: 0.5,
            scores: vec![score("legal", 0.5), score("math", 0.4)],
            tier: None,
            reason: Reason::Routed,
            strangeness: None,
            instruction: None,
            session: None,
            expert: ExpertId::new(expert),
            fallbacks: Vec::new(),
            propensity: 1.0,
            grounds: Grounds::new(MappingId::new("m1"), Prefer::Word(Preference::Balanced)),
            router: RouterId::new("r1"),
            took: Duration::ZERO,
        },
        attempts: Vec::new(),
        answered_by: Some(ExpertId::new(expert)),
        first_token: None,
        total: Duration::ZERO,
        usage: None,
        cost_usd: None,
        ending: Ending::Completed,
        error: None,
        answer: Some(format!("An answer of {expert} to {question}")),
    }
}

fn category(name: &str) -> Reply {
    Reply::answer([&format!("<category>{name}</category>")])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_labels_line_by_line_takes_back_and_comes_again() {
    let house = House::without_experts().await;
    house
        .asked(["What is a tort?", "What is 2 + 2?", "What is\u{1b} rye?"])
        .await;
    let input = "nonsense\nlegal\n:undo\nmath\n:skip\n";
    let first = house.run(&["--by", "ann"], input);
    let (out, err) = (text(&first.stdout), text(&first.stderr));
    assert!(first.status.success(), "{err}");
    assert!(err.contains("there is no category `nonsense`"), "{err}");
    assert!(err.contains("1 labelled, 1 left"), "{err}");
    assert!(!out.contains('\u{1b}'), "{out:?}");

    let asked: Vec<&str> = out
        .lines()
        .filter_map(|line| line.strip_prefix("? "))
        .collect();
    assert_eq!((asked.len(), asked[0]), (5, asked[2]), "{out}");
    let labels = house.store.evidence(10).await.unwrap().evidence;
    assert_eq!(labels.len(), 1, "{labels:?}");
    let label = &labels[0].statements[0];
    assert_eq!(
        (label.category.as_str(), &label.origin),
        ("math", &Origin::Person)
    );
    assert_eq!(label.given_by.as_deref(), Some("ann"));

    // What was skipped comes again, what was labelled does not.
    let second = house.run(&["--by", "bob"], "math\nmath\nmath\n");
    assert!(
        text(&second.stderr).contains("2 labelled, 0 left"),
        "{}",
        text(&second.stderr)
    );
    let third = house.run(&[], "math\n");
    assert!(third.status.success());
    assert!(
        text(&third.stderr).contains("no question waits"),
        "{}",
        text(&third.stderr)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_labelled_is_there_after_a_hard_kill() {
    let house = House::without_experts().await;
    house.asked(["What is a tort?", "What is 2 + 2?"]).await;
    let mut child = house.command(&[]).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"legal\n").unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == "= legal"));
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(house.store.evidence(10).await.unwrap().evidence.len(), 1);
    let waiting = house.store.unlabelled(10, |_| true).await.unwrap();
    assert_eq!(waiting.candidates.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_judge_labels_is_never_guessed_at_and_told_beside_people() {
    let replies = [
        category("legal"),
        category("math"),
        Reply::answer(["It is about law, I think."]),
    ];
    let upstream = Upstream::in_turn(replies).await;
    let house = House::new(upstream.base_url().as_str()).await;
    house
        .asked([
            "What is a tort?",
            "Who may sue?",
            "What is 2 + 2?",
            "What is rye?",
        ])
        .await;
    house
        .labelled(&[("What is a tort?", "math"), ("Who may sue?", "legal")])
        .await;

    let told = house.told(&["--judge", "gpt", "--concurrent", "1"]);
    let given_by = told["given_by"].as_str().unwrap();
    assert!(given_by.starts_with("gpt category-v1 "), "{given_by}");
    assert_eq!(told["agreement_with"], "people");
    assert_eq!(
        (&told["asked"], &told["labelled"], &told["unparsable"]),
        (&json!(4), &json!(2), &json!(2)),
        "{told:#}"
    );
    // The newest that people labelled comes first.
    assert_eq!(house.labels("Who may sue?", Origin::Judge).await, ["legal"]);
    assert_eq!(
        house.labels("What is a tort?", Origin::Judge).await,
        ["math"]
    );
    assert_eq!(told["agreement"]["n"], 2, "{told:#}");
    assert_eq!(told["agreement"]["observed"], 1.0, "{told:#}");
    assert!(told["usd"].as_f64().unwrap() > 0.0, "{told:#}");

    let body = &upstream.requests()[0].body;
    let system = body["messages"][0]["content"].as_str().unwrap();
    assert!(
        system.contains("legal: ") && system.contains("out_of_domain: "),
        "{system}"
    );
    // Only what it said nothing of is asked again.
    let again = house.told(&["--judge", "gpt", "--concurrent", "1"]);
    assert_eq!(
        (&again["asked"], &again["unparsable"]),
        (&json!(2), &json!(2))
    );
    let all = house.store.evidence(100).await.unwrap().evidence;
    assert_eq!(all.len(), 2, "nothing is guessed: {all:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_judge_keeps_to_its_bounds() {
    let upstream = Upstream::always(category("legal")).await;
    let house = House::new(upstream.base_url().as_str()).await;
    let questions: Vec<String> = (0..12).map(|at| format!("Question {at}?")).collect();
    house.asked(questions.iter().map(String::as_str)).await;

    let dear = house.told(&["--judge", "gpt", "--usd-max", "0.0001"]);
    assert_eq!(
        (&dear["asked"], &dear["unaffordable"]),
        (&json!(0), &json!(12)),
        "{dear:#}"
    );
    assert!(upstream.requests().is_empty());
    let few = house.told(&["--judge", "gpt", "--limit", "3"]);
    assert_eq!(few["asked"], 3, "{few:#}");
    let unknown = house.run(&["--judge", "nobody"], "");
    assert_eq!(unknown.status.code(), Some(2));
    assert!(text(&unknown.stderr).contains("the configuration has gpt"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_judge_begins_with_what_it_was_not_asked_yet() {
    // It settles nothing of the newest, be it that it rambles or that it refuses.
    let refusal = Reply::status(
        400,
        json!({"error": {"message": "no", "type": "invalid_request_error"}}),
    );
    let replies = [Reply::answer(["Hm."]), refusal, category("legal")];
    let upstream = Upstream::in_turn(replies).await;
    let house = House::new(upstream.base_url().as_str()).await;
    house
        .asked(["What is a tort?", "What is 2 + 2?", "What is rye?"])
        .await;
    // The same text under another outcome is not asked in its place.
    let again = outcome("again", "What is rye?", "gpt", 0);
    house.store.write(&[again]).await.unwrap();
    let args = ["--judge", "gpt", "--concurrent", "1", "--limit", "2"];
    let first = house.told(&args);
    assert_eq!(
        (&first["asked"], &first["unparsable"], &first["failed"]),
        (&json!(1), &json!(1), &json!(1)),
        "{first:#}"
    );
    let second = house.told(&args);
    assert_eq!(second["labelled"], 2, "{second:#}");
    assert_eq!(
        house.labels("What is a tort?", Origin::Judge).await,
        ["legal"],
        "the oldest, although nothing newer was settled"
    );
    assert_eq!(house.labels("What is rye?", Origin::Judge).await, ["legal"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_failed_after_it_was_sent_counts_as_spent_and_replies_have_their_bound() {
    let upstream = Upstream::always(Reply::status(500, json!({}))).await;
    let house = House::new(upstream.base_url().as_str()).await;
    house.asked(["What is a tort?"]).await;
    let failed = house.told(&["--judge", "gpt", "--usd-max", "1", "--reply-tokens", "2000"]);
    assert_eq!(failed["failed"], 1, "{failed:#}");
    let tries = upstream.requests().len() as f64;
    // Two dollars for a million tokens of replies.
    let usd = failed["usd"].as_f64().unwrap();
    assert!(usd > tries * 2000.0 * 2e-6, "{failed:#}");
    assert_eq!(upstream.requests()[0].body["max_tokens"], 2000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_judge_that_only_fails_is_given_up() {
    let refusal = Reply::status(
        401,
        json!({"error": {"message": "no", "type": "authentication_error"}}),
    );
    let upstream = Upstream::always(refusal).await;
    let house = House::new(upstream.base_url().as_str()).await;
    let questions: Vec<String> = (0..15).map(|at| format!("Question {at}?")).collect();
    house.asked(questions.iter().map(String::as_str)).await;
    let output = house.run(&["--judge", "gpt", "--concurrent", "1", "--json"], "");
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&told["failed"], &told["gave_up"]),
        (&json!(10), &json!(true)),
        "{told:#}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn grades_of_answers_are_kept_apart_from_what_clients_say() {
    let upstream = Upstream::always(Reply::answer(["<score>0.75</score>"])).await;
    let house = House::new(upstream.base_url().as_str()).await;
    house.asked(["What is a tort?", "What is 2 + 2?"]).await;
    let client = Feedback {
        outcome_id: "What is a tort?".into(),
        score: Some(1.0),
        ..Feedback::default()
    };
    house.store.add_feedback(&client).await.unwrap();
    let told = house.told(&["--judge", "gpt", "--what", "answer"]);
    assert_eq!(
        (&told["labelled"], &told["agreement"]["n"]),
        (&json!(2), &json!(1)),
        "{told:#}"
    );
    let feedback = house.store.feedback("What is a tort?").await.unwrap();
    let said: Vec<_> = feedback
        .iter()
        .map(|it| (it.score, it.judged_by.as_deref()))
        .collect();
    assert_eq!(
        said,
        [(Some(1.0), None), (Some(0.75), Some("gpt answer-v1"))]
    );
    assert_eq!(told["agreement_with"], "clients");
    assert_eq!(
        house.told(&["--judge", "gpt", "--what", "answer"])["asked"],
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_verdict_of_both_orders_counts() {
    // The first pair alike in both orders; of the second always the one that stands first.
    let better = |which: &str| Reply::answer([&format!("<better>{which}</better>")]);
    let upstream = Upstream::in_turn([better("2"), better("1"), better("1")]).await;
    let house = House::new(upstream.base_url().as_str()).await;
    let outcomes = [
        outcome("a", "What is a tort?", "gpt", 1),
        outcome("b", "What is a tort?", "local", 2),
        outcome("c", "What is 2 + 2?", "gpt", 3),
        outcome("d", "What is 2 + 2?", "local", 4),
    ];
    house.store.write(&outcomes).await.unwrap();
    let told = house.told(&["--judge", "gpt", "--what", "pair", "--concurrent", "1"]);
    assert_eq!(
        (&told["asked"], &told["labelled"], &told["inconsistent"]),
        (&json!(4), &json!(1), &json!(1)),
        "{told:#}"
    );
    // The newest pair was asked first: the answer that stood second is that of the older outcome.
    for (id, expert) in [
        ("c", Some("gpt")),
        ("d", Some("gpt")),
        ("a", None),
        ("b", None),
    ] {
        let feedback = house.store.feedback(id).await.unwrap();
        let named = feedback.first().and_then(|it| it.expert.as_deref());
        assert_eq!(named, expert, "{id}");
    }
}
