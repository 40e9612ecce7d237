//! A router that is trained on what the traffic taught, beside the routes' examples.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{Origin, earlier::Earlier, resolve::Row};
use crate::{
    catalogue::Catalogue,
    config::Config,
    router::{Router, RouterError, artefact::Artefact, artefact::ArtefactError},
    train::{
        doubt::Given,
        in_force::{self, InForceError},
        labels::Labelled,
        router::{Prepared, TrainError},
    },
};

/// How labels came about that may be wrong. What a person says of a question is learnt whatever the model makes of it; who accepts a
/// proposed category has seen some of its questions, and says nothing of each.
const GIVEN: [(Origin, Given); 4] = [
    (Origin::Feedback, Given::Doubtfully),
    (Origin::Judge, Given::Doubtfully),
    (Origin::Neighbours, Given::Doubtfully),
    (Origin::Accepted, Given::Together),
];

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

/// What a router is to learn.
#[derive(Clone, Copy)]
pub struct Lessons<'l> {
    /// The routes, whose examples are learnt.
    pub routes: &'l Catalogue,
    /// What the traffic taught.
    pub rows: &'l [Row],
    /// What nobody labelled while it could not be labelled.
    pub earlier: &'l Earlier,
}

/// Trains a router, into a folder of its own in `place`, which is returned.
///
/// The same rows and seed give the same bytes: it is dated by the newest of its rows.
///
/// # Errors
/// [`ChallengerError`] says what is wrong.
pub async fn train(
    config: &Config,
    lessons: Lessons<'_>,
    seed: u64,
    place: &Path,
) -> Result<PathBuf, ChallengerError> {
    let encoder = in_force::open_encoder(&config.router).await?;
    let mut job = in_force::job_of_routes(&config.router, lessons.routes, &encoder);
    job.seed = seed;
    let asked_at_ms = lessons.rows.iter().map(|row| row.asked_at_ms);
    job.created_at_ms = asked_at_ms.max().unwrap_or(0);
    job.given = given();
    job.rows = learnt(job.rows, lessons.rows);
    job.unlabelled = lessons.earlier.unlabelled();
    let prepared = Prepared::new(job, &config.router.encoder, &encoder)?;
    let folder = place.join(prepared.id().as_str());
    // Everything that it would be trained from is the same: so would the router be.
    if Artefact::read(&folder).is_err() {
        Box::pin(prepared.train(&encoder, &config.router.artefacts, &folder)).await?;
    }
    Ok(folder)
}

/// How labels of the store came about that may be wrong, by the origin of [`labelled`] rows.
pub fn given() -> Vec<(String, Given)> {
    GIVEN
        .map(|(origin, given)| (origin.as_str().to_owned(), given))
        .to_vec()
}

/// What is learnt. The routes' examples come last, since what comes last says how a text came by its label: what stands in a file, its
/// owner says of this very text, so that it is not doubted though it was labelled elsewhere as well.
fn learnt(examples: Vec<Labelled>, rows: &[Row]) -> Vec<Labelled> {
    rows.iter().map(labelled).chain(examples).collect()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ids::CategoryId, train::dataset::Dataset};

    #[test]
    fn an_example_of_a_route_stays_one_though_somebody_labelled_its_text() {
        let cooking = || CategoryId::new("cooking");
        let row = |text: &str| Row {
            text: text.to_owned(),
            category: cooking(),
            origin: Origin::Accepted,
            client: None,
            asked_at_ms: 1,
            conversation: text.to_owned(),
        };
        let examples = vec![Labelled::from_text("Boil an egg", cooking())];
        let rows = [row("Boil an egg"), row("Fry an egg")];
        let dataset = Dataset::new(learnt(examples, &rows), 7);
        let origin = |text: &str| {
            let at = dataset.texts.iter().position(|it| it == text).unwrap();
            dataset.origins[at].as_deref()
        };
        assert_eq!(origin("Boil an egg"), None);
        assert_eq!(origin("Fry an egg"), Some("accepted"));
    }
}
