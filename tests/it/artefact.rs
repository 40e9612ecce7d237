//! Trained routers on disk: what was written is what is read, or is refused with the reason.

use std::{
    fs,
    path::{Path, PathBuf},
};

use coterie::{
    catalogue::Catalogue,
    config::{self, FeatureKind},
    ids::CategoryId,
    query::Query,
    router::{
        Router, RouterError,
        artefact::{Artefact, ArtefactError, FORMAT, MANIFEST_FILE, TENSORS_FILE},
    },
    train::{
        dataset::Dataset,
        in_force::{self, InForceError},
        labels::Labelled,
        reading,
    },
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::support::router::{catalogue, cheap_config, router_config, rows, train, train_as};

const SEED: u64 = 7;

/// A trained router in a folder of its own.
struct Trained {
    folder: TempDir,
}

impl Trained {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = router_config(&folder.path().join("routers"));
        train(&config, rows(), SEED, &folder.path().join("router")).await;
        Self { folder }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("router")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// Writes something else at `pointer` of the manifest, as if it had been so from the beginning.
    fn edit(&self, pointer: &str, to: Value) {
        let path = self.file(MANIFEST_FILE);
        let mut manifest: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        *manifest.pointer_mut(pointer).unwrap() = to;
        manifest["sha256"] = "0".repeat(64).into();
        let sum = hex::encode(Sha256::digest(manifest.to_string()));
        manifest["sha256"] = sum.into();
        fs::write(&path, manifest.to_string()).unwrap();
    }

    async fn open(&self) -> Result<Router, InForceError> {
        in_force::open(&router_config(self.folder.path()), &self.path()).await
    }

    fn refusal(&self) -> ArtefactError {
        match Artefact::read(&self.path()) {
            Ok(_) => panic!("the router was read"),
            Err(error) => error,
        }
    }
}

/// Categories and the bits of their probabilities.
async fn scores(router: &Router, question: &str) -> Vec<(String, u32)> {
    let verdict = router.classify(&Query::from_text(question)).await.unwrap();
    let scores = verdict.scores.into_iter();
    scores
        .map(|score| (score.category.to_string(), score.probability.to_bits()))
        .collect()
}

fn tensors(folder: &Path) -> Vec<u8> {
    fs::read(folder.join(TENSORS_FILE)).unwrap()
}

#[tokio::test]
async fn a_router_is_read_back_to_the_bit() {
    let trained = Trained::new().await;
    let (one, other) = (trained.open().await.unwrap(), trained.open().await.unwrap());
    assert_eq!(one.artefact().model, other.artefact().model);
    assert_eq!(one.artefact().held_back.len(), rows().len());
    for question in ["Is there a ferry to the island?", "How do I poach salmon?"] {
        assert_eq!(scores(&one, question).await, scores(&other, question).await);
    }
}

#[tokio::test]
async fn the_router_of_the_routes_is_trained_once_and_then_read() {
    let artefacts = tempfile::tempdir().unwrap();
    let config = router_config(artefacts.path());
    let trained = in_force::at_start(&config, &catalogue()).await.unwrap();
    let manifest = artefacts
        .path()
        .join(trained.id().as_str())
        .join(MANIFEST_FILE);
    let written = fs::read(&manifest).unwrap();
    let read = in_force::at_start(&config, &catalogue()).await.unwrap();
    assert_eq!(fs::read(&manifest).unwrap(), written);
    assert_eq!(read.artefact().model, trained.artefact().model);
    let question = "Is there a ferry to the island?";
    assert_eq!(
        scores(&trained, question).await,
        scores(&read, question).await
    );
}

#[tokio::test]
async fn the_same_rows_and_seed_make_the_same_bytes_in_any_order() {
    let folder = tempfile::tempdir().unwrap();
    let config = router_config(&folder.path().join("routers"));
    let mut backwards = rows();
    backwards.reverse();
    let out = |name: &str| folder.path().join(name);
    let first = train(&config, rows(), SEED, &out("first")).await;
    let again = train(&config, backwards, SEED, &out("again")).await;
    let other = train(&config, rows(), SEED + 1, &out("other")).await;
    assert_eq!(tensors(&out("first")), tensors(&out("again")));
    assert_eq!((&first.id, &first.files), (&again.id, &again.files));
    assert_ne!(first.id, other.id);
}

#[tokio::test]
async fn other_examples_make_another_router_and_other_descriptions_do_not() {
    let artefacts = tempfile::tempdir().unwrap();
    let config = cheap_config(artefacts.path());
    let mut catalogue = catalogue();
    let id = async |catalogue: &Catalogue| {
        let router = in_force::at_start(&config, catalogue).await.unwrap();
        router.id().clone()
    };
    let before = id(&catalogue).await;
    catalogue.routes[0].description.push_str(" And more.");
    assert_eq!(id(&catalogue).await, before);
    catalogue.routes[0].examples[0].push('!');
    assert_ne!(id(&catalogue).await, before);
    assert_eq!(before.as_str().len(), 12);
}

#[tokio::test]
async fn a_damaged_file_is_named() {
    let trained = Trained::new().await;
    let path = trained.file(TENSORS_FILE);
    let whole = fs::read(&path).unwrap();
    let mut flipped = whole.clone();
    *flipped.last_mut().unwrap() ^= 1;
    for damaged in [&flipped[..], &whole[..whole.len() / 2], b""] {
        fs::write(&path, damaged).unwrap();
        let error = trained.refusal();
        assert!(matches!(&error, ArtefactError::Corrupt { path: named, .. } if *named == path));
        let told = error.to_string();
        assert!(told.ends_with("train it again"), "{told}");
    }
    fs::remove_file(&path).unwrap();
    assert!(trained.refusal().to_string().contains(TENSORS_FILE));
    let manifest = trained.file(MANIFEST_FILE);
    let text = fs::read_to_string(&manifest).unwrap();
    // A digit that is another is no mistake of form.
    for at in text.match_indices("0.").map(|(at, _)| at + 2) {
        let mut edited = text.clone();
        let digit = if &text[at..=at] == "1" { "2" } else { "1" };
        edited.replace_range(at..=at, digit);
        fs::write(&manifest, edited).unwrap();
        let told = trained.refusal().to_string();
        assert!(told.contains("its checksum is another"), "{told}");
    }
    fs::write(&manifest, "{").unwrap();
    assert!(trained.refusal().to_string().contains(MANIFEST_FILE));
    fs::remove_file(&manifest).unwrap();
    assert!(trained.refusal().is_absent());
}

#[tokio::test]
async fn a_router_of_another_format_is_refused_with_what_to_do() {
    let trained = Trained::new().await;
    for (format, advice) in [
        (FORMAT + 1, "use a newer Coterie"),
        (FORMAT - 1, "train it again"),
    ] {
        trained.edit("/format", json!(format));
        let error = trained.refusal();
        assert!(matches!(&error, ArtefactError::Format { found, .. } if *found == format));
        let told = error.to_string();
        assert!(told.contains(advice), "{told}");
        assert!(told.contains(&format!("reads {FORMAT}")), "{told}");
    }
}

#[tokio::test]
async fn a_router_that_reads_another_encoder_is_refused_with_both_names() {
    let trained = Trained::new().await;
    trained.edit("/encoder/fingerprint", json!("0".repeat(64)));
    trained.edit("/encoder/name", json!("another-encoder"));
    let Err(InForceError::Router(error)) = trained.open().await else {
        panic!("it opened or failed otherwise");
    };
    assert!(matches!(error, RouterError::OtherEncoder { .. }), "{error}");
    let told = error.to_string();
    for part in [
        "another-encoder",
        "all-MiniLM-L6-v2",
        "router.encoder.model",
    ] {
        assert!(told.contains(part), "{told}");
    }
}

#[tokio::test]
async fn a_stored_router_that_is_damaged_is_trained_again_at_start() {
    let artefacts = tempfile::tempdir().unwrap();
    let config = cheap_config(artefacts.path());
    let router = in_force::at_start(&config, &catalogue()).await.unwrap();
    let file = artefacts
        .path()
        .join(router.id().as_str())
        .join(TENSORS_FILE);
    let whole = fs::read(&file).unwrap();
    fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    let again = in_force::at_start(&config, &catalogue()).await.unwrap();
    assert_eq!(again.artefact().model, router.artefact().model);
    assert_eq!(fs::read(&file).unwrap(), whole);
}

#[tokio::test]
async fn the_router_that_is_built_in_is_put_there_again_where_it_was_damaged() {
    let artefacts = tempfile::tempdir().unwrap();
    let mut config = router_config(artefacts.path());
    config.features.insert(1, FeatureKind::Static);
    let routes = config::embedded_routes();
    let router = in_force::at_start(&config, &routes).await.unwrap();
    let folder = artefacts.path().join(router.id().as_str());
    let files = &router.artefact().manifest.files;
    assert!(files.contains_key("tokenizer.json"), "{files:?}");
    for file in files.keys().map(|name| folder.join(name)) {
        let whole = fs::read(&file).unwrap();
        fs::write(&file, [&whole[..], b" "].concat()).unwrap();
        let error = Artefact::read(&folder).map(drop).unwrap_err();
        let is_named = matches!(&error, ArtefactError::Corrupt { path, .. } if *path == file);
        assert!(is_named, "{error}");
        let again = in_force::at_start(&config, &routes).await.unwrap();
        assert_eq!(again.artefact().model, router.artefact().model);
        assert_eq!(fs::read(&file).unwrap(), whole);
        fs::remove_file(&file).unwrap();
        let error = Artefact::read(&folder).map(drop).unwrap_err();
        assert!(!error.is_absent(), "the manifest is there: {error}");
        in_force::at_start(&config, &routes).await.unwrap();
        assert_eq!(fs::read(&file).unwrap(), whole);
    }
}

/// How many bytes are kept of what the transformer said.
fn bytes_of_readings(artefacts: &Path) -> u64 {
    let files = fs::read_dir(artefacts.join(".readings")).unwrap();
    files
        .map(|file| file.unwrap().metadata().unwrap().len())
        .sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_transformer_reads_what_is_asked_and_no_further_rows() {
    let folder = tempfile::tempdir().unwrap();
    let further = ["Fry the onions in butter.", "Knead the dough for an hour."];
    let further = further.map(|text| Labelled {
        origin: Some("more".into()),
        ..Labelled::from_text(text, CategoryId::new("cooking"))
    });
    let bytes = async |name: &str, rows: Vec<Labelled>| {
        let artefacts = folder.path().join(name);
        let out = artefacts.join("router");
        let config = router_config(&artefacts);
        let manifest = train_as(&config, rows, &out, |job| {
            job.further = vec!["more".to_owned()];
        });
        (
            manifest.await.training.further,
            bytes_of_readings(&artefacts),
        )
    };
    let (none, asked) = bytes("asked", rows()).await;
    let (two, both) = bytes("both", [rows(), further.to_vec()].concat()).await;
    assert_eq!((none, two), (0, 2));
    assert!(asked > 0);
    assert_eq!(both, asked);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_was_read_once_is_never_read_again() {
    let artefacts = tempfile::tempdir().unwrap();
    let out = |name: &str| artefacts.path().join(name);
    let config = router_config(artefacts.path());
    train(&config, rows(), SEED, &out("first")).await;
    let kept = bytes_of_readings(artefacts.path());

    // The same texts in other rows: another order, another label, another seed. Whatever wanted one read would fail.
    let mut unreading = router_config(artefacts.path());
    unreading.encoder.runtime = out("no-such-library");
    let mut others = rows();
    others.reverse();
    others[0].category = others[17].category.clone();
    train(&unreading, others, SEED + 1, &out("again")).await;
    assert_eq!(bytes_of_readings(artefacts.path()), kept);

    let cooking = CategoryId::new("cooking");
    let new = Labelled::from_text("Knead the dough for an hour.", cooking);
    let dataset = Dataset::new([rows(), vec![new]].concat(), SEED);
    let encoder = in_force::open_encoder(&unreading).await.unwrap();
    let read = reading::layers(&dataset, &encoder, artefacts.path()).await;
    let refusal = read.err().unwrap().to_string();
    assert!(refusal.contains("no-such-library"), "{refusal}");
    let encoder = in_force::open_encoder(&config).await.unwrap();
    let read = reading::layers(&dataset, &encoder, artefacts.path()).await;
    assert!(read.is_ok());
    let of_one = kept / rows().len() as u64;
    assert_eq!(bytes_of_readings(artefacts.path()), kept + of_one);
}
