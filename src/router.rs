//! Step one: question → category, with a confidence. Knows nothing of HTTP, experts or SQL.

pub mod artefact;
mod calibration;
mod conversation;
pub mod encoder;
pub mod head;

use std::{error::Error, path::Path};

use indicatif::{ProgressBar, ProgressStyle};
use sha2::{Digest as _, Sha256};
use tokio::task::{JoinError, spawn_blocking};
use tracing::{info, warn};

use self::{
    artefact::{Artefact, ArtefactError},
    encoder::{Encoder, EncoderError},
    head::{Fit, FitError, FitOptions, Head},
};
use crate::{
    catalogue::Catalogue,
    clock,
    config::RouterConfig,
    decision::Score,
    ids::{CategoryId, RouterId},
    query::Query,
};

/// Examples that are embedded in one call while the router is fitted: the step of the progress bar.
const EXAMPLES_PER_CALL: usize = 32;

/// Hexadecimal digits of the digest that name a router.
const ID_DIGITS: usize = 12;

/// An encoder and the head that reads it.
pub struct Router {
    encoder: Encoder,
    artefact: Artefact,
    confidence_min: f32,
}

/// What the router says of one question.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// Probability of every category, likeliest first; empty for an empty question.
    pub scores: Vec<Score>,
    /// How it was reached.
    pub standing: Standing,
}

/// Whether the router stands by the likeliest category.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Standing {
    /// Its probability reaches the threshold.
    Confident,
    /// It does not reach `confidence_min`.
    Unsure { confidence_min: f32 },
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
    /// The router to open reads vectors of another encoder.
    #[error(
        "router {router} was fitted on another encoder than the one that is configured; train it again"
    )]
    OtherEncoder {
        /// The router.
        router: RouterId,
    },
    /// A category without examples.
    #[error("routes/{category}.yaml has no examples; give it some questions that belong to it")]
    NoExamples {
        /// The category.
        category: CategoryId,
    },
    /// The examples could not be fitted.
    #[error("no router can be fitted from the routes' examples")]
    Fit {
        /// What is wrong with them.
        #[from]
        source: FitError,
    },
    /// Work on another thread panicked.
    #[error("opening the router was cut short")]
    Interrupted {
        /// How it ended.
        #[from]
        source: JoinError,
    },
}

impl Router {
    /// Opens the encoder and takes the router for these routes from the artefacts, or fits it and leaves it there.
    ///
    /// Takes a second from an artefact and several to fit; the work is done on threads that may block.
    ///
    /// # Errors
    /// If the encoder cannot be opened or the examples cannot be fitted. An artefact that cannot be read is fitted
    /// again, and one that cannot be written is done without; both are logged.
    pub async fn open(config: &RouterConfig, catalogue: &Catalogue) -> Result<Self, RouterError> {
        if let Some(route) = catalogue
            .routes
            .iter()
            .find(|route| route.examples.is_empty())
        {
            let category = route.category.clone();
            return Err(RouterError::NoExamples { category });
        }
        let encoder = open_encoder(config).await?;
        let options = FitOptions::default();
        let id = identity(&encoder, catalogue, &options);
        let artefact = match stored(&config.artefacts, &id) {
            Some(artefact) => artefact,
            None => {
                let artefact = fit(id, &encoder, catalogue, options).await?;
                if let Err(error) = artefact.save(&config.artefacts) {
                    warn!(
                        error = &error as &dyn Error,
                        "the fitted router could not be stored and will be fitted again at the next start"
                    );
                }
                artefact
            }
        };
        Ok(Self {
            encoder,
            artefact,
            confidence_min: config.confidence_min,
        })
    }

    /// Opens the encoder and the router in `folder`, whatever it was trained from.
    ///
    /// # Errors
    /// If either cannot be opened, or the router was fitted on another encoder's vectors.
    pub async fn open_artefact(config: &RouterConfig, folder: &Path) -> Result<Self, RouterError> {
        let artefact = Artefact::read(folder)?;
        let encoder = open_encoder(config).await?;
        if artefact.encoder != encoder.fingerprint() {
            return Err(RouterError::OtherEncoder {
                router: artefact.id,
            });
        }
        Ok(Self {
            encoder,
            artefact,
            confidence_min: config.confidence_min,
        })
    }

    /// Classifies one question.
    ///
    /// # Errors
    /// If the encoder is busy or failed.
    pub async fn classify(&self, query: &Query) -> Result<Verdict, RouterError> {
        if query.is_empty() {
            return Ok(Verdict {
                scores: Vec::new(),
                standing: Standing::Empty,
            });
        }
        let alone = self.read(&query.text).await?;
        let scores = match &query.context {
            Some(context) => conversation::pool(alone, &self.read(context).await?, query.leaning),
            None => alone,
        };
        let best = scores.first().map_or(0.0, |score| score.probability);
        let confidence_min = self.confidence_min;
        let standing = if best < confidence_min {
            Standing::Unsure { confidence_min }
        } else {
            Standing::Confident
        };
        Ok(Verdict { scores, standing })
    }

    /// A digest of everything that it was fitted from.
    pub fn id(&self) -> &RouterId {
        &self.artefact.id
    }

    /// What it tells apart.
    pub fn categories(&self) -> &[CategoryId] {
        &self.artefact.categories
    }

    /// The encoder, for whoever wants vectors.
    pub fn encoder(&self) -> &Encoder {
        &self.encoder
    }

    /// The fitted head and how it came about.
    pub fn artefact(&self) -> &Artefact {
        &self.artefact
    }

    /// The probabilities of one text's categories, likeliest first.
    async fn read(&self, text: &str) -> Result<Vec<Score>, RouterError> {
        let vector = self.encoder.embed_question(text.to_owned()).await?;
        Ok(self.scores(&vector))
    }

    /// Likeliest first, ties by name.
    fn scores(&self, vector: &[f32]) -> Vec<Score> {
        let probabilities = self.artefact.head.probabilities(vector);
        let categories = self.artefact.categories.iter().cloned();
        let mut scores: Vec<Score> = categories
            .zip(probabilities)
            .map(|(category, probability)| Score {
                category,
                probability,
            })
            .collect();
        scores.sort_by(|a, b| {
            let by_probability = b.probability.total_cmp(&a.probability);
            by_probability.then_with(|| a.category.cmp(&b.category))
        });
        scores
    }
}

async fn open_encoder(config: &RouterConfig) -> Result<Encoder, RouterError> {
    let config = config.encoder.clone();
    Ok(spawn_blocking(move || Encoder::open(&config)).await??)
}

/// The artefact of that id, if there is a sound one.
fn stored(artefacts: &Path, id: &RouterId) -> Option<Artefact> {
    match Artefact::load(artefacts, id) {
        Ok(artefact) => Some(artefact),
        Err(error) if error.is_absent() => None,
        Err(error) => {
            warn!(
                error = &error as &dyn Error,
                "the stored router cannot be used and is fitted again"
            );
            None
        }
    }
}

/// Fits a head on the routes' examples, each read as a question would be.
async fn fit(
    id: RouterId,
    encoder: &Encoder,
    catalogue: &Catalogue,
    options: FitOptions,
) -> Result<Artefact, RouterError> {
    let mut texts = Vec::new();
    let mut labels = Vec::new();
    for (label, route) in catalogue.routes.iter().enumerate() {
        for example in &route.examples {
            texts.push(Query::from_text(example).text);
            labels.push(label);
        }
    }
    let rows = embed_all(encoder, &texts).await?;
    let classes = catalogue.routes.len();
    let Fit { head, report } =
        spawn_blocking(move || Head::fit(&rows, &labels, classes, &options)).await??;
    info!(
        router = %id, rows = report.rows, accuracy = report.accuracy, l2 = report.l2, temperature = report.temperature,
        "fitted the router from the routes' examples"
    );
    Ok(Artefact {
        id,
        created_at_ms: clock::now_ms(),
        parent: None,
        encoder: encoder.fingerprint().to_owned(),
        categories: catalogue
            .routes
            .iter()
            .map(|route| route.category.clone())
            .collect(),
        head,
        report,
    })
}

/// Embeds the texts with a progress bar; there is none where standard error is no terminal.
async fn embed_all(encoder: &Encoder, texts: &[String]) -> Result<Vec<Vec<f32>>, EncoderError> {
    let style = ProgressStyle::with_template("{msg} {bar:30} {pos}/{len}");
    let bar = ProgressBar::new(texts.len() as u64)
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        .with_message("reading the routes' examples");
    let mut vectors = Vec::with_capacity(texts.len());
    for texts in texts.chunks(EXAMPLES_PER_CALL) {
        vectors.extend(encoder.embed(texts.to_vec()).await?.vectors);
        bar.inc(texts.len() as u64);
    }
    bar.finish_and_clear();
    Ok(vectors)
}

/// A digest of what the fit depends on. Every part is preceded by its length, so that no two inputs look alike.
fn identity(encoder: &Encoder, catalogue: &Catalogue, options: &FitOptions) -> RouterId {
    let mut digest = Sha256::new();
    let mut part = |bytes: &[u8]| {
        digest.update((bytes.len() as u64).to_le_bytes());
        digest.update(bytes);
    };
    part(&artefact::FORMAT.to_le_bytes());
    part(encoder.fingerprint().as_bytes());
    part(format!("{options:?}").as_bytes());
    for route in &catalogue.routes {
        part(route.category.as_str().as_bytes());
        part(&(route.examples.len() as u64).to_le_bytes());
        for example in &route.examples {
            part(Query::from_text(example).text.as_bytes());
        }
    }
    let mut id = hex::encode(digest.finalize());
    id.truncate(ID_DIGITS);
    RouterId::new(id)
}
