//! A router that is trained on what the traffic taught, beside the routes' examples.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{Origin, resolve::Row};
use crate::{
    catalogue::Catalogue,
    config::Config,
    router::{Router, RouterError, artefact::Artefact, artefact::ArtefactError},
    train::{
        in_force::{self, InForceError},
        labels::Labelled,
        router::{Prepared, TrainError},
    },
};

/// Origins whose labels may be wrong. What a person says is learnt whatever the model makes of it.
const DOUBTFUL: [Origin; 3] = [Origin::Feedback, Origin::Judge, Origin::Neighbours];

/// Why there is no challenger.
#[derive(Debug, thiserror::Error)]
pub enum ChallengerError {
    /// The encoder cannot be opened.
    #[error(transparent)]
    Encoder(#[from] InForceError),
    /// It cannot be trained.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// What was trained cannot be opened.
    #[error(transparent)]
    Router(#[from] RouterError),
    /// What was trained cannot be read.
    #[error(transparent)]
    Artefact(#[from] ArtefactError),
}

/// Trains a router on rows and on the examples of the routes in `catalogue`, into a folder of its own in `place`, which is returned.
///
/// The same rows and seed give the same bytes: it is dated by the newest of its rows.
///
/// # Errors
/// [`ChallengerError`] says what is wrong.
pub async fn train(
    config: &Config,
    (catalogue, rows): (&Catalogue, &[Row]),
    seed: u64,
    place: &Path,
) -> Result<PathBuf, ChallengerError> {
    let encoder = in_force::open_encoder(&config.router).await?;
    let mut job = in_force::job_of_routes(&config.router, catalogue, &encoder);
    job.seed = seed;
    job.created_at_ms = rows.iter().map(|row| row.asked_at_ms).max().unwrap_or(0);
    job.doubtful = DOUBTFUL.map(|origin| origin.as_str().to_owned()).to_vec();
    job.rows.extend(rows.iter().map(labelled));
    let prepared = Prepared::new(job, &config.router.encoder, &encoder)?;
    let folder = place.join(prepared.id().as_str());
    // Everything that it would be trained from is the same: so would the router be.
    if Artefact::read(&folder).is_err() {
        Box::pin(prepared.train(&encoder, &config.router.artefacts, &folder)).await?;
    }
    Ok(folder)
}

/// Opens a trained router beside the one in force, whose encoders it shares.
///
/// # Errors
/// It cannot be read or opened.
pub async fn open(
    folder: PathBuf,
    champion: &Router,
    config: &Config,
) -> Result<Router, ChallengerError> {
    let artefact = tokio::task::spawn_blocking(move || Artefact::read(&folder)).await;
    let artefact = artefact.map_err(InForceError::from)??;
    Ok(Router::beside(champion, artefact, &config.router).await?)
}

/// A row as labelled files have it; the manifest tells how the router does on the rows of each origin.
pub fn labelled(row: &Row) -> Labelled {
    Labelled {
        origin: Some(Arc::from(row.origin.as_str())),
        ..Labelled::from_text(&row.text, row.category.clone())
    }
}
