//! `coterie instruct generate --expert`: the card of one expert, from what it answered well, else from what is mapped to it; and
//! what `coterie check` says of cards that nobody reads.

use std::{fs, path::PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{House, catalogue, cut_off, says, write_routes};
use crate::support::coterie::Coterie;

/// Questions that the expert is asked.
const QUESTIONS: [&str; 4] = [
    "How do I reef the mainsail of a yawl?",
    "Which knot ties a boat to a cleat?",
    "What is the difference between a ketch and a schooner?",
    "Why does a keel keep a boat upright?",
];

/// A house whose cards are written elsewhere.
struct Writing {
    house: House,
    folder: TempDir,
}

impl Writing {
    async fn new() -> Self {
        let card = says("<card>It knows boats. It takes experience.</card>");
        Self {
            house: House::serve(card, "mode: name, when: offline").await,
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("_cards.yaml")
    }

    /// What writing the card of one expert tells.
    fn generated(&self, expert: &str) -> Value {
        let out = self.file().display().to_string();
        let call = ["instruct", "generate", "--expert", expert, "--out", &out];
        self.house.coterie.printed(&call)
    }

    /// The questions that the expert was shown which writes; it is asked once.
    fn shown(&self) -> String {
        let requests = self.house.scribe.requests();
        assert_eq!(requests.len(), 1, "no other card is written");
        let text = requests[0].body["messages"][1]["content"].as_str();
        text.unwrap().to_owned()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_experts_card_is_written_from_what_it_answered_well() {
    let writing = Writing::new().await;
    let coterie = &writing.house.coterie;
    for (at, question) in QUESTIONS.iter().enumerate() {
        let answer = coterie.ask("only", question).await;
        let id = answer.headers()["x-coterie-outcome"].to_str().unwrap();
        // The last was answered badly.
        let score = if at + 1 < QUESTIONS.len() { 1.0 } else { 0.0 };
        let said = json!({"id": id, "score": score});
        let given = coterie.post("/v1/feedback", &said).send().await.unwrap();
        assert!(given.status().is_success());
    }
    let generated = writing.generated("only");
    assert_eq!(
        generated["written"],
        json!(["the expert only"]),
        "{generated}"
    );
    let shown = writing.shown();
    let is_shown = QUESTIONS.map(|question| shown.contains(question));
    assert_eq!(is_shown, [true, true, true, false], "{shown}");
    let text = fs::read_to_string(writing.file()).unwrap();
    let cards: Value = serde_saphyr::from_str(&text).unwrap();
    let card = &cards["experts"]["only"];
    assert_eq!(card["instruction"], "It knows boats. It takes experience.");
    let made = &card["made"];
    assert_eq!(
        (&made["by"], &made["model"], &made["prompt"]),
        (&json!("scribe"), &json!("scribe"), &json!("card-v1"))
    );
    assert_eq!(cards["experts"]["dear"], Value::Null);
    writing.house.coterie.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expert_that_nobody_has_asked_is_known_by_what_is_mapped_to_it() {
    let writing = Writing::new().await;
    let generated = writing.generated("dear");
    assert_eq!(
        generated["written"],
        json!(["the expert dear"]),
        "{generated}"
    );
    let shown = writing.shown();
    let is_shown = |category: &str| {
        let catalogue = catalogue();
        let mut routes = catalogue.routes.iter();
        let route = routes.find(|route| route.category.as_str() == category);
        let mut examples = route.unwrap().examples.iter();
        examples.any(|example| shown.contains(example.as_str()))
    };
    assert!(is_shown("writing") && !is_shown("math"), "{shown}");
    writing.house.coterie.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_card_is_none() {
    for (reply, why) in [
        (
            cut_off("<card>It knows boats. It takes knowledge of"),
            "the reply was cut off before its end",
        ),
        (
            says("<card>boats</card>"),
            "the reply is not two or three sentences",
        ),
    ] {
        let house = House::serve(reply, "mode: name, when: offline").await;
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("_cards.yaml");
        let named = out.display().to_string();
        let call = ["instruct", "generate", "--expert", "dear", "--out", &named];
        let refused = house.coterie.run(&call);
        let errors = String::from_utf8_lossy(&refused.stderr);
        assert!(errors.contains(why) && !out.exists(), "{errors}");
        house.coterie.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobodys_card_is_not_written() {
    let writing = Writing::new().await;
    let call = ["instruct", "generate", "--expert", "nobody"];
    let refused = writing.house.coterie.run(&call);
    let errors = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2));
    assert!(errors.contains("there is no expert `nobody`"), "{errors}");
    assert!(writing.house.scribe.requests().is_empty());
    writing.house.coterie.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cards_that_say_the_same_are_told_also_where_nobody_reads_them() {
    let experts = "experts: { only: { kind: remote, base_url: 'http://127.0.0.1:9/v1', model: m } }\n\
        mapping: { default: only }\n";
    // Those of the routes that are shipped differ, and that the expert has none is missed by nobody.
    let coterie = Coterie::serve(experts).await;
    assert_eq!(coterie.printed(&["check"])["warnings"], json!([]));
    coterie.stop().await;

    let folder = tempfile::tempdir().unwrap();
    write_routes(folder.path());
    let same = "categories:\n  law: { instruction: Questions of all kinds. }\n  music: { instruction: Questions of all kinds. }\n";
    fs::write(folder.path().join("_cards.yaml"), same).unwrap();
    let path = folder.path().display();
    let router = format!("router: {{ routes: '{path}', artefacts: '{path}/routers' }}\n");
    let coterie = Coterie::serve(&format!("{experts}{router}")).await;
    let warnings = &coterie.printed(&["check"])["warnings"];
    assert_eq!(warnings.as_array().unwrap().len(), 1, "{warnings}");
    let text = warnings[0].as_str().unwrap();
    assert!(
        text.contains("`law` and `music` say nearly the same"),
        "{text}"
    );
    coterie.stop().await;
}
