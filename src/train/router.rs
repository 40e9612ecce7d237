//! `coterie train`: rows → an artefact. Reads the rows by every encoder, fits, and writes the folder.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    path::{Path, PathBuf},
};

use ndarray::{Array1, Array2};
use sha2::{Digest as _, Sha256};
use tokio::task::{JoinError, spawn_blocking};

use super::{
    dataset::{self, Dataset, Key, Role},
    doubt::Given,
    fit::{Material, OnTop, Readings},
    labels::Labelled,
    reading::{self, ReadError},
    rounds::{self, Fitted, Rules},
    tuned::{Tuned, TunedError},
};
use crate::{
    config::{EncoderConfig, FeatureKind},
    ids::{CategoryId, OUT_OF_DOMAIN, RouterId},
    router::{
        artefact::{
            Artefact, ArtefactError, Cascade, Draft, EncoderNeeded, FORMAT, Manifest, Source,
            Training,
        },
        encoder::Encoder,
        head::FitError,
        static_encoder::{StaticEncoder, StaticEncoderError},
    },
};

/// Raised when training makes another router of the same: what was stored before is then trained again.
const RECIPE: u32 = 7;

/// Hexadecimal digits of the digest that name a router.
const ID_DIGITS: usize = 12;

/// What is to be trained.
pub struct Job {
    /// The rows; later ones win over earlier ones.
    pub rows: Vec<Labelled>,
    /// Decides what is held back with what.
    pub seed: u64,
    /// What is read of a question.
    pub features: Vec<FeatureKind>,
    /// The folder of the static encoder.
    pub static_encoder: Option<PathBuf>,
    /// The folder of a tuned encoder.
    pub tuned: Option<PathBuf>,
    /// SHA-256 over the routes' examples.
    pub routes_sha256: String,
    /// Public sets that rows were taken from.
    pub sources: Vec<Source>,
    /// The router that this one is trained on top of.
    pub base: Option<Artefact>,
    /// Rows that this one was trained on as well. They stand in for its classes of which there are no rows else, and prove nothing.
    pub seen: Vec<Labelled>,
    /// How rows of some origins came by their label, those of all others surely: what is probably wrong is left out ([`doubt`](super::doubt)).
    pub given: Vec<(String, Given)>,
    /// What nobody has labelled, and may be learnt all the same.
    pub unlabelled: Unlabelled,
    /// The origins of rows that are not what is asked: the cheap tier learns from them, and nothing is measured on them
    /// ([`Role::Further`](dataset::Role)).
    pub further: Vec<String>,
    /// What the manifest says of when it was trained, milliseconds since 1970 UTC.
    pub created_at_ms: i64,
}

/// Questions of which nobody has said what they are about. Some may be of categories that are new, so that nobody could say it then.
#[derive(Clone, Debug, Default)]
pub struct Unlabelled {
    /// The questions, as they are classified.
    pub texts: Vec<String>,
    /// The categories that they may be of, should a first fit say so, which knows these categories and not the questions.
    pub may_be: Vec<CategoryId>,
}

/// Why no router was trained.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The rows cannot be fitted.
    #[error("no router can be trained from {rows} rows of {categories} categories")]
    Fit {
        /// Distinct rows.
        rows: usize,
        /// Classes.
        categories: usize,
        /// What is wrong.
        source: FitError,
    },
    /// The static encoder is missing or unusable.
    #[error(transparent)]
    StaticEncoder(#[from] StaticEncoderError),
    /// The tuned encoder is missing or unusable.
    #[error(transparent)]
    Tuned(#[from] TunedError),
    /// The transformer failed.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Nothing would be read of a question.
    #[error(
        "nothing would be read of a question: `router.features` is [static] alone and there is no static encoder; add a feature, or name a folder that `coterie encoder distill` wrote"
    )]
    NoFeatures,
    /// The artefact cannot be written.
    #[error(transparent)]
    Artefact(#[from] ArtefactError),
    /// Work on another thread panicked.
    #[error("training was cut short")]
    Interrupted {
        /// How it ended.
        #[from]
        source: JoinError,
    },
}

/// A job whose encoders are open.
pub struct Prepared {
    job: Job,
    dataset: Dataset,
    static_encoder: Option<StaticEncoder>,
    tuned: Option<Tuned>,
    manifest: Manifest,
}

impl Prepared {
    /// Gathers the rows and opens the encoders; `encoder` is the transformer as it is configured.
    ///
    /// # Errors
    /// An encoder is missing or unusable.
    pub fn new(job: Job, config: &EncoderConfig, encoder: &Encoder) -> Result<Self, TrainError> {
        let dataset = dataset_of(&job);
        let uses = |kind| job.features.contains(&kind);
        let static_encoder = match &job.static_encoder {
            Some(folder) if uses(FeatureKind::Static) => Some(StaticEncoder::open(folder)?),
            _ => None,
        };
        let of_base = job
            .base
            .as_ref()
            .and_then(|base| base.adapter.clone().zip(Some(base)));
        let tuned = match (of_base, &job.tuned) {
            (Some((adapter, base)), _) => Some(Tuned::unseen(adapter, base, config)),
            (None, Some(folder)) if uses(FeatureKind::Transformer) => {
                Some(Tuned::open(folder, config)?)
            }
            _ => None,
        };
        let others = uses(FeatureKind::Sparse) || uses(FeatureKind::Transformer);
        if static_encoder.is_none() && !others {
            return Err(TrainError::NoFeatures);
        }
        let manifest = describe(
            &job,
            &dataset,
            encoder,
            (static_encoder.as_ref(), tuned.as_ref()),
        );
        Ok(Self {
            job,
            dataset,
            static_encoder,
            tuned,
            manifest,
        })
    }

    /// A digest of everything that the router will be trained from.
    pub fn id(&self) -> &RouterId {
        &self.manifest.id
    }

    /// What it will be trained on.
    pub fn dataset(&self) -> &Dataset {
        &self.dataset
    }

    /// Trains the router and writes it to `out`; `cache` is the folder of artefacts, beside which readings are kept.
    ///
    /// # Errors
    /// [`TrainError`] says what is wrong.
    pub async fn train(
        self,
        encoder: &Encoder,
        cache: &Path,
        out: &Path,
    ) -> Result<Manifest, TrainError> {
        let texts = self.job.unlabelled.texts.iter().cloned();
        let dataset = self.dataset.with_unlabelled(texts, self.job.seed);
        let dataset = with_excerpts(dataset, &self.job, self.tuned.as_ref());
        let excerpts = dataset.of_role(Role::Excerpt).len();
        let uses = |kind| self.job.features.contains(&kind);
        let readings = match &self.tuned {
            _ if !uses(FeatureKind::Transformer) => None,
            tuned => Some(read(&dataset, (encoder, tuned.as_ref()), cache).await?),
        };
        let of_static = self.static_encoder.as_ref();
        let material = Material {
            sparse: uses(FeatureKind::Sparse),
            vectors: of_static.map(|encoder| vectors(&dataset, encoder)),
            readings,
        };
        let static_folder = self.static_encoder.and(self.job.static_encoder);
        let adapter = self.tuned.map(Tuned::into_adapter_file);
        let (manifest, base, out) = (self.manifest, self.job.base, out.to_owned());
        let (given, seen) = (self.job.given, self.job.seen);
        let may_be = self.job.unlabelled.may_be;
        let fit_and_write = move || {
            let seen = seen
                .iter()
                .map(|row| dataset::key(row.query.likelier_reading()));
            let seen: HashSet<Key> = seen.collect();
            let on_top = base.as_ref().map(|base| OnTop {
                model: &base.model,
                seen: &seen,
            });
            let rules = Rules { given, may_be };
            let Fitted {
                mut trained,
                doubted,
                guessed,
            } = rounds::fitted(&dataset, &material, on_top, &rules)?;
            let held_back = trained.held_back.len();
            if let Some(base) = &base {
                trained.held_back.extend_from_slice(&base.held_back);
            }
            let draft = Draft {
                manifest: Manifest {
                    cheap: trained.cheap.clone(),
                    full: trained.full.clone(),
                    cascade: trained.cascade,
                    training: Training {
                        by_file: trained.by_file,
                        seen: trained.seen,
                        held_back,
                        doubted,
                        guessed,
                        excerpts,
                        ..manifest.training
                    },
                    ..manifest
                },
                model: &trained.model,
                held_back: &trained.held_back,
                static_encoder: static_folder.as_deref(),
                adapter: adapter.as_deref(),
            };
            Ok(draft.write(&out)?)
        };
        spawn_blocking(fit_and_write).await?
    }
}

/// The rows, and the classes of the base that they are not of. Without rows of those their questions would come to look like
/// others': whoever is left would get them.
fn dataset_of(job: &Job) -> Dataset {
    let own = Dataset::new(job.rows.iter().cloned(), job.seed).with_further(&job.further);
    let outside = CategoryId::new(OUT_OF_DOMAIN);
    let known = job.base.as_ref().map(|base| &base.model.categories);
    let known = known.filter(|known| known.contains(&outside));
    let missing: BTreeSet<CategoryId> = known
        .into_iter()
        .flatten()
        .filter(|category| !own.categories.contains(category))
        .cloned()
        .collect();
    if missing.is_empty() {
        return own;
    }
    let is_missing = |row: &&Labelled| missing.contains(&row.category);
    let rows = job.seen.iter().filter(is_missing).chain(&job.rows);
    Dataset::new(rows.cloned(), job.seed)
        .with_further(&job.further)
        .with_silent(missing)
}

/// The rows with excerpts of them, where there is a cheap tier and a tuned encoder to teach it.
fn with_excerpts(dataset: Dataset, job: &Job, tuned: Option<&Tuned>) -> Dataset {
    let has_cheap_tier = [FeatureKind::Sparse, FeatureKind::Static]
        .iter()
        .any(|kind| job.features.contains(kind));
    if tuned.is_some_and(|tuned| has_cheap_tier && tuned.teaches(&dataset)) {
        dataset.with_excerpts(job.seed)
    } else {
        dataset
    }
}

/// What the transformer says of the rows: as it was tuned, or as it was published.
async fn read(
    dataset: &Dataset,
    (encoder, tuned): (&Encoder, Option<&Tuned>),
    cache: &Path,
) -> Result<Readings, ReadError> {
    match tuned {
        Some(tuned) => tuned.readings(dataset, encoder.fingerprint(), cache).await,
        None => reading::layers(dataset, encoder, cache).await,
    }
}

fn vectors(dataset: &Dataset, encoder: &StaticEncoder) -> Array2<f32> {
    let mut vectors = Array2::zeros((dataset.texts.len(), encoder.dimensions()));
    for (mut row, text) in vectors.rows_mut().into_iter().zip(&dataset.texts) {
        row.assign(&Array1::from(encoder.vector(text)));
    }
    vectors
}

/// The manifest but for what the fit will find.
fn describe(
    job: &Job,
    dataset: &Dataset,
    encoder: &Encoder,
    (static_encoder, tuned): (Option<&StaticEncoder>, Option<&Tuned>),
) -> Manifest {
    let transformer = job.features.contains(&FeatureKind::Transformer);
    let features: Vec<String> = job
        .features
        .iter()
        .map(|kind| kind.as_str().to_owned())
        .collect();
    let needed = transformer.then(|| EncoderNeeded {
        name: encoder.name().to_owned(),
        fingerprint: encoder.fingerprint().to_owned(),
        layers: encoder.layers().to_vec(),
    });
    let id = id(
        job,
        dataset,
        [
            needed
                .as_ref()
                .map_or("", |needed| needed.fingerprint.as_str()),
            static_encoder.map_or("", StaticEncoder::fingerprint),
            tuned.map_or("", Tuned::sha256),
        ],
    );
    Manifest {
        format: FORMAT,
        id,
        created_at_ms: job.created_at_ms,
        parent: job.base.as_ref().map(|base| base.id().clone()),
        silent: dataset.silent.clone(),
        categories: dataset.categories.clone(),
        features,
        encoder: needed,
        cheap: None,
        full: None,
        cascade: Cascade::default(),
        training: Training {
            rows: dataset.texts.len(),
            further: dataset.of_role(Role::Further).len(),
            excerpts: 0,
            data_sha256: dataset.sha256(),
            routes_sha256: job.routes_sha256.clone(),
            seed: job.seed,
            sources: job.sources.clone(),
            by_file: BTreeMap::new(),
            seen: 0,
            held_back: 0,
            doubted: 0,
            guessed: 0,
        },
        thresholds: Vec::new(),
        files: BTreeMap::default(),
        sha256: String::new(),
    }
}

/// A digest of everything that a router is trained from; `encoders`: their fingerprints.
fn id(job: &Job, dataset: &Dataset, encoders: [&str; 3]) -> RouterId {
    let features: Vec<&str> = job.features.iter().map(|kind| kind.as_str()).collect();
    let base = job.base.as_ref().map_or("", |base| base.id().as_str());
    let (seed, data, origins) = (job.seed, dataset.sha256(), dataset.origins_sha256());
    let first = format!("{FORMAT} {RECIPE} {seed} {features:?}");
    let Job { given, further, .. } = job;
    let first = if given.is_empty() && further.is_empty() {
        first
    } else {
        // Whose word a row is decides whether it may be left out, and what it counts for.
        let given: Vec<_> = given.iter().map(|(of, it)| (of, it.as_str())).collect();
        format!("{first} {given:?} {further:?} {origins}")
    };
    let first = match job.unlabelled.texts.as_slice() {
        [] => first,
        texts => format!("{first} {}", digest(texts, &job.unlabelled.may_be)),
    };
    let mut parts = vec![first, base.to_owned(), data];
    parts.extend(encoders.map(str::to_owned));
    let mut id = hex::encode(Sha256::digest(parts.join("\n")));
    id.truncate(ID_DIGITS);
    RouterId::new(id)
}

/// Of texts in any order, and of what they may be about.
fn digest(texts: &[String], may_be: &[CategoryId]) -> String {
    let mut keys: Vec<Key> = texts.iter().map(|text| dataset::key(text)).collect();
    keys.sort_unstable();
    let digest = Sha256::new()
        .chain_update(keys.concat())
        .chain_update(format!("{may_be:?}"));
    hex::encode(digest.finalize())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn id_of(origin: &str, given: &[(&str, Given)], further: &[&str]) -> RouterId {
        id_with(origin, (given, further), Unlabelled::default())
    }

    fn id_with(
        origin: &str,
        (given, further): (&[(&str, Given)], &[&str]),
        unlabelled: Unlabelled,
    ) -> RouterId {
        let row = Labelled {
            origin: Some(Arc::from(origin)),
            ..Labelled::from_text("Which dough?", CategoryId::new("baking"))
        };
        let job = Job {
            rows: vec![row],
            seed: 7,
            features: vec![FeatureKind::Sparse],
            static_encoder: None,
            tuned: None,
            routes_sha256: String::new(),
            sources: Vec::new(),
            base: None,
            seen: Vec::new(),
            given: given
                .iter()
                .map(|(origin, given)| ((*origin).to_owned(), *given))
                .collect(),
            unlabelled,
            further: further.iter().map(|origin| (*origin).to_owned()).collect(),
            created_at_ms: 0,
        };
        let dataset = Dataset::new(job.rows.iter().cloned(), job.seed);
        id(&job, &dataset, [""; 3])
    }

    #[test]
    fn whose_word_a_row_is_makes_another_router_where_words_may_be_doubted() {
        let doubtful = &[("feedback", Given::Doubtfully)][..];
        let together = &[("feedback", Given::Together)][..];
        assert_ne!(
            id_of("feedback", doubtful, &[]),
            id_of("person", doubtful, &[])
        );
        assert_ne!(
            id_of("feedback", doubtful, &[]),
            id_of("feedback", together, &[])
        );
        assert_eq!(
            id_of("person", doubtful, &[]),
            id_of("person", doubtful, &[])
        );
        assert_ne!(id_of("more", &[], &["more"]), id_of("more", &[], &[]));
        assert_eq!(id_of("feedback", &[], &[]), id_of("person", &[], &[]));
    }

    #[test]
    fn what_nobody_labelled_makes_another_router_in_whatever_order_it_comes() {
        let of = |texts: &[&str], may_be: &str| {
            let unlabelled = Unlabelled {
                texts: texts.iter().map(|text| (*text).to_owned()).collect(),
                may_be: vec![CategoryId::new(may_be)],
            };
            id_with("person", (&[], &[]), unlabelled)
        };
        let known = of(&["Which yeast?", "Which oven?"], "baking");
        assert_eq!(known, of(&["Which oven?", "Which yeast?"], "baking"));
        assert_ne!(known, of(&["Which oven?"], "baking"));
        assert_ne!(known, of(&["Which yeast?", "Which oven?"], "brewing"));
        assert_ne!(known, id_of("person", &[], &[]));
        // Without questions there is nothing that could be of anything.
        assert_eq!(of(&[], "baking"), id_of("person", &[], &[]));
    }
}
