//! What accepting, joining and dismissing proposals does.

use super::*;
use crate::{catalogue::Route, ids::CategoryId, learning::watch};

fn suggestion(name: &str, texts: &[&str]) -> Suggestion {
    Suggestion {
        digest: digest(texts.iter().copied()),
        description: None,
        proposal: Proposal {
            name: name.to_owned(),
            terms: vec!["stars".to_owned()],
            size: texts.len(),
            times: 3,
            cohesion: 0.5,
            nearest: None,
            examples: texts.iter().map(|text| (*text).to_owned()).collect(),
            rows: (0..texts.len()).collect(),
        },
    }
}

fn proposed(outcomes: &[&[&str]]) -> Proposed {
    let ids = |of_text: &&[&str]| of_text.iter().map(|id| (*id).to_owned()).collect();
    Proposed {
        suggestions: vec![suggestion("stars", &["Why?", "Where?"])],
        is_cut: false,
        texts: ["Why?", "Where?", "When?"].map(str::to_owned).to_vec(),
        outcomes: outcomes.iter().map(ids).collect(),
        begun: Vec::new(),
        taken: vec!["law".to_owned(), "stars".to_owned()],
    }
}

fn catalogue(category: &str) -> Catalogue {
    let route = Route {
        category: CategoryId::new(category),
        description: String::new(),
        examples: Vec::new(),
        negatives: Vec::new(),
    };
    Catalogue {
        routes: vec![route],
        ..Catalogue::default()
    }
}

async fn store(folder: &Path, ids: &[&str]) -> Store {
    let store = Store::open(&folder.join("coterie.db")).await.unwrap();
    let outcomes: Vec<_> = ids.iter().map(|id| watch::example(id, 5)).collect();
    store.write(&outcomes).await.unwrap();
    store
}

async fn labels(store: &Store, id: &str) -> Vec<String> {
    let labels = store.labels(id).await.unwrap().into_iter();
    labels.map(|label| label.category).collect()
}

#[tokio::test]
async fn accepting_writes_the_route_and_labels_the_questions_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path(), &["a", "b", "c"]).await;
    let proposed = proposed(&[&["a", "b"], &["c"]]);
    let at = proposed.find(&proposed.suggestions[0].digest).unwrap();
    assert_eq!(at, proposed.find("stars").unwrap());
    assert!(proposed.find("sta").is_err());
    let accept = async || {
        let by = (&store, "ann");
        proposed.accept(at, Some(folder.path()), by).await
    };
    let accepted = accept().await.unwrap();
    assert_eq!(accepted.labelled, 3);
    assert_eq!(accepted.path, folder.path().join("stars.yaml"));
    fs::write(&accepted.path, "mine").unwrap();
    let again = accept().await.unwrap_err();
    assert!(matches!(again, ProposingError::Exists { .. }), "{again}");
    assert_eq!(fs::read_to_string(&accepted.path).unwrap(), "mine");
    for id in ["a", "b", "c"] {
        assert_eq!(labels(&store, id).await, ["stars"]);
    }
}

#[tokio::test]
async fn an_accepting_that_was_cut_after_the_route_goes_on_with_the_labels() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path(), &["a"]).await;
    let proposed = proposed(&[&["a"], &[]]);
    let yaml = route_yaml(&proposed.suggestions[0].proposal, None);
    fs::write(folder.path().join("stars.yaml"), yaml).unwrap();
    let by = (&store, "ann");
    let accepted = proposed.accept(0, Some(folder.path()), by).await.unwrap();
    assert_eq!(accepted.labelled, 1);
    assert_eq!(labels(&store, "a").await, ["stars"]);
}

#[tokio::test]
async fn what_was_pruned_meanwhile_is_not_labelled() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path(), &["a"]).await;
    let proposed = proposed(&[&["a"], &["pruned meanwhile"]]);
    let by = (&store, "ann");
    let accepted = proposed.accept(0, Some(folder.path()), by).await.unwrap();
    assert_eq!(accepted.labelled, 1);
    assert_eq!(labels(&store, "a").await, ["stars"]);
}

#[tokio::test]
async fn what_is_dismissed_belongs_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path(), &["a", "b"]).await;
    let proposed = proposed(&[&["a"], &["b"]]);
    assert_eq!(proposed.dismiss(0, (&store, "ann")).await.unwrap(), 2);
    assert_eq!(labels(&store, "b").await, [OUT_OF_DOMAIN]);
}

#[tokio::test]
async fn questions_are_added_to_a_category_that_there_is_and_to_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path(), &["a", "b"]).await;
    let proposed = proposed(&[&["a"], &["b"]]);
    let (law, by) = (catalogue("law"), (&store, "ann"));
    let unknown = proposed.add_to("stars", 0, &law, by).await.unwrap_err();
    assert!(
        matches!(unknown, ProposingError::NoRoute { .. }),
        "{unknown}"
    );
    assert!(labels(&store, "a").await.is_empty());
    assert_eq!(proposed.add_to("law", 0, &law, by).await.unwrap(), 2);
    assert_eq!(labels(&store, "b").await, ["law"]);
}

#[tokio::test]
async fn proposals_that_are_one_category_are_joined_under_the_name_of_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path(), &["a", "b", "c"]).await;
    let mut proposed = proposed(&[&["a"], &["b"], &["c"]]);
    proposed.suggestions[0].proposal.rows = vec![1];
    for (name, row) in [("planets", 2), ("moons", 0)] {
        let mut other = suggestion(name, &[name]);
        other.proposal.rows = vec![row];
        proposed.suggestions.push(other);
    }
    let moons = proposed.suggestions[2].digest.clone();
    let both = ["stars".to_owned(), moons];
    assert!(proposed.join("planets", &["suns".to_owned()]).is_err());
    let at = proposed.join("planets", &both).unwrap();
    let [joined] = proposed.suggestions.as_slice() else {
        panic!("{:?}", proposed.suggestions);
    };
    assert_eq!((at, joined.proposal.name.as_str()), (0, "planets"));
    assert_eq!(joined.proposal.rows, [0, 1, 2]);
    for text in ["planets", "moons", "Why?", "Where?"] {
        let mut examples = joined.proposal.examples.iter();
        assert!(examples.any(|example| example == text), "{text}");
    }
    let accepted = proposed.accept(at, Some(folder.path()), (&store, "ann"));
    assert_eq!(accepted.await.unwrap().labelled, 3);
    assert_eq!(labels(&store, "b").await, ["planets"]);
}

#[test]
fn a_name_of_an_expert_takes_the_place_of_the_terms() {
    let mut proposed = proposed(&[]);
    let digest = proposed.suggestions[0].digest.clone();
    assert_eq!(proposed.taken(0), ["law"]);
    let named = Named {
        name: "night_sky".to_owned(),
        description: "Stars and planets.".to_owned(),
    };
    proposed.rename(0, named);
    assert_eq!(proposed.taken, ["law", "night_sky"]);
    assert_eq!(proposed.find("night_sky").unwrap(), 0);
    assert_eq!(proposed.find(&digest).unwrap(), 0);
    assert!(proposed.find("stars").is_err());
}

#[test]
fn a_digest_is_of_the_texts_in_any_order() {
    assert_eq!(
        digest(["a", "b"].into_iter()),
        digest(["b", "a"].into_iter())
    );
    assert_ne!(digest(["ab"].into_iter()), digest(["a", "b"].into_iter()));
}

#[test]
fn the_keys_of_mapping_are_names_that_are_taken() {
    let taken = taken(&catalogue("law"));
    for name in ["law", OUT_OF_DOMAIN, "budget", "explore"] {
        assert!(taken.iter().any(|taken| taken == name), "{name}");
    }
}

#[tokio::test]
async fn a_route_of_the_same_questions_is_gone_on_with_whatever_it_is_called() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path(), &["a", "b"]).await;
    let mut proposed = proposed(&[&["a"], &["b"]]);
    let begun = |category: &str, example: &str| Begun {
        category: category.to_owned(),
        examples: vec![example.to_owned()],
    };
    proposed.begun = vec![begun("clocks", "When?"), begun("night_sky", "Where?")];
    let accepted = proposed.accept(0, Some(folder.path()), (&store, "ann"));
    let accepted = accepted.await.unwrap();
    assert_eq!(accepted.path, folder.path().join("night_sky.yaml"));
    assert_eq!(accepted.labelled, 2);
    assert_eq!(labels(&store, "a").await, ["night_sky"]);
    assert!(!folder.path().join("stars.yaml").exists());
}

#[tokio::test]
async fn a_text_counts_once_and_one_that_has_a_place_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("coterie.db"))
        .await
        .unwrap();
    let refused = |(at, question): (usize, &str)| {
        let mut outcome = watch::example(&at.to_string(), at as i64);
        outcome.ask.question = Some(question.to_owned());
        outcome
    };
    // More than a page of one text hides none that is older.
    let asked = ["Why?", "Where?", "When?"]
        .into_iter()
        .chain(std::iter::repeat_n("ping", 6_000));
    let outcomes: Vec<_> = asked.enumerate().map(refused).collect();
    store.write(&outcomes).await.unwrap();
    let mut found = refused::read(&store, (0, 9_000)).await.unwrap();
    assert_eq!(found.texts, ["ping", "When?", "Where?", "Why?"]);
    assert_eq!(found.outcomes[0].len(), 6_000);
    assert!(!found.is_cut);

    let mut placed = catalogue("clocks");
    placed.routes[0].examples = vec![" When? ".to_owned()];
    placed.out_of_domain = vec!["ping".to_owned()];
    assert_eq!(found.begun(&placed)[0].category, "clocks");
    found.leave_out(&placed);
    assert_eq!(found.texts, ["Where?", "Why?"]);
    assert_eq!(found.outcomes, [["1"], ["0"]]);
    placed.routes[0].examples.push("How late is it?".to_owned());
    assert_eq!(found.begun(&placed), []);
}
