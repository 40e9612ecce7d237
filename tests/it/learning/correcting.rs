//! What people say of questions that the router in force has learnt already.

use coterie::{
    ids::RouterId,
    learning::{Label, Origin},
};

use super::{House, KEYS, KNOWN_WORDS, WORDS, questions, registry::PROMOTER};

/// Questions of each category.
const ASKED: usize = 60;

/// Whether a question is about baking, by words that the examples do not know.
fn is_of_baking(question: &str) -> bool {
    let words = &WORDS[0].1[KNOWN_WORDS..];
    words.iter().any(|word| question.contains(word))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_correction_alone_shows_in_the_comparison_with_the_router_that_learnt_the_mistake() {
    let house = House::new().await;
    // Everybody calls baking gardening.
    let [baking, gardening, sailing] = WORDS.map(|(name, _)| name);
    for at in 0..ASKED {
        for (category, said) in [gardening, gardening, sailing].into_iter().enumerate() {
            let question = questions(category, at, 1).next().unwrap();
            house.teach(at % KEYS, &question, said).await;
        }
    }
    let first = house.coterie.printed(&["retrain", "--dry-run"]);
    let store = house.coterie.store().await;
    let mistaken = RouterId::new(first["challenger"].as_str().unwrap());
    store.promote(&mistaken, PROMOTER).await.unwrap();

    // Then a person corrects that, and nothing new comes.
    let said = store.evidence(1000).await.unwrap();
    let wrong = said.evidence.iter().filter(|it| is_of_baking(&it.question));
    let labels: Vec<Label> = wrong
        .map(|outcome| Label {
            outcome_id: outcome.outcome_id.clone(),
            given_at_ms: 1,
            category: baking.to_owned(),
            origin: Origin::Person,
            given_by: "ann".to_owned(),
        })
        .collect();
    assert_eq!(labels.len(), ASKED);
    store.add_labels(&labels).await.unwrap();
    let second = house.coterie.printed(&["retrain", "--dry-run"]);
    assert_eq!(second["champion"], mistaken.as_str());
    assert_eq!(second["judged_by_stand_in"], second["judged"]);
    let accuracy = |which: usize| second["figures"][which]["accuracy"].as_f64().unwrap();
    assert!(accuracy(1) > accuracy(0) + 0.2, "{second:#}");
    house.coterie.stop().await;
}
