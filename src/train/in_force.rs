//! The router in force: the one in a folder, or the one that the routes' own examples make at start.

use std::{
    error::Error,
    path::{Path, PathBuf},
};

use tokio::task::{JoinError, spawn_blocking};
use tracing::{info, warn};

use super::{
    dataset,
    reading::LAYERS,
    router::{Job, Prepared, TrainError, Unlabelled},
    shipped,
};
use crate::{
    catalogue::{Catalogue, Route},
    clock,
    config::{self, RouterConfig},
    ids::CategoryId,
    router::{
        Router, RouterError,
        artefact::{Artefact, ArtefactError},
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
    /// What the routes make has to be trained first, and this is no time for it.
    #[error(
        "the router of the routes' examples is not in {}: the routes have changed since it was made, or it was removed; it is made when a server starts",
        folder.display()
    )]
    Untrained {
        /// Where it belongs.
        folder: PathBuf,
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
    let encoder = open_encoder(config).await?;
    // On the heap, as below.
    Box::pin(open_with(folder, encoder, config)).await
}

/// Takes the router that these routes make from the artefacts, or trains it and leaves it there.
///
/// # Errors
/// If the encoder cannot be opened or the examples cannot be fitted. An artefact that cannot be read is trained again.
pub async fn at_start(
    config: &RouterConfig,
    catalogue: &Catalogue,
) -> Result<Router, InForceError> {
    // On the heap, since it holds several routers at once.
    Box::pin(taken_or_trained(config, catalogue)).await
}

async fn taken_or_trained(
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
    let (prepared, folder) = match of_routes(config, catalogue, &encoder)? {
        OfRoutes::There(artefact) => return Ok(Router::new(*artefact, encoder, config).await?),
        OfRoutes::Untrained(prepared, folder) => (prepared, folder),
    };
    let manifest = prepared.train(&encoder, &config.artefacts, &folder).await?;
    info!(
        router = %manifest.id, rows = manifest.training.rows, accuracy = manifest.cascade.figures.accuracy,
        cheap_share = manifest.cascade.cheap_share, "trained the router from the routes' examples"
    );
    open_with(&folder, encoder, config).await
}

/// Opens the router that these routes make beside one that is open, whose encoders it shares. Nothing is trained: whoever
/// asks serves questions meanwhile.
///
/// # Errors
/// It was never trained, or cannot be opened.
pub async fn at_start_beside(
    config: &RouterConfig,
    catalogue: &Catalogue,
    other: &Router,
) -> Result<Router, InForceError> {
    let encoder = open_encoder(config).await?;
    match of_routes(config, catalogue, &encoder)? {
        OfRoutes::There(artefact) => Ok(Router::beside(other, *artefact, config).await?),
        OfRoutes::Untrained(_, folder) => Err(InForceError::Untrained { folder }),
    }
}

/// What routes make.
enum OfRoutes {
    /// The router, which was made before.
    There(Box<Artefact>),
    /// What it is to be trained from, and where it belongs.
    Untrained(Box<Prepared>, PathBuf),
}

fn of_routes(
    config: &RouterConfig,
    catalogue: &Catalogue,
    encoder: &Encoder,
) -> Result<OfRoutes, InForceError> {
    let mut job = job_of_routes(config, catalogue, encoder);
    let is_the_same =
        |base: &mut Artefact| base.manifest.training.routes_sha256 == job.routes_sha256;
    if let Some(shipped) = job.base.take_if(is_the_same) {
        return Ok(OfRoutes::There(Box::new(shipped)));
    }
    let prepared = Prepared::new(job, &config.encoder, encoder)?;
    let folder = config.artefacts.join(prepared.id().as_str());
    Ok(match stored(&folder) {
        Some(artefact) => OfRoutes::There(Box::new(artefact)),
        None => OfRoutes::Untrained(Box::new(prepared), folder),
    })
}

/// What the routes' examples alone are trained with: on top of the router that is built in, where that suits.
pub fn job_of_routes(config: &RouterConfig, catalogue: &Catalogue, encoder: &Encoder) -> Job {
    let shipped = shipped(config);
    let static_encoder = shipped.as_ref().map(|shipped| shipped.folder.clone());
    let suits = |shipped: &Artefact| {
        is_on_topic(shipped, catalogue) && reads_the_same(shipped, config, encoder)
    };
    let base = shipped.filter(suits);
    let seen = base.as_ref().map(|_| config::embedded_routes());
    Job {
        rows: dataset::of_routes(catalogue),
        seed: SEED,
        features: config.features.clone(),
        static_encoder: config.static_encoder.clone().or(static_encoder),
        tuned: None,
        routes_sha256: routes_sha256(catalogue),
        sources: Vec::new(),
        base,
        seen: seen.as_ref().map(dataset::of_routes).unwrap_or_default(),
        given: Vec::new(),
        unlabelled: Unlabelled::default(),
        further: Vec::new(),
        created_at_ms: clock::now_ms(),
    }
}

async fn open_with(
    folder: &Path,
    encoder: Encoder,
    config: &RouterConfig,
) -> Result<Router, InForceError> {
    Ok(Router::new(Artefact::read(folder)?, encoder, config).await?)
}

/// The router that is built in; a folder of artefacts that cannot be written costs what it knows, no more.
fn shipped(config: &RouterConfig) -> Option<Artefact> {
    match shipped::open(&config.artefacts) {
        Ok(artefact) => Some(artefact),
        Err(error) => {
            warn!(
                error = &error as &dyn Error,
                "the router that is built in cannot be put into {}; the routes' examples alone must do",
                config.artefacts.display()
            );
            None
        }
    }
}

/// Whether the routes are about what the shipped router is about: most of them are among its categories.
fn is_on_topic(shipped: &Artefact, catalogue: &Catalogue) -> bool {
    let known = |route: &&Route| shipped.model.categories.contains(&route.category);
    catalogue.routes.iter().filter(known).count() * 2 > catalogue.routes.len()
}

/// Whether it reads what is configured to be read.
fn reads_the_same(shipped: &Artefact, config: &RouterConfig, encoder: &Encoder) -> bool {
    let features = config.features.iter().map(|kind| kind.as_str());
    let needed = shipped.manifest.encoder.as_ref();
    features.eq(shipped.manifest.features.iter())
        && config.static_encoder.is_none()
        && needed.is_none_or(|needed| needed.fingerprint == encoder.fingerprint())
}

/// Opens the configured transformer, with the layers that routers read; it is loaded once something is read.
///
/// # Errors
/// Whatever is missing or unusable.
pub async fn open_encoder(config: &RouterConfig) -> Result<Encoder, InForceError> {
    let config = config.encoder.clone();
    let opened = spawn_blocking(move || match Encoder::lazy(&config, &LAYERS) {
        // Someone else's graph, or another depth: its last layer must do.
        Err(EncoderError::OnlyLastLayer { .. } | EncoderError::NoSuchLayer { .. }) => {
            Encoder::lazy(&config, &[])
        }
        opened => opened,
    });
    Ok(opened.await??)
}

/// A digest of the examples of all routes.
pub fn routes_sha256(catalogue: &Catalogue) -> String {
    dataset::Dataset::new(dataset::of_routes(catalogue), SEED).sha256()
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
