//! Which router is in force: the one that the configuration names, else the one that was promoted last, else that of the
//! routes' examples.
//!
//! The registry is in the store. A promotion is one row that is added to it; a running server sees the row and takes the
//! router up ([`crate::app`]).

mod given_up;

use std::{
    error::Error,
    path::{Path, PathBuf},
};

use tracing::{error, warn};

pub use given_up::{GivenUp, given_up};

use crate::{
    config::Config,
    ids::{CategoryId, RouterId},
    router::{
        Router, RouterError,
        artefact::{Artefact, ArtefactError, MANIFEST_FILE},
    },
    store::{Store, StoreError},
    train::in_force::{self, InForceError},
};

/// A trained router that was judged once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    /// A digest of everything that it was trained from.
    pub id: RouterId,
    /// Where the artefact lies.
    pub folder: PathBuf,
    /// The router that it was compared with.
    pub parent: Option<RouterId>,
    /// When, milliseconds since 1970 UTC.
    pub registered_at_ms: i64,
    /// SHA-256 over all texts that it was trained on, with their categories.
    pub data_sha256: String,
    /// What the comparison found, as JSON; none where there was none.
    pub judgement: Option<String>,
}

/// A change of the router in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promotion {
    /// Counts promotions, from 1.
    pub number: i64,
    /// When, milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// The router; none: the one that needs no registry.
    pub router: Option<RouterId>,
    /// What kind of change it is.
    pub kind: PromotionKind,
    /// The promotion to which a rollback goes back; none: to what needs no registry.
    pub replaces: Option<i64>,
    /// Who did it.
    pub promoted_by: String,
    /// Why, in words for people.
    pub why: Option<String>,
}

/// What kind of change of the router in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PromotionKind {
    /// Another router takes over.
    Promote,
    /// The one before does again.
    Rollback,
    /// A word of a later version.
    Other(String),
}

impl PromotionKind {
    /// The word that is stored.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Promote => "promote",
            Self::Rollback => "rollback",
            Self::Other(word) => word,
        }
    }

    /// Reads a stored word.
    pub fn from_word(word: String) -> Self {
        match word.as_str() {
            "promote" => Self::Promote,
            "rollback" => Self::Rollback,
            _ => Self::Other(word),
        }
    }
}

/// Why there is no router.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// None can be opened or made.
    #[error(transparent)]
    Router(#[from] InForceError),
    /// The registry cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// By what a router came in force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenedBy {
    /// The last promotion that was seen, whether or not its router could be opened; 0: there was none.
    pub seen: i64,
    /// The router's name in the registry; none: the one that needs no registry.
    pub router: Option<RouterId>,
    /// Whether that is another one than was promoted last, which could not be opened.
    pub passed_over: bool,
}

/// Opens the router in `folder`, or the one in force.
///
/// # Errors
/// It cannot be opened; a promoted router that is damaged is passed over for the one before it.
pub async fn open(config: &Config, folder: Option<&Path>) -> Result<Router, OpenError> {
    let pinned = folder.or(config.router.artefact.as_deref());
    let store = match pinned {
        None if config.store.path.exists() => Some(Store::open(&config.store.path).await?),
        _ => None,
    };
    let (Some(store), None) = (&store, pinned) else {
        return Ok(without_registry(config, folder).await?);
    };
    let opened = open_promoted(config, store).await;
    if let Err(error) = store.close().await {
        warn!(error = &error as &dyn Error, "the store was not closed");
    }
    Ok(opened?.0)
}

/// Opens the router in force by the registry of an open store.
///
/// A promoted router that cannot be opened must not keep a server from starting: the one before it is taken, in the end
/// the one that needs no registry.
///
/// # Errors
/// The registry cannot be read, or not even the last of them can be opened.
pub async fn open_promoted(
    config: &Config,
    store: &Store,
) -> Result<(Router, OpenedBy), OpenError> {
    if config.router.artefact.is_some() {
        return Ok((without_registry(config, None).await?, OpenedBy::default()));
    }
    let history = store.promotions().await?;
    let seen = history.last().map_or(0, |promotion| promotion.number);
    let mut current = history.last();
    while let Some(promotion) = current
        && let Some(id) = &promotion.router
    {
        match open_registered(config, store, id).await {
            Ok(router) => {
                tell_of_routes(config, &router);
                let opened_by = OpenedBy {
                    seen,
                    router: Some(id.clone()),
                    passed_over: promotion.number != seen,
                };
                return Ok((router, opened_by));
            }
            Err(error) => error!(
                router = %id, error = &error as &dyn Error,
                "the promoted router cannot be opened; the one before it is taken. Promote another, or train it again"
            ),
        }
        let before = promotion.replaces;
        current = history.iter().find(|it| Some(it.number) == before);
    }
    let router = without_registry(config, None).await?;
    let opened_by = OpenedBy {
        seen,
        router: None,
        passed_over: current.map_or(0, |promotion| promotion.number) != seen,
    };
    Ok((router, opened_by))
}

/// A promoted router knows the routes as they were when it was trained.
fn tell_of_routes(config: &Config, router: &Router) {
    let training = &router.artefact().manifest.training;
    if training.routes_sha256 == in_force::routes_sha256(&config.catalogue) {
        return;
    }
    let routes = config.catalogue.routes.iter().map(|route| &route.category);
    let new: Vec<&str> = routes
        .filter(|category| !router.categories().contains(category))
        .map(CategoryId::as_str)
        .collect();
    warn!(
        router = %router.id(), new = new.join(", "),
        "the routes have changed since the promoted router was trained: it goes by their examples as they were, and sends nothing to new ones; `coterie retrain` takes them up"
    );
}

/// The router that needs no registry: the one in `folder`, the one that the configuration names, or that of the routes.
///
/// # Errors
/// It cannot be opened or made.
pub async fn without_registry(
    config: &Config,
    folder: Option<&Path>,
) -> Result<Router, InForceError> {
    match folder.or(config.router.artefact.as_deref()) {
        Some(folder) => in_force::open(&config.router, folder).await,
        None => in_force::at_start(&config.router, &config.catalogue).await,
    }
}

/// Opens a router of the registry.
async fn open_registered(
    config: &Config,
    store: &Store,
    id: &RouterId,
) -> Result<Router, TakeError> {
    let registered = store.router(id).await?;
    let registered = registered.ok_or_else(|| TakeError::Unregistered { id: id.clone() })?;
    let router = in_force::open(&config.router, &folder_of(config, &registered)).await?;
    verified(router, id)
}

/// Where a router lies: among the artefacts, else where it was registered. The artefacts may have been moved or copied since,
/// with all that is around them.
pub(crate) fn folder_of(config: &Config, registered: &Registered) -> PathBuf {
    let among = config.router.artefacts.join(registered.id.as_str());
    match among.join(MANIFEST_FILE).exists() {
        true => among,
        false => registered.folder.clone(),
    }
}

/// Opens a router of the registry beside the one in force, whose encoders it shares.
///
/// # Errors
/// It is not there, damaged, another one than the registry says, or was trained with another encoder.
pub async fn open_beside(
    config: &Config,
    store: &Store,
    id: &RouterId,
    old: &Router,
) -> Result<Router, TakeError> {
    let registered = store.router(id).await?;
    let registered = registered.ok_or_else(|| TakeError::Unregistered { id: id.clone() })?;
    let folder = folder_of(config, &registered);
    let artefact = tokio::task::spawn_blocking(move || Artefact::read(&folder)).await;
    let artefact = artefact
        .map_err(InForceError::from)?
        .map_err(RouterError::from)?;
    verified(Router::beside(old, artefact, &config.router).await?, id)
}

/// A folder may hold another router than the registry says.
fn verified(router: Router, id: &RouterId) -> Result<Router, TakeError> {
    if router.id() == id {
        return Ok(router);
    }
    Err(TakeError::OtherRouter {
        id: id.clone(),
        found: router.id().clone(),
        folder: router.artefact().folder.clone(),
    })
}

/// Why a router of the registry cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TakeError {
    /// It is not in the registry.
    #[error("router {id} is not in the registry")]
    Unregistered {
        /// The router.
        id: RouterId,
    },
    /// Its folder holds another one.
    #[error("{} holds router {found} instead of {id}", folder.display())]
    OtherRouter {
        /// The router.
        id: RouterId,
        /// What is there.
        found: RouterId,
        /// Where it should be.
        folder: PathBuf,
    },
    /// It cannot be opened.
    #[error(transparent)]
    InForce(#[from] InForceError),
    /// It cannot be opened.
    #[error(transparent)]
    Router(#[from] RouterError),
    /// It cannot be read.
    #[error(transparent)]
    Artefact(#[from] ArtefactError),
    /// The registry cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}
