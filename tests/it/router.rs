//! The router with the real encoder: loading, embedding, fitting, and what is kept of a fit.

use std::{
    fs,
    path::{Path, PathBuf},
};

use coterie::{
    catalogue::{Catalogue, Route},
    config::{EncoderConfig, RouterConfig, Sticky},
    ids::CategoryId,
    query::Query,
    router::{
        Router, RouterError, Standing, Verdict,
        encoder::{Encoder, EncoderError, TEXTS_MAX},
    },
};

use crate::support::encoder::encoder_config;

fn router_config(artefacts: &Path, confidence_min: f32) -> RouterConfig {
    RouterConfig {
        encoder: encoder_config(),
        artefacts: artefacts.to_owned(),
        confidence_min,
        sticky: Sticky::On,
    }
}

fn route(category: &str, examples: &[&str]) -> Route {
    Route {
        category: CategoryId::new(category),
        description: format!("Questions about {category}."),
        examples: examples.iter().map(|text| (*text).to_owned()).collect(),
    }
}

fn catalogue() -> Catalogue {
    let routes = vec![
        route(
            "coding",
            &[
                "Write a Python function that parses a CSV file.",
                "Why does my Rust program not compile: cannot borrow as mutable?",
                "How do I sort an array of objects by a key in JavaScript?",
                "Refactor this class so that it can be tested.",
                "What does a segmentation fault in C mean?",
                "Implement a binary search tree with insert and delete.",
            ],
        ),
        route(
            "cooking",
            &[
                "How long do I boil an egg?",
                "What can I cook with leftover rice and two carrots?",
                "My sourdough does not rise, what went wrong?",
                "Which herbs go well with roast lamb?",
                "How do I make a vegetable soup less salty?",
                "At what temperature do I bake a cheesecake?",
            ],
        ),
        route(
            "travel",
            &[
                "Which is the cheapest month to fly to Lisbon?",
                "Do I need a visa for Japan?",
                "Plan three days in Rome with small children.",
                "How do I get from the airport to the city by train?",
                "What should I pack for a week of hiking in Norway?",
                "Is it safe to travel alone in Morocco?",
            ],
        ),
    ];
    Catalogue { routes }
}

async fn embed(encoder: &Encoder, texts: &[&str]) -> Vec<Vec<f32>> {
    let texts = texts.iter().map(|text| (*text).to_owned()).collect();
    let readings = encoder.embed(texts).await.unwrap();
    readings.into_iter().map(|reading| reading.vector).collect()
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn refusal(change: impl FnOnce(&mut EncoderConfig)) -> EncoderError {
    let mut config = encoder_config();
    change(&mut config);
    match Encoder::open(&config, &[]) {
        Ok(_) => panic!("the encoder opened"),
        Err(error) => error,
    }
}

#[tokio::test]
async fn vectors_have_length_one_and_do_not_depend_on_the_company() {
    let encoder = Encoder::open(&encoder_config(), &[]).unwrap();
    let long = "The contract ends when either party gives notice. ".repeat(30);
    let texts = [
        "Hello",
        long.as_str(),
        "What is the capital of Peru?",
        "你好，世界",
        "x",
    ];
    let together = embed(&encoder, &texts).await;
    for (text, vector) in texts.iter().zip(&together) {
        assert_eq!(vector.len(), encoder.dimensions());
        assert!((cosine(vector, vector) - 1.0).abs() < 1e-4);
        let alone = embed(&encoder, &[text]).await;
        assert!(cosine(vector, &alone[0]) > 0.9999, "{text}");
    }
    assert_eq!(encoder.dimensions(), 384);
}

#[tokio::test]
async fn like_is_nearer_than_unlike() {
    let encoder = Encoder::open(&encoder_config(), &[]).unwrap();
    let vectors = embed(
        &encoder,
        &[
            "How do I reverse a list in Python?",
            "Python code to flip the order of a list",
            "The recipe calls for two eggs and a cup of flour.",
        ],
    )
    .await;
    let (like, unlike) = (
        cosine(&vectors[0], &vectors[1]),
        cosine(&vectors[0], &vectors[2]),
    );
    assert!(like > 0.7, "{like}");
    assert!(unlike < 0.2, "{unlike}");
}

#[tokio::test]
async fn word_pieces_are_counted_and_read_beyond_what_the_tokenizer_file_says() {
    let encoder = Encoder::open(&encoder_config(), &[]).unwrap();
    let texts = vec!["hello world".into(), "hello".into()];
    let readings = encoder.embed(texts).await.unwrap();
    assert_eq!((readings[0].pieces, readings[1].pieces), (4, 3));
    let start = "apple ".repeat(180);
    let longer = format!("{start}{}", "parliament ".repeat(60));
    let readings = encoder.embed(vec![start, longer]).await.unwrap();
    assert_eq!((readings[0].pieces, readings[1].pieces), (182, 242));
    assert!(cosine(&readings[0].vector, &readings[1].vector) < 0.99);
    let endless = "pear ".repeat(100_000);
    assert_eq!(encoder.embed(vec![endless]).await.unwrap()[0].pieces, 256);
}

#[tokio::test]
async fn a_call_carries_from_no_text_to_its_bound() {
    let encoder = Encoder::open(&encoder_config(), &[]).unwrap();
    assert!(encoder.embed(Vec::new()).await.unwrap().is_empty());
    let texts = |count| vec!["a text".to_owned(); count];
    let full = encoder.embed(texts(TEXTS_MAX)).await.unwrap();
    assert_eq!(full.len(), TEXTS_MAX);
    let error = encoder.embed(texts(TEXTS_MAX + 1)).await.unwrap_err();
    assert!(matches!(error, EncoderError::TooManyTexts { texts } if texts == TEXTS_MAX + 1));
}

#[tokio::test]
async fn a_full_queue_refuses_at_once_and_is_used_again_afterwards() {
    let encoder = Encoder::open(&encoder_config(), &[]).unwrap();
    let ask = || encoder.embed(vec!["some words to read".into()]);
    // Many more calls than the thread and its queue hold, all made before the first batch can have been read.
    let calls = futures_util::future::join_all((0..400).map(|_| ask()));
    let answers = calls.await;
    let busy = answers
        .iter()
        .filter(|answer| matches!(answer, Err(EncoderError::Busy)))
        .count();
    let fine = answers.iter().filter(|answer| answer.is_ok()).count();
    assert!(busy > 0 && fine > 0, "{busy} busy, {fine} answered");
    assert_eq!(busy + fine, 400);
    assert!(ask().await.is_ok());
}

#[tokio::test]
async fn texts_to_embed_never_keep_a_question_from_being_routed() {
    let encoder = Encoder::open(&encoder_config(), &[]).unwrap();
    let text = "some words to read".to_owned();
    let calls = (0..400).map(|_| encoder.embed(vec![text.clone(); TEXTS_MAX]));
    let mut calls = futures_util::future::join_all(calls);
    assert!(
        futures_util::poll!(&mut calls).is_pending(),
        "as many calls as the encoder takes are waiting"
    );
    let question = encoder.embed_question(text.clone()).await;
    assert_eq!(question.unwrap().vector.len(), encoder.dimensions());
    assert!(
        futures_util::poll!(&mut calls).is_pending(),
        "the question went first"
    );
}

#[tokio::test]
async fn two_encoders_share_one_runtime() {
    let first = Encoder::open(&encoder_config(), &[]).unwrap();
    let second = Encoder::open(&encoder_config(), &[]).unwrap();
    assert_eq!(first.fingerprint(), second.fingerprint());
    let vector = embed(&first, &["one"]).await;
    drop(first);
    assert_eq!(embed(&second, &["one"]).await, vector);
}

#[test]
fn a_missing_runtime_is_an_error_that_says_what_to_do() {
    let error = refusal(|config| config.runtime = "/nowhere/libonnxruntime.so".into());
    assert!(matches!(error, EncoderError::RuntimeMissing { .. }));
    let message = error.to_string();
    assert!(message.contains("/nowhere/libonnxruntime.so"), "{message}");
    assert!(message.contains("scripts/models"), "{message}");
}

#[test]
fn a_file_that_is_no_runtime_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("libonnxruntime.so");
    fs::write(&file, "not a library").unwrap();
    let error = refusal(|config| config.runtime.clone_from(&file));
    // Where tests share a process, another one may have loaded the real library first.
    assert!(
        matches!(
            error,
            EncoderError::RuntimeUnusable { .. } | EncoderError::RuntimeAlreadyLoaded { .. }
        ),
        "{error}"
    );
    assert!(
        error.to_string().contains(&file.display().to_string()),
        "{error}"
    );
}

#[test]
fn a_missing_or_broken_model_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    for file in fs::read_dir(encoder_config().model_dir).unwrap() {
        let file = file.unwrap();
        if file
            .path()
            .extension()
            .is_some_and(|extension| extension == "json")
        {
            fs::copy(file.path(), folder.path().join(file.file_name())).unwrap();
        }
    }
    let weights = folder.path().join("model.safetensors");
    let error = refusal(|config| config.model_dir = folder.path().to_owned());
    assert!(
        matches!(&error, EncoderError::ModelFile { path, .. } if *path == weights),
        "{error}"
    );
    fs::write(&weights, "no weights").unwrap();
    let error = refusal(|config| config.model_dir = folder.path().to_owned());
    assert!(matches!(&error, EncoderError::Weights { .. }), "{error}");
    fs::remove_file(&weights).unwrap();
    fs::write(folder.path().join("model.onnx"), "no graph").unwrap();
    let error = refusal(|config| config.model_dir = folder.path().to_owned());
    assert!(
        matches!(&error, EncoderError::Model { dir, .. } if dir == folder.path()),
        "{error}"
    );
    let tokenizer = folder.path().join("tokenizer.json");
    fs::remove_file(&tokenizer).unwrap();
    let error = refusal(|config| config.model_dir = folder.path().to_owned());
    assert!(error.to_string().contains("tokenizer.json"), "{error}");
}

#[tokio::test]
async fn questions_go_to_their_categories() {
    let artefacts = tempfile::tempdir().unwrap();
    let router = Router::open(&router_config(artefacts.path(), 0.0), &catalogue())
        .await
        .unwrap();
    let cases = [
        ("Fix the null pointer exception in my Java method", "coding"),
        ("How do I poach salmon?", "cooking"),
        ("Are there night trains from Vienna to Venice?", "travel"),
    ];
    for (question, category) in cases {
        let verdict = router.classify(&Query::from_text(question)).await.unwrap();
        assert_eq!(
            verdict.scores[0].category.as_str(),
            category,
            "{question}: {verdict:?}"
        );
        assert_eq!(verdict.standing, Standing::Confident);
        let sum: f32 = verdict.scores.iter().map(|score| score.probability).sum();
        assert!((sum - 1.0).abs() < 1e-5);
        assert!(
            verdict
                .scores
                .is_sorted_by(|a, b| a.probability >= b.probability)
        );
    }
}

#[tokio::test]
async fn the_threshold_decides_between_confident_and_unsure() {
    let artefacts = tempfile::tempdir().unwrap();
    let query = Query::from_text("How do I poach salmon?");
    let verdict = |confidence_min| {
        let config = router_config(artefacts.path(), confidence_min);
        let query = &query;
        async move {
            let router = Router::open(&config, &catalogue()).await.unwrap();
            router.classify(query).await.unwrap()
        }
    };
    let best = verdict(0.0).await.scores[0].probability;
    assert_eq!(verdict(best).await.standing, Standing::Confident);
    let above = best.next_up();
    let unsure: Verdict = verdict(above).await;
    assert_eq!(
        unsure.standing,
        Standing::Unsure {
            confidence_min: above
        }
    );
    assert_eq!(unsure.scores.len(), 3);
}

#[tokio::test]
async fn an_empty_question_has_no_scores() {
    let artefacts = tempfile::tempdir().unwrap();
    let router = Router::open(&router_config(artefacts.path(), 0.0), &catalogue())
        .await
        .unwrap();
    let verdict = router.classify(&Query::from_text(" \n ")).await.unwrap();
    assert_eq!(verdict.standing, Standing::Empty);
    assert!(verdict.scores.is_empty());
}

#[tokio::test]
async fn a_fit_is_stored_and_read_again_to_the_bit() {
    let artefacts = tempfile::tempdir().unwrap();
    let config = router_config(artefacts.path(), 0.0);
    let query = Query::from_text("Is there a ferry to the island?");
    let fitted = Router::open(&config, &catalogue()).await.unwrap();
    let written = fs::metadata(artefact_file(artefacts.path(), &fitted))
        .unwrap()
        .modified()
        .unwrap();
    let read = Router::open(&config, &catalogue()).await.unwrap();
    assert_eq!(read.artefact(), fitted.artefact());
    assert_eq!(
        fs::metadata(artefact_file(artefacts.path(), &read))
            .unwrap()
            .modified()
            .unwrap(),
        written
    );
    let (first, second) = (
        fitted.classify(&query).await.unwrap(),
        read.classify(&query).await.unwrap(),
    );
    let bits = |verdict: &Verdict| -> Vec<(String, u32)> {
        let scores = verdict.scores.iter();
        scores
            .map(|score| (score.category.to_string(), score.probability.to_bits()))
            .collect()
    };
    assert_eq!(bits(&first), bits(&second));
}

fn artefact_file(artefacts: &Path, router: &Router) -> PathBuf {
    artefacts.join(router.id().as_str()).join("router.json")
}

#[tokio::test]
async fn other_examples_make_another_router() {
    let artefacts = tempfile::tempdir().unwrap();
    let config = router_config(artefacts.path(), 0.0);
    let mut catalogue = catalogue();
    let before = Router::open(&config, &catalogue)
        .await
        .unwrap()
        .id()
        .clone();
    catalogue.routes[0].description.push_str(" And more.");
    assert_eq!(
        *Router::open(&config, &catalogue).await.unwrap().id(),
        before
    );
    catalogue.routes[0].examples[0].push('!');
    assert_ne!(
        *Router::open(&config, &catalogue).await.unwrap().id(),
        before
    );
    assert_eq!(before.as_str().len(), 12);
}

#[tokio::test]
async fn a_corrupt_artefact_is_fitted_again() {
    let artefacts = tempfile::tempdir().unwrap();
    let config = router_config(artefacts.path(), 0.0);
    let router = Router::open(&config, &catalogue()).await.unwrap();
    let file = artefact_file(artefacts.path(), &router);
    let whole = fs::read(&file).unwrap();
    fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    let again = Router::open(&config, &catalogue()).await.unwrap();
    assert_eq!(again.artefact().head, router.artefact().head);
    assert!(
        fs::read(&file).unwrap().len() > whole.len() / 2,
        "it was not stored again"
    );
}

#[tokio::test]
async fn where_nothing_can_be_stored_the_fit_stays_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    let blocked = folder.path().join("a-file");
    fs::write(&blocked, "no folder can be made here").unwrap();
    let router = Router::open(&router_config(&blocked.join("routers"), 0.0), &catalogue())
        .await
        .unwrap();
    let verdict = router
        .classify(&Query::from_text("How do I poach salmon?"))
        .await
        .unwrap();
    assert_eq!(verdict.scores[0].category.as_str(), "cooking");
}

#[tokio::test]
async fn a_route_without_examples_is_named() {
    let artefacts = tempfile::tempdir().unwrap();
    let mut catalogue = catalogue();
    catalogue.routes[1].examples.clear();
    let refused = Router::open(&router_config(artefacts.path(), 0.0), &catalogue).await;
    let Err(RouterError::NoExamples { category }) = refused else {
        panic!("it opened or failed otherwise");
    };
    assert_eq!(category.as_str(), "cooking");
}
