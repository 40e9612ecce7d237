//! Small routers, trained in a moment.

use std::path::Path;

use coterie::{
    catalogue::{Catalogue, Route},
    config::{FeatureKind, Guard, RouterConfig, Sticky},
    ids::CategoryId,
    router::artefact::Manifest,
    train::{
        dataset, in_force,
        labels::Labelled,
        router::{Job, Prepared, Unlabelled},
    },
};

use super::encoder::encoder_config;

/// Reads words and the transformer, and keeps its routers in `artefacts`.
pub(crate) fn router_config(artefacts: &Path) -> RouterConfig {
    RouterConfig {
        encoder: encoder_config(),
        artefacts: artefacts.to_owned(),
        artefact: None,
        misroute_max: 0.05,
        features: vec![FeatureKind::Sparse, FeatureKind::Transformer],
        static_encoder: None,
        sticky: Sticky::On,
        guard: Guard::Off,
        instruction: None,
    }
}

/// The same without the transformer.
pub(crate) fn cheap_config(artefacts: &Path) -> RouterConfig {
    RouterConfig {
        features: vec![FeatureKind::Sparse],
        ..router_config(artefacts)
    }
}

/// The questions of [`catalogue`], labelled.
pub(crate) fn rows() -> Vec<Labelled> {
    dataset::of_routes(&catalogue())
}

/// Trains a router into `out`.
pub(crate) async fn train(
    config: &RouterConfig,
    rows: Vec<Labelled>,
    seed: u64,
    out: &Path,
) -> Manifest {
    train_as(config, rows, out, |job| job.seed = seed).await
}

/// Trains a router into `out`, after `adjust` has said how.
pub(crate) async fn train_as(
    config: &RouterConfig,
    rows: Vec<Labelled>,
    out: &Path,
    adjust: impl FnOnce(&mut Job),
) -> Manifest {
    let encoder = in_force::open_encoder(config).await.unwrap();
    let mut job = Job {
        rows,
        seed: 0,
        features: config.features.clone(),
        static_encoder: None,
        tuned: None,
        routes_sha256: String::new(),
        sources: Vec::new(),
        base: None,
        seen: Vec::new(),
        given: Vec::new(),
        unlabelled: Unlabelled::default(),
        further: Vec::new(),
        created_at_ms: 0,
    };
    adjust(&mut job);
    let prepared = Prepared::new(job, &config.encoder, &encoder).unwrap();
    let trained = Box::pin(prepared.train(&encoder, &config.artefacts, out));
    trained.await.unwrap()
}

fn route(category: &str, examples: &[&str]) -> Route {
    Route {
        category: CategoryId::new(category),
        description: format!("Questions about {category}."),
        examples: examples.iter().map(|text| (*text).to_owned()).collect(),
        negatives: Vec::new(),
    }
}

/// Three categories that words tell apart, six questions each.
pub(crate) fn catalogue() -> Catalogue {
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
    Catalogue {
        routes,
        out_of_domain: Vec::new(),
        ..Catalogue::default()
    }
}
