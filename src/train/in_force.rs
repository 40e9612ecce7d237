//! The router in force: the one in a folder, or the one that the routes' own examples make at start.

use std::{error::Error, path::Path};

use tokio::task::{JoinError, spawn_blocking};
use tracing::{info, warn};

use super::{
    dataset,
    reading::LAYERS,
    router::{Job, Prepared, TrainError},
};
use crate::{
    catalogue::Catalogue,
    config::RouterConfig,
    ids::CategoryId,
    router::{
        Router, RouterError,
        artefact::{Artefact, ArtefactError, Manifest},
        encoder::{Encoder, EncoderError},
    },
};

/// The seed of routers that are made at start.
const SEED: u64 = 7;

/// Why there is no router.
#[derive(Debug, thiserror::Error)]
pub enum InForceError {
    /// It cannot be opened.
    #[error(transparent)]
    Router(#[from] RouterError),
    /// It cannot be made from the routes' examples.
    #[error("no router can be made from the routes' examples")]
    Train {
        /// Why not.
        #[from]
        source: TrainError,
    },
    /// A category without examples.
    #[error("routes/{category}.yaml has no examples; give it some questions that belong to it")]
    NoExamples {
        /// The category.
        category: CategoryId,
    },
    /// Work on another thread panicked.
    #[error("opening the router was cut short")]
    Interrupted {
        /// How it ended.
        #[from]
        source: JoinError,
    },
}

impl From<EncoderError> for InForceError {
    fn from(error: EncoderError) -> Self {
        Self::Router(error.into())
    }
}

impl From<ArtefactError> for InForceError {
    fn from(error: ArtefactError) -> Self {
        Self::Router(error.into())
    }
}

/// Opens the router in `folder`.
///
/// # Errors
/// It cannot be read, or was trained with another encoder.
pub async fn open(config: &RouterConfig, folder: &Path) -> Result<Router, InForceError> {
    let artefact = Artefact::read(folder)?;
    let encoder = open_encoder(config).await?;
    Ok(Router::new(artefact, encoder, config).await?)
}

/// Takes the router that these routes make from the artefacts, or trains it and leaves it there.
///
/// # Errors
/// If the encoder cannot be opened or the examples cannot be fitted. An artefact that cannot be read is trained again.
pub async fn at_start(
    config: &RouterConfig,
    catalogue: &Catalogue,
) -> Result<Router, InForceError> {
    if let Some(route) = catalogue
        .routes
        .iter()
        .find(|route| route.examples.is_empty())
    {
        let category = route.category.clone();
        return Err(InForceError::NoExamples { category });
    }
    let encoder = open_encoder(config).await?;
    let job = Job {
        rows: dataset::of_routes(catalogue),
        seed: SEED,
        features: config.features.clone(),
        static_encoder: config.static_encoder.clone(),
        tuned: None,
        routes_sha256: routes_sha256(catalogue),
        sources: Vec::new(),
        parent: None,
    };
    let prepared = Prepared::new(job, &config.encoder, &encoder)?;
    let folder = config.artefacts.join(prepared.id().as_str());
    let artefact = match stored(&folder) {
        Some(artefact) => artefact,
        None => {
            // On the heap: training holds far more than everything else here.
            let training = Box::pin(prepared.train(&encoder, &config.artefacts, &folder));
            told(&training.await?);
            Artefact::read(&folder)?
        }
    };
    Ok(Router::new(artefact, encoder, config).await?)
}

/// Opens the configured transformer, with the layers that routers read.
///
/// # Errors
/// Whatever is missing or unusable.
pub async fn open_encoder(config: &RouterConfig) -> Result<Encoder, InForceError> {
    let config = config.encoder.clone();
    Ok(spawn_blocking(move || Encoder::open(&config, &LAYERS, None)).await??)
}

/// A digest of the examples of all routes.
pub fn routes_sha256(catalogue: &Catalogue) -> String {
    dataset::Dataset::new(dataset::of_routes(catalogue), SEED).sha256()
}

fn told(manifest: &Manifest) {
    info!(
        router = %manifest.id, rows = manifest.training.rows, accuracy = manifest.cascade.figures.accuracy,
        cheap_share = manifest.cascade.cheap_share, "trained the router from the routes' examples"
    );
}

/// The sound artefact in `folder`, if there is one.
fn stored(folder: &Path) -> Option<Artefact> {
    match Artefact::read(folder) {
        Ok(artefact) => Some(artefact),
        Err(error) if error.is_absent() => None,
        Err(error) => {
            warn!(
                error = &error as &dyn Error,
                "the stored router cannot be used and is trained again"
            );
            None
        }
    }
}
