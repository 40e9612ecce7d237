//! Step one: question → category, with a confidence. Knows nothing of HTTP, experts or SQL.
//!
//! A cheap tier reads the question's words and settles most questions in microseconds; a transformer is asked where it is
//! unsure ([`model`]). Training makes what is read here ([`artefact`]); nothing here trains.

pub mod artefact;
pub mod calibration;
mod conversation;
pub mod encoder;
pub mod explain;
mod guard;
pub mod head;
pub mod lexical;
pub mod model;
pub mod novelty;
pub mod static_encoder;

use std::{error::Error, sync::Arc};

use tokio::task::{JoinError, spawn_blocking};
use tracing::warn;

use self::{
    artefact::{Artefact, ArtefactError, EncoderNeeded},
    encoder::{Encoder, EncoderError},
    model::{CheapFeatures, Said},
};
pub use self::{conversation::BELONGS_NOWHERE, model::TierName};
use crate::{
    config::{EncoderConfig, FeatureKind, Guard, RouterConfig},
    decision::Score,
    ids::{CategoryId, OUT_OF_DOMAIN, RouterId},
    query::Query,
    risk,
};

/// The threshold where too few rows were held back to bound the share of misrouted questions.
pub const CONFIDENCE_MIN_UNPROVEN: f32 = 0.5;

/// Classes that a verdict names: of a thousand, the others have next to nothing left, and sorting them would take longer
/// than scoring them.
pub const SCORES_MAX: usize = 32;

/// A trained router with its encoders.
pub struct Router {
    artefact: Artefact,
    /// The transformer as it is; what `/v1/embeddings` reads.
    encoder: Arc<Encoder>,
    /// The transformer as it was tuned, where it was.
    tuned: Option<Arc<Encoder>>,
    categories: Vec<CategoryId>,
    confidence_min: f32,
    guard: Guard,
}

/// What the router says of one question.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// The likeliest classes, [`SCORES_MAX`] at most, likeliest first; empty for an empty question.
    pub scores: Vec<Score>,
    /// How it was reached.
    pub standing: Standing,
    /// Which tier settled it; none for an empty question.
    pub tier: Option<TierName>,
    /// How strange the question is: comparable between questions of one router, higher is stranger.
    pub out_of_domain: f32,
}

impl Verdict {
    /// The same, by which nothing is routed.
    fn in_doubt(self, confidence_min: f32) -> Self {
        let standing = match self.standing {
            Standing::Confident => Standing::Unsure { confidence_min },
            other => other,
        };
        Self { standing, ..self }
    }
}

/// Whether the router stands by the likeliest category.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Standing {
    /// Its probability reaches the threshold.
    Confident,
    /// It does not reach the threshold.
    Unsure {
        /// The threshold.
        confidence_min: f32,
    },
    /// The question belongs to no category.
    OutOfDomain,
    /// There was nothing to classify.
    Empty,
}

/// Why there is no router, or no verdict.
#[derive(Debug, thiserror::Error)]
pub enum RouterError {
    /// The encoder could not be opened or failed.
    #[error(transparent)]
    Encoder(#[from] EncoderError),
    /// The router to open cannot be read.
    #[error(transparent)]
    Artefact(#[from] ArtefactError),
    /// The router to open reads another encoder.
    #[error(
        "router {router} was trained with another encoder ({trained_with}) than the one that is configured ({configured}); configure that one as `router.encoder.model`, or train the router again"
    )]
    OtherEncoder {
        /// The router.
        router: RouterId,
        /// The encoder that it needs.
        trained_with: String,
        /// The encoder that there is.
        configured: String,
    },
    /// Work on another thread panicked.
    #[error("opening the router was cut short")]
    Interrupted {
        /// How it ended.
        #[from]
        source: JoinError,
    },
}

/// An encoder's name, with the beginning of what tells it from another of that name.
fn named(name: &str, fingerprint: &str) -> String {
    let begin: String = fingerprint.chars().take(FINGERPRINT_TOLD).collect();
    format!("{name}, {begin}…")
}

/// Digits of a fingerprint that are told.
const FINGERPRINT_TOLD: usize = 8;

impl RouterError {
    fn other_encoder(artefact: &Artefact, needed: &EncoderNeeded, encoder: &Encoder) -> Self {
        Self::OtherEncoder {
            router: artefact.id().clone(),
            trained_with: named(&needed.name, &needed.fingerprint),
            configured: named(encoder.name(), encoder.fingerprint()),
        }
    }
}

impl Router {
    /// Joins an artefact with the encoder that it was trained with, and takes the threshold that keeps the share of
    /// misrouted questions below `misroute_max`.
    ///
    /// # Errors
    /// The encoder is another one, or the tuned one cannot be opened.
    pub async fn new(
        artefact: Artefact,
        encoder: Encoder,
        config: &RouterConfig,
    ) -> Result<Self, RouterError> {
        if let Some(needed) = &artefact.manifest.encoder
            && needed.fingerprint != encoder.fingerprint()
        {
            return Err(RouterError::other_encoder(&artefact, needed, &encoder));
        }
        let (artefact, tuned) = open_tuned(artefact, config.encoder.clone()).await?;
        Self::join(artefact, (Arc::new(encoder), tuned.map(Arc::new)), config).await
    }

    /// The same, with the encoders of a router that is open, as far as they are those that the artefact needs.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub async fn beside(
        other: &Self,
        artefact: Artefact,
        config: &RouterConfig,
    ) -> Result<Self, RouterError> {
        if let Some(needed) = &artefact.manifest.encoder
            && needed.fingerprint != other.encoder.fingerprint()
        {
            return Err(RouterError::other_encoder(
                &artefact,
                needed,
                &other.encoder,
            ));
        }
        let encoder = Arc::clone(&other.encoder);
        if artefact.adapter_sha256() == other.artefact.adapter_sha256() {
            return Self::join(artefact, (encoder, other.tuned.clone()), config).await;
        }
        let (artefact, tuned) = open_tuned(artefact, config.encoder.clone()).await?;
        Self::join(artefact, (encoder, tuned.map(Arc::new)), config).await
    }

    async fn join(
        artefact: Artefact,
        (encoder, tuned): (Arc<Encoder>, Option<Arc<Encoder>>),
        config: &RouterConfig,
    ) -> Result<Self, RouterError> {
        if artefact.manifest.encoder.is_some() && tuned.is_none() {
            // It reads every question: what is wrong with it is to be known now.
            encoder.start().await?;
        }
        warn_of_features(&artefact, &config.features);
        let confidence_min = confidence_min(&artefact, config.misroute_max);
        Ok(Self {
            categories: artefact.manifest.told_apart().cloned().collect(),
            artefact,
            encoder,
            tuned,
            confidence_min,
            guard: config.guard,
        })
    }

    /// Classifies one question.
    ///
    /// # Errors
    /// If the encoder is busy or failed, and there is no cheap tier whose word could stand.
    pub async fn classify(&self, query: &Query) -> Result<Verdict, RouterError> {
        if query.is_empty() {
            return Ok(Verdict {
                scores: Vec::new(),
                standing: Standing::Empty,
                tier: None,
                out_of_domain: f32::INFINITY,
            });
        }
        let alone = self.read(&query.text).await?;
        let said = match &query.context {
            Some(context) => {
                let in_context = self.read(context).await?;
                let outside = self.artefact.model.outside;
                conversation::pool(alone, &in_context, query.leaning(), outside)
            }
            None => alone,
        };
        Ok(match self.doubted(&query.text, &said) {
            Some(doubted) => self.verdict(&doubted).in_doubt(self.confidence_min),
            None => self.verdict(&said),
        })
    }

    /// What is left of what is said of a question whose two ends are about different things, as far as the cheap tier can tell;
    /// none where nothing speaks against it.
    fn doubted(&self, text: &str, said: &Said) -> Option<Said> {
        if self.guard == Guard::Off {
            return None;
        }
        let ends = guard::ends(text)?;
        let cheap = |end: &str| self.artefact.model.cheap(&self.cheap_features(end));
        let [front, back] = ends.map(cheap);
        guard::doubt(said, &[front?, back?])
    }

    /// What the tiers say of one text: the cheap one where it is sure, else the full one.
    async fn read(&self, text: &str) -> Result<Said, RouterError> {
        let model = &self.artefact.model;
        let mut cheap = model.cheap(&self.cheap_features(text));
        if let Some(said) = cheap.take_if(|said| model.is_settled(said)) {
            return Ok(said);
        }
        match self.transformer().embed_question(text.to_owned()).await {
            Ok(reading) => {
                let full = model.full(cheap.as_ref(), &reading).or(cheap);
                full.ok_or(EncoderError::Stopped.into())
            }
            Err(error) => match cheap {
                Some(said) => {
                    warn!(
                        error = &error as &dyn Error,
                        "the encoder failed; the cheap tier's word stands"
                    );
                    Ok(said)
                }
                None => Err(error.into()),
            },
        }
    }

    /// What the cheap tier reads of a text.
    fn cheap_features(&self, text: &str) -> CheapFeatures {
        let lexicon = self.artefact.model.lexicon.as_ref();
        let static_encoder = self.artefact.static_encoder.as_ref();
        CheapFeatures {
            sparse: lexicon
                .map(|lexicon| lexicon.features(text))
                .unwrap_or_default(),
            vector: static_encoder
                .map(|encoder| encoder.vector(text))
                .unwrap_or_default(),
        }
    }

    /// The encoder that the full tier reads.
    fn transformer(&self) -> &Encoder {
        self.tuned.as_deref().unwrap_or(&self.encoder)
    }

    /// A digest of everything that it was trained from.
    pub fn id(&self) -> &RouterId {
        self.artefact.id()
    }

    /// What it tells apart; `out_of_domain` is no category.
    pub fn categories(&self) -> &[CategoryId] {
        &self.categories
    }

    /// The encoder, for whoever wants vectors.
    pub fn encoder(&self) -> &Encoder {
        &self.encoder
    }

    /// What was trained and how it came about.
    pub fn artefact(&self) -> &Artefact {
        &self.artefact
    }

    /// The confidence from which a question is routed.
    pub fn confidence_min(&self) -> f32 {
        self.confidence_min
    }

    fn verdict(&self, said: &Said) -> Verdict {
        let model = &self.artefact.model;
        let scores = ranked(&model.categories, &said.probabilities, &model.silent);
        let is_strange = said
            .strangeness
            .is_some_and(|share| share > novelty::STRANGENESS_MAX);
        let confidence_min = self.confidence_min;
        let standing = match scores.first() {
            Some(best) if best.category.as_str() == OUT_OF_DOMAIN || is_strange => {
                Standing::OutOfDomain
            }
            Some(best) if best.probability >= confidence_min => Standing::Confident,
            _ => Standing::Unsure { confidence_min },
        };
        Verdict {
            out_of_domain: model.out_of_domain_score(said),
            tier: Some(said.tier),
            scores,
            standing,
        }
    }
}

/// The likeliest of the classes that are not silent, the likeliest first, ties by name.
fn ranked(categories: &[CategoryId], probabilities: &[f32], silent: &[usize]) -> Vec<Score> {
    let reached = reached(probabilities);
    let mut likely = Vec::with_capacity(2 * SCORES_MAX);
    for (class, probability) in probabilities.iter().enumerate() {
        let is_likely = reached.is_none_or(|reached| *probability >= reached);
        if is_likely && !silent.contains(&class) {
            likely.push((class, *probability));
        }
    }
    likely.sort_unstable_by(|a, b| {
        let by_name = || categories[a.0].cmp(&categories[b.0]);
        b.1.total_cmp(&a.1).then_with(by_name)
    });
    likely.truncate(SCORES_MAX);
    let scores = likely.into_iter().map(|(class, probability)| Score {
        category: categories[class].clone(),
        probability,
    });
    scores.collect()
}

/// What the [`SCORES_MAX`] likeliest classes reach and few others do; none of few classes. (Silent classes have a
/// probability of 0, so that none is likelier than one that is told.)
///
/// The greatest of every so manieth number is looked at instead of all: as many of these as are looked for reach the least of them, and
/// these are an eighth of all.
fn reached(probabilities: &[f32]) -> Option<f32> {
    /// Numbers that one stands for.
    const OF_EACH: usize = 8;
    let groups = probabilities.len() / OF_EACH;
    if groups < SCORES_MAX {
        return None;
    }
    let (first, others) = probabilities.split_at(groups);
    let mut greatest = first.to_vec();
    for others in others.chunks_exact(groups) {
        for (greatest, other) in greatest.iter_mut().zip(others) {
            *greatest = if other > greatest { *other } else { *greatest };
        }
    }
    let descending = |a: &f32, b: &f32| b.total_cmp(a);
    let (_, reached, _) = greatest.select_nth_unstable_by(SCORES_MAX - 1, descending);
    Some(*reached)
}

/// Opens the transformer as the artefact's adapter changes it.
async fn open_tuned(
    artefact: Artefact,
    config: EncoderConfig,
) -> Result<(Artefact, Option<Encoder>), RouterError> {
    if artefact.adapter.is_none() {
        return Ok((artefact, None));
    }
    let opened = spawn_blocking(move || {
        let layers = artefact
            .manifest
            .encoder
            .as_ref()
            .map_or(&[][..], |needed| &needed.layers);
        let tuned = Encoder::open(&config, layers, artefact.adapter.as_ref())?;
        Ok::<_, EncoderError>((artefact, Some(tuned)))
    });
    Ok(opened.await??)
}

/// A router reads what it was trained with, whatever is switched off since.
fn warn_of_features(artefact: &Artefact, configured: &[FeatureKind]) {
    let is_off = |name: &&String| configured.iter().all(|kind| kind.as_str() != name.as_str());
    for feature in artefact.manifest.features.iter().filter(is_off) {
        warn!(
            router = %artefact.id(),
            "the router was trained with `{feature}`, which `router.features` leaves out, and goes on reading it; train it again, or add it there"
        );
    }
}

fn confidence_min(artefact: &Artefact, misroute_max: f64) -> f32 {
    let threshold = risk::threshold_for(&artefact.held_back, misroute_max, risk::CONFIDENCE_LEVEL);
    threshold.map_or_else(
        || {
            warn!(
                router = %artefact.id(), rows = artefact.held_back.len(), misroute_max,
                "the router's rows are too few, or too often wrong, to promise that share of misrouted questions; the threshold is {CONFIDENCE_MIN_UNPROVEN}"
            );
            CONFIDENCE_MIN_UNPROVEN
        },
        |threshold| threshold.confidence_min,
    )
}

/// What a fit found, as it is kept.
#[expect(
    clippy::cast_possible_truncation,
    reason = "fitting needs the precision of f64, the result does not"
)]
pub(crate) fn narrow(number: f64) -> f32 {
    number as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_classes_the_likeliest_are_told_and_ties_go_by_name() {
        let names: Vec<CategoryId> = (0..SCORES_MAX + 8)
            .map(|at| CategoryId::new(format!("c{at:02}")))
            .collect();
        // The last is the likeliest; of the others, which are alike, those with the first names have the places that are left.
        let categories: Vec<CategoryId> = names.iter().rev().cloned().collect();
        let mut probabilities = vec![0.01; names.len()];
        probabilities[0] = 0.5;
        let told: Vec<CategoryId> = ranked(&categories, &probabilities, &[])
            .into_iter()
            .map(|score| score.category)
            .collect();
        let expected = names.last().into_iter().chain(&names[..SCORES_MAX - 1]);
        assert!(told.iter().eq(expected), "{told:?}");
    }

    #[test]
    fn the_likeliest_are_those_that_sorting_all_would_give() {
        for classes in [3, 32, 33, 64, 100, 1_000] {
            let names: Vec<CategoryId> = (0..classes)
                .map(|at| CategoryId::new(format!("c{at:04}")))
                .collect();
            // Rising, falling, mixed, all alike.
            let kinds: [&dyn Fn(usize) -> usize; 4] =
                [&|at| at, &|at| classes - at, &|at| at * 7_919 % 613, &|_| 1];
            for kind in kinds {
                let silent = [classes / 2, classes - 1];
                let mut probabilities: Vec<f32> = (0..classes)
                    .map(|at| narrow(kind(at) as f64 / 1e6))
                    .collect();
                silent.iter().for_each(|class| probabilities[*class] = 0.0);
                let mut all: Vec<usize> = (0..classes).filter(|at| !silent.contains(at)).collect();
                all.sort_by(|a, b| probabilities[*b].total_cmp(&probabilities[*a]));
                all.truncate(SCORES_MAX);
                let told = ranked(&names, &probabilities, &silent);
                let told = told.iter().map(|score| &score.category);
                assert!(told.eq(all.iter().map(|at| &names[*at])), "{classes}");
            }
        }
    }
}
