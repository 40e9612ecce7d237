//! The mapping in a file of its own: taken up while the server runs, whole or not at all; and what one would have been worth.

mod from_store;

use std::{collections::BTreeSet, fs, path::PathBuf, time::Duration};

use futures_util::future::join_all;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::support::{
    coterie::Coterie,
    upstream::{Reply, Upstream},
};

/// How long a test waits for a change before it is called hung.
const HUNG: Duration = Duration::from_secs(60);

const BY_ONE: &str = "default: one\ncoding: { expert: one, fallbacks: [two] }\n";
const BY_TWO: &str = "default: one\ncoding: { expert: two, fallbacks: [three, one] }\nsql: two\n";

/// A server whose mapping is in a file.
struct Mapped {
    coterie: Coterie,
    file: PathBuf,
    _folder: TempDir,
    _upstream: Upstream,
}

impl Mapped {
    async fn serve(mapping: &str) -> Self {
        let upstream = Upstream::always(Reply::answer(["Hi"])).await;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("mapping.yaml");
        fs::write(&file, mapping).unwrap();
        let experts: String = ["one", "two", "three"]
            .map(|id| {
                let base_url = upstream.base_url();
                format!("\x20 {id}: {{ kind: remote, base_url: '{base_url}', model: far }}\n")
            })
            .concat();
        let yaml = format!(
            "experts:\n{experts}mapping: {{ file: '{}' }}\n",
            file.display()
        );
        Self {
            coterie: Coterie::serve(&yaml).await,
            file,
            _folder: folder,
            _upstream: upstream,
        }
    }

    fn write(&self, mapping: &str) {
        fs::write(&self.file, mapping).unwrap();
    }

    async fn models(&self) -> Vec<Value> {
        let listed: Value = serde_json::from_str(&self.coterie.read("/v1/models").await).unwrap();
        listed["data"].as_array().unwrap().clone()
    }

    async fn model(&self, id: &str) -> Value {
        let models = self.models().await;
        models.into_iter().find(|model| model["id"] == id).unwrap()
    }

    /// Waits until the experts of coding questions are these.
    async fn coding_is_for(&self, experts: &[&str]) {
        let seen =
            async { while self.model("coterie/coding").await["experts"] != json!(experts) {} };
        timeout(HUNG, seen)
            .await
            .expect("the mapping never changed");
    }

    /// Waits until a line of the metrics is there.
    async fn counted(&self, line: &str) {
        let seen = async { while !self.coterie.read("/metrics").await.contains(line) {} };
        timeout(HUNG, seen).await.expect("it was never counted");
    }

    /// The decision on a coding question.
    async fn decided(&self) -> Value {
        let question = json!({"text": "How do I sort a list?", "model": "coterie/coding"});
        self.coterie.told("/v1/route", &question).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_file_is_taken_up_by_itself() {
    let mapped = Mapped::serve(BY_ONE).await;
    mapped.coding_is_for(&["one", "two"]).await;
    let before = mapped.decided().await["mapping"]["id"].clone();
    mapped.write(BY_TWO);
    mapped.coding_is_for(&["two", "three", "one"]).await;
    let decided = mapped.decided().await;
    assert_eq!(decided["expert"], "two");
    assert_ne!(decided["mapping"]["id"], before);
    // As editors do: another file takes the name.
    let beside = mapped.file.with_extension("new");
    fs::write(&beside, BY_ONE).unwrap();
    fs::rename(&beside, &mapped.file).unwrap();
    mapped.coding_is_for(&["one", "two"]).await;
    assert_eq!(
        mapped.decided().await["mapping"]["id"],
        before,
        "the same words, the same id"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_broken_changes_nothing_until_it_is_mended() {
    let mapped = Mapped::serve(BY_ONE).await;
    let id = mapped.decided().await["mapping"]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let half = &BY_TWO[..BY_TWO.len() - 20];
    let broken = [
        half,
        "default: nobody\n",
        "default: one\npoetry: two\n",
        "coding: one\n",
        "default: one\nfile: other.yaml\n",
        "",
    ];
    for (at, broken) in broken.iter().enumerate() {
        mapped.write(broken);
        mapped.coterie.look_at_mapping();
        let refused = format!(
            "coterie_mapping_changes_total{{result=\"refused\"}} {}",
            at + 1
        );
        mapped.counted(&refused).await;
        let decided = mapped.decided().await;
        assert_eq!(
            (&decided["expert"], &decided["mapping"]["id"]),
            (&json!("one"), &json!(id))
        );
    }
    fs::remove_file(&mapped.file).unwrap();
    mapped.coterie.look_at_mapping();
    mapped.counted("result=\"refused\"} 7").await;
    mapped
        .counted(&format!("coterie_mapping_in_force{{mapping=\"{id}\"}} 1"))
        .await;

    mapped.write(BY_TWO);
    mapped.coterie.look_at_mapping();
    mapped.coding_is_for(&["two", "three", "one"]).await;
    mapped
        .counted("coterie_mapping_changes_total{result=\"taken\"} 1")
        .await;
    mapped
        .counted(&format!("coterie_mapping_in_force{{mapping=\"{id}\"}} 0"))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_question_is_decided_by_half_of_each() {
    const CHANGES: usize = 12;
    const CLIENTS: usize = 4;
    let mapped = Mapped::serve(BY_ONE).await;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let client = || async {
        let mut seen = BTreeSet::new();
        while !*stopped.borrow() {
            let decided = mapped.decided().await;
            let order = json!([decided["expert"], decided["fallbacks"]]);
            seen.insert((decided["mapping"]["id"].to_string(), order.to_string()));
        }
        seen
    };
    let change = async {
        for at in 0..CHANGES {
            let (mapping, experts): (_, &[&str]) = if at % 2 == 0 {
                (BY_TWO, &["two", "three", "one"])
            } else {
                (BY_ONE, &["one", "two"])
            };
            mapped.write(mapping);
            mapped.coterie.look_at_mapping();
            mapped.coding_is_for(experts).await;
        }
        stop.send(true).unwrap();
    };
    let (seen, ()) = tokio::join!(join_all((0..CLIENTS).map(|_| client())), change);
    let seen: BTreeSet<_> = seen.into_iter().flatten().collect();
    let ids: BTreeSet<_> = seen.iter().map(|(id, _)| id).collect();
    let orders: BTreeSet<_> = seen.iter().map(|(_, order)| order.as_str()).collect();
    assert_eq!(
        orders,
        [r#"["one",["two"]]"#, r#"["two",["three","one"]]"#].into()
    );
    assert_eq!(
        (seen.len(), ids.len()),
        (2, 2),
        "each id has one order: {seen:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn models_tell_who_answers_what() {
    let mapped = Mapped::serve(BY_TWO).await;
    let whole = mapped.model("coterie").await;
    assert_eq!(whole["experts"], json!(["one"]));
    assert_eq!(whole["mapping"], mapped.decided().await["mapping"]["id"]);
    assert_eq!(
        mapped.model("coterie/legal").await["experts"],
        json!(["one"])
    );
    let two = mapped.model("two").await;
    assert_eq!(
        (&two["categories"], &two["fallback_of"]),
        (&json!(["coding", "sql"]), &json!([]))
    );
    let three = mapped.model("three").await;
    assert_eq!(
        (&three["categories"], &three["fallback_of"]),
        (&json!([]), &json!(["coding"]))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_prefer_what_the_mapping_allows() {
    let allowed = format!("{BY_ONE}prefer: balanced\nprefer_allowed: [balanced, economy]\n");
    let mapped = Mapped::serve(&allowed).await;
    let body = json!({"text": "How do I sort a list?"});
    for (prefer, code, counts) in [
        ("economy", StatusCode::OK, json!("economy")),
        ("balanced", StatusCode::OK, json!("balanced")),
        (
            "quality",
            StatusCode::BAD_REQUEST,
            json!("unsupported_value"),
        ),
        ("cheap", StatusCode::BAD_REQUEST, json!("invalid_value")),
    ] {
        let asked = mapped.coterie.post("/v1/route", &body);
        let response = asked
            .header("x-coterie-prefer", prefer)
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), code, "{prefer}");
        let told: Value = response.json().await.unwrap();
        if code == StatusCode::OK {
            assert_eq!(told["mapping"]["prefer"], counts);
        } else {
            assert_eq!(told["error"]["code"], counts);
            assert_eq!(told["error"]["param"], "x-coterie-prefer");
        }
    }
}
