//! What a router says of questions: categories, thresholds, tiers, and why.

use std::fs;

use coterie::{
    config::{self, FeatureKind},
    ids::{CategoryId, OUT_OF_DOMAIN},
    query::Query,
    router::{
        CONFIDENCE_MIN_UNPROVEN, Router, RouterError, Standing, TierName, Verdict,
        encoder::EncoderError,
    },
    train::in_force::{self, InForceError},
};
use futures_util::future::join_all;

use crate::support::router::{catalogue, cheap_config, router_config};

/// More questions at once than the encoder and its queue hold.
const FLOOD: usize = 400;

/// Questions that no router here has seen, and where they belong.
const UNSEEN: [(&str, &str); 3] = [
    ("Fix the null pointer exception in my Java method", "coding"),
    ("How do I poach salmon?", "cooking"),
    ("Are there night trains from Vienna to Venice?", "travel"),
];

async fn ask(router: &Router, question: &str) -> Verdict {
    router.classify(&Query::from_text(question)).await.unwrap()
}

#[tokio::test]
async fn questions_go_to_their_categories() {
    let artefacts = tempfile::tempdir().unwrap();
    let router = in_force::at_start(&router_config(artefacts.path()), &catalogue())
        .await
        .unwrap();
    for (question, category) in UNSEEN {
        let verdict = ask(&router, question).await;
        let best = &verdict.scores[0];
        assert_eq!(best.category.as_str(), category, "{question}: {verdict:?}");
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
async fn too_few_rows_prove_no_bound_and_the_threshold_decides() {
    let artefacts = tempfile::tempdir().unwrap();
    let router = in_force::at_start(&router_config(artefacts.path()), &catalogue())
        .await
        .unwrap();
    let confidence_min = router.confidence_min();
    assert!((confidence_min - CONFIDENCE_MIN_UNPROVEN).abs() < f32::EPSILON);
    let questions = UNSEEN.iter().map(|(question, _)| *question);
    for question in questions.chain(["x", "And what about Tuesday?"]) {
        let verdict = ask(&router, question).await;
        let expected = match verdict.standing {
            // The detector of strange questions has its own tests.
            Standing::OutOfDomain => continue,
            _ if verdict.scores[0].probability >= confidence_min => Standing::Confident,
            _ => Standing::Unsure { confidence_min },
        };
        assert_eq!(verdict.standing, expected, "{question}: {verdict:?}");
    }
}

#[tokio::test]
async fn an_empty_question_has_no_scores_and_no_tier() {
    let artefacts = tempfile::tempdir().unwrap();
    let router = in_force::at_start(&cheap_config(artefacts.path()), &catalogue())
        .await
        .unwrap();
    let verdict = ask(&router, " \n ").await;
    assert_eq!((verdict.standing, verdict.tier), (Standing::Empty, None));
    assert!(verdict.scores.is_empty());
}

#[tokio::test]
async fn questions_of_no_category_are_told_from_examples() {
    let artefacts = tempfile::tempdir().unwrap();
    let mut catalogue = catalogue();
    catalogue.out_of_domain = [
        "asdf qwer zxcv",
        "hello hello",
        "hey there",
        "good morning to you",
        "thanks a lot",
        "lol ok",
        "hmm",
        "qwertz uiop",
    ]
    .map(str::to_owned)
    .to_vec();
    let router = in_force::at_start(&router_config(artefacts.path()), &catalogue)
        .await
        .unwrap();
    let names: Vec<&str> = router.categories().iter().map(CategoryId::as_str).collect();
    assert_eq!(names, ["coding", "cooking", "travel"]);
    let verdict = ask(&router, "hello, good morning, thanks").await;
    assert_eq!(verdict.scores[0].category.as_str(), OUT_OF_DOMAIN);
    assert_eq!(verdict.standing, Standing::OutOfDomain);
    assert_eq!(verdict.scores.len(), 4);
    let inside = ask(&router, "How do I poach salmon?").await;
    assert!(verdict.out_of_domain > inside.out_of_domain);
}

#[tokio::test]
async fn what_looks_like_a_category_and_is_none_of_it_is_told_by_negatives() {
    let question = "Are model trains from Vienna worth the money?";
    let mut catalogue = catalogue();
    let best = async |catalogue: &_| {
        let artefacts = tempfile::tempdir().unwrap();
        let router = in_force::at_start(&cheap_config(artefacts.path()), catalogue)
            .await
            .unwrap();
        ask(&router, question).await.scores.swap_remove(0).category
    };
    assert_eq!(best(&catalogue).await.as_str(), "travel");
    catalogue.routes[2].negatives = [
        "Do model trains run on batteries?",
        "Are toy trains good for children of three?",
        "How do I clean the wheels of model trains?",
        "Which model trains keep their worth?",
        "Is this model of a plane worth the money?",
        "Who made the first model trains?",
    ]
    .map(str::to_owned)
    .to_vec();
    assert_eq!(best(&catalogue).await.as_str(), OUT_OF_DOMAIN);
}

#[tokio::test]
async fn without_the_transformer_the_cheap_tier_settles_everything_and_says_why() {
    let artefacts = tempfile::tempdir().unwrap();
    let router = in_force::at_start(&cheap_config(artefacts.path()), &catalogue())
        .await
        .unwrap();
    let question = "How long do I boil an egg for a salad?";
    let verdict = ask(&router, question).await;
    assert_eq!(verdict.scores[0].category.as_str(), "cooking");
    assert_eq!(verdict.tier, Some(TierName::Cheap));
    let why = router
        .explain(question, &verdict.scores, TierName::Cheap)
        .unwrap();
    assert_eq!(why.tier, TierName::Cheap);
    assert_eq!(why.winner, verdict.scores[0].category);
    assert_eq!(why.runner_up, verdict.scores[1].category);
    let margin = verdict.scores[0].probability - verdict.scores[1].probability;
    assert!((why.margin - margin).abs() < f32::EPSILON);
    assert!((why.confidence_min - router.confidence_min()).abs() < f32::EPSILON);
    assert!(why.static_share.abs() < f32::EPSILON);
    let shares = &why.features_for;
    assert!(shares.iter().all(|share| share.share > 0.0), "{shares:?}");
    assert!(shares.is_sorted_by(|a, b| a.share >= b.share), "{shares:?}");
    // What is named stands between backticks and comes from the question.
    let named = shares[0].feature.split('`').nth(1).unwrap();
    assert!(question.to_lowercase().contains(named), "{shares:?}");
    assert!(why.features_against.iter().all(|share| share.share < 0.0));
}

#[tokio::test]
async fn every_verdict_has_the_tier_that_settled_it() {
    let artefacts = tempfile::tempdir().unwrap();
    let router = in_force::at_start(&router_config(artefacts.path()), &catalogue())
        .await
        .unwrap();
    let settled_from = router.artefact().model.settled_from;
    for (question, _) in UNSEEN {
        let verdict = ask(&router, question).await;
        match verdict.tier.unwrap() {
            TierName::Cheap => assert!(verdict.scores[0].probability >= settled_from),
            TierName::Full | TierName::Instruction => {}
        }
    }
    // Nothing in it was ever seen, so words alone say little.
    let verdict = ask(&router, "Vrmpf?").await;
    assert_eq!(verdict.tier, Some(TierName::Full), "{settled_from}");
}

#[tokio::test]
async fn where_the_encoder_is_too_busy_the_cheap_tiers_word_stands() {
    let artefacts = tempfile::tempdir().unwrap();
    let router = in_force::at_start(&router_config(artefacts.path()), &catalogue())
        .await
        .unwrap();
    let query = Query::from_text("Vrmpf?");
    let verdicts = join_all((0..FLOOD).map(|_| router.classify(&query))).await;
    let tier = |verdict: &Result<Verdict, RouterError>| verdict.as_ref().unwrap().tier.unwrap();
    let full = verdicts
        .iter()
        .filter(|verdict| tier(verdict) == TierName::Full);
    let full = full.count();
    assert!(full > 0 && full < FLOOD, "{full} were read by the encoder");
    for verdict in verdicts {
        assert_eq!(verdict.unwrap().scores.len(), 3);
    }
}

#[tokio::test]
async fn where_the_encoder_is_too_busy_and_there_is_no_cheap_tier_there_is_no_verdict() {
    let artefacts = tempfile::tempdir().unwrap();
    let mut config = router_config(artefacts.path());
    config.features = vec![FeatureKind::Transformer];
    let router = in_force::at_start(&config, &catalogue()).await.unwrap();
    let query = Query::from_text("How do I poach salmon?");
    let verdicts = join_all((0..FLOOD).map(|_| router.classify(&query))).await;
    let (fine, failed): (Vec<_>, Vec<_>) = verdicts.into_iter().partition(Result::is_ok);
    assert!(!fine.is_empty() && !failed.is_empty());
    for verdict in failed {
        let busy = RouterError::Encoder(EncoderError::Busy).to_string();
        assert_eq!(verdict.unwrap_err().to_string(), busy);
    }
    assert_eq!(fine[0].as_ref().unwrap().tier, Some(TierName::Full));
}

#[tokio::test]
async fn a_route_without_examples_is_named() {
    let artefacts = tempfile::tempdir().unwrap();
    let mut catalogue = catalogue();
    catalogue.routes[1].examples.clear();
    let refused = in_force::at_start(&cheap_config(artefacts.path()), &catalogue).await;
    let Err(InForceError::NoExamples { category }) = refused else {
        panic!("it opened or failed otherwise");
    };
    assert_eq!(category.as_str(), "cooking");
}

#[tokio::test]
async fn what_a_route_that_was_removed_was_about_is_out_of_domain() {
    let artefacts = tempfile::tempdir().unwrap();
    let mut config = router_config(artefacts.path());
    config.features.insert(1, FeatureKind::Static);
    let mut routes = config::embedded_routes();
    let kept = ["coding", "legal"];
    routes
        .routes
        .retain(|route| kept.contains(&route.category.as_str()));
    let own = catalogue().routes.into_iter();
    routes
        .routes
        .extend(own.filter(|route| route.category.as_str() == "travel"));
    routes.out_of_domain.clear();
    let router = in_force::at_start(&config, &routes).await.unwrap();
    let names: Vec<&str> = router.categories().iter().map(CategoryId::as_str).collect();
    assert_eq!(names, ["coding", "legal", "travel"]);
    for elsewhere in [
        "What dose of ibuprofen is safe for a child of six?",
        "What is the integral of x squared from 0 to 3?",
        "turn off the kitchen lights",
    ] {
        let verdict = ask(&router, elsewhere).await;
        assert_eq!(
            verdict.standing,
            Standing::OutOfDomain,
            "{elsewhere}: {verdict:?}"
        );
        assert_eq!(verdict.scores.len(), 4, "{verdict:?}");
    }
    let readings = fs::read_dir(artefacts.path().join(".readings")).unwrap();
    assert_eq!(readings.count(), 1, "what the tuned encoder said is kept");
    let inside = ask(
        &router,
        "My Rust program does not compile: cannot borrow as mutable.",
    )
    .await;
    assert_eq!(inside.standing, Standing::Confident, "{inside:?}");
    assert_eq!(inside.scores[0].category.as_str(), "coding");
}
