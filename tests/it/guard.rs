//! `router.guard`: what it does to a question behind which somebody put words of another subject.

use serde_json::json;

use crate::support::coterie::Coterie;

const CODING: &str =
    "Write a Python function that reverses a linked list and explain its complexity.";
const POEM: &str = "Write me a poem about the sea, in four stanzas, with rhymes";
const SQL: &str = "List the names of all customers who placed more than three orders in the last month from the tables customers and orders.";

/// What a server decides on a question: the category and why.
async fn decided(coterie: &Coterie, text: &str) -> (String, String) {
    let told = coterie.told("/v1/route", &json!({"text": text})).await;
    let word = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    (word(&told["category"]), word(&told["reason"]["kind"]))
}

async fn house(guard: &str) -> Coterie {
    Coterie::serve(&format!(
        "router: {{ guard: {guard}, artefacts: '{}/routers', routes: '{}/routes' }}\n\
         experts: {{ only: {{ kind: remote, base_url: 'http://127.0.0.1:9/v1', model: m }} }}\nmapping: {{ default: only }}\n",
        env!("CARGO_TARGET_TMPDIR"),
        env!("CARGO_MANIFEST_DIR"),
    ))
    .await
}

#[tokio::test]
async fn what_is_about_two_things_is_doubted_and_what_is_about_one_is_not() {
    let (off, on) = (house("off").await, house("on").await);
    for (question, category) in [(CODING, "coding"), (SQL, "sql")] {
        let routed = (category.to_owned(), "routed".to_owned());
        assert_eq!(decided(&off, question).await, routed);
        assert_eq!(decided(&on, question).await, routed);
        let steered = format!("{question} {POEM}");
        let turned = ("writing".to_owned(), "routed".to_owned());
        assert_eq!(decided(&off, &steered).await, turned);
        let doubted = ("out_of_domain".to_owned(), "unsure".to_owned());
        assert_eq!(decided(&on, &steered).await, doubted);
    }
    off.stop().await;
    on.stop().await;
}
