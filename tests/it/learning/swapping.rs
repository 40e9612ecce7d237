//! Routers that take each other's place while questions come.

use std::{
    collections::HashSet,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use coterie::{ids::CategoryId, store::Store, train::labels::Labelled};
use futures_util::future::join_all;

use super::{
    House, KNOWN_WORDS, WORDS, key,
    registry::{PROMOTER, register},
};
use crate::support::{
    coterie::chat,
    router::{cheap_config, train},
};

/// Examples of each category.
const EXAMPLES: usize = 42;

fn question(category: usize, at: usize) -> String {
    let known = &WORDS[category].1[..KNOWN_WORDS];
    let (one, other) = (known[at % KNOWN_WORDS], known[at / 5 % KNOWN_WORDS]);
    format!("Tell me of {one} and {other}, number {at}")
}

/// Trains and registers a router that calls every category as the next one, so that by the category of a decision it can be
/// told who made it.
async fn shifted(house: &House, store: &Store) -> coterie::ids::RouterId {
    let routers = house.folder.path().join("shifted");
    let rows = (0..WORDS.len() * EXAMPLES).map(|at| {
        let category = at % WORDS.len();
        let called = WORDS[(category + 1) % WORDS.len()].0;
        let text = question(category, at / WORDS.len());
        Labelled::from_text(&text, CategoryId::new(called))
    });
    let out = routers.join("router");
    let manifest = train(&cheap_config(&routers), rows.collect(), 11, &out).await;
    register(store, &out, manifest.id.as_str()).await
}

/// A decision as its client was told of it.
struct Told {
    outcome: String,
    router: String,
    category: String,
    asked_of: usize,
}

/// Asks until it is over.
async fn ask(house: &House, client: usize, is_over: &AtomicBool) -> Vec<Told> {
    let mut told = Vec::new();
    while !is_over.load(Ordering::Relaxed) {
        let at = told.len();
        let asked_of = at % WORDS.len();
        let question = format!("{} of {client}", question(asked_of, 1000 + at));
        let body = chat("coterie", &question, at % 2 == 0);
        let asked = house
            .coterie
            .post("/v1/chat/completions", &body)
            .bearer_auth(key(client))
            .send()
            .await
            .unwrap();
        assert_eq!(asked.status(), 200);
        let header = |name: &str| asked.headers()[name].to_str().unwrap().to_owned();
        told.push(Told {
            outcome: header("x-coterie-outcome"),
            router: header("x-coterie-router"),
            category: header("x-coterie-category"),
            asked_of,
        });
        asked.bytes().await.unwrap();
    }
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_swaps_under_load_fail_no_request_and_split_no_decision() {
    let house = House::new().await;
    let store = house.coterie.store().await;
    let first = house.accuracy().await.1;
    let second_id = shifted(&house, &store).await;
    let second = second_id.as_str();
    let is_over = AtomicBool::new(false);
    let asking = (0..4).map(|client| ask(&house, client, &is_over));
    let swapping = async {
        for _ in 0..50 {
            store.promote(&second_id, PROMOTER).await.unwrap();
            assert_eq!(house.router_other_than(&first).await, second);
            store.roll_back(PROMOTER).await.unwrap();
            assert_eq!(house.router_other_than(second).await, first);
        }
        is_over.store(true, Ordering::Relaxed);
    };
    let (told, ()) = tokio::join!(join_all(asking), swapping);
    let told: Vec<Told> = told.into_iter().flatten().collect();
    let record = house.coterie.stop().await;

    let (mut seen, mut sure) = (HashSet::new(), 0);
    for it in &told {
        let stored = store.outcome(&it.outcome).await.unwrap().unwrap();
        assert_eq!(stored.ending, "completed");
        // Who decided, the outcome, the answer's headers and the category all say the same.
        assert_eq!(
            (&stored.router, stored.category.as_ref()),
            (&it.router, Some(&it.category))
        );
        let shift = usize::from(it.router == second);
        let says = |shift: usize| WORDS[(it.asked_of + shift) % WORDS.len()].0;
        assert_ne!(it.category, says(1 - shift), "router {}", it.router);
        sure += usize::from(it.category == says(shift));
        seen.insert(it.router.as_str());
    }
    assert_eq!(seen, HashSet::from([first.as_str(), second]));
    drop(record);
    assert!(2 * sure > told.len(), "{sure} of {} tell", told.len());
}

/// Waits until a router decides, and is shown to be in force; nobody tells the server to look.
async fn comes_in_force(house: &House, router: &str) {
    let shown = format!("coterie_router_in_force{{router=\"{router}\"}} 1");
    for _ in 0..2000 {
        let asked = house.coterie.post(
            "/v1/chat/completions",
            &chat("coterie", &question(0, 7), false),
        );
        let asked = asked.bearer_auth(key(0)).send().await.unwrap();
        let decides = asked.headers()["x-coterie-router"] == router;
        asked.bytes().await.unwrap();
        let metrics = house.coterie.read("/metrics").await;
        if decides && metrics.lines().any(|line| line == shown) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("router {router} does not come in force");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_other_processes_promote_and_roll_back_a_server_notices_by_itself() {
    let house = House::new().await;
    let store = house.coterie.store().await;
    let first = house.route("Which dough?").await["router"].clone();
    let first = first.as_str().unwrap();
    let second_id = shifted(&house, &store).await;
    let second = second_id.as_str();
    house.coterie.printed(&["routers", "promote", second]);
    comes_in_force(&house, second).await;
    house.coterie.printed(&["routers", "rollback"]);
    comes_in_force(&house, first).await;
    // The one that is open already is taken up as any other.
    store.promote(&second_id, PROMOTER).await.unwrap();
    comes_in_force(&house, second).await;
    store.roll_back(PROMOTER).await.unwrap();
    comes_in_force(&house, first).await;
    house.coterie.stop().await;
}
