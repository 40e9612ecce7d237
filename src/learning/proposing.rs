//! Categories that may be missing, from what was refused; and what accepting one does.

use std::{
    collections::{BTreeMap, HashMap},
    fs, io,
    path::{Path, PathBuf},
};

use ndarray::Array1;
use tokio::task::{JoinError, spawn_blocking};

use super::{Label, Origin, watch::Unplaced};
use crate::{
    catalogue::Catalogue,
    clock,
    config::is_mapping_key,
    drift::proposals::{Existing, Proposal, ProposalOptions, Refused, propose, route_yaml},
    ids::OUT_OF_DOMAIN,
    query::Query,
    router::{
        Router,
        encoder::{EncoderError, TEXTS_MAX},
    },
    store::{Store, StoreError},
};

/// Most refused questions that are looked at, the newest.
pub const UNPLACED_MAX: u32 = 5_000;

/// Why no categories can be proposed, or one cannot be accepted.
#[derive(Debug, thiserror::Error)]
pub enum ProposingError {
    /// The store cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The questions have no vectors.
    #[error(transparent)]
    Encoder(#[from] EncoderError),
    /// Nothing of that name is proposed.
    #[error("no category `{name}` is proposed; `coterie drift` shows those that are")]
    Unknown {
        /// The name.
        name: String,
    },
    /// There is no folder of routes.
    #[error(
        "the routes are those that are built in; write them into a folder (`router.routes`) to add one"
    )]
    NoFolder,
    /// The route cannot be written.
    #[error("{} cannot be written", path.display())]
    Route {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Work on another thread panicked.
    #[error("looking for categories was cut short")]
    Interrupted {
        /// How it ended.
        #[from]
        source: JoinError,
    },
}

/// What is proposed, and the outcomes of each text.
pub struct Proposed {
    /// The proposals, the one that would take most questions first.
    pub proposals: Vec<Proposal>,
    /// Distinct texts that were looked at.
    pub texts: usize,
    outcomes: Vec<Vec<String>>,
}

/// Looks for categories in what was refused since a moment (milliseconds since 1970 UTC).
///
/// # Errors
/// [`ProposingError`] says what is wrong.
pub async fn look(
    store: &Store,
    router: &Router,
    catalogue: &Catalogue,
    since_ms: i64,
) -> Result<Proposed, ProposingError> {
    let unplaced = store.unplaced(since_ms, UNPLACED_MAX).await?;
    let (texts, outcomes) = distinct(unplaced);
    let vectors = vectors(router, &texts).await?;
    let existing = centroids(router, catalogue).await?;
    let categories: Vec<String> = catalogue
        .routes
        .iter()
        .map(|route| route.category.to_string())
        .collect();
    let count = texts.len();
    let times: Vec<u64> = outcomes
        .iter()
        .map(|of_text| of_text.len() as u64)
        .collect();
    let proposals = spawn_blocking(move || {
        let refused: Vec<Refused<'_>> = texts
            .iter()
            .zip(&vectors)
            .zip(times)
            .map(|((text, vector), times)| Refused {
                text,
                vector,
                times,
            })
            .collect();
        let existing: Vec<Existing<'_>> = existing
            .iter()
            .map(|(category, centroid)| Existing { category, centroid })
            .collect();
        let taken: Vec<&str> = categories.iter().map(String::as_str).collect();
        let mut found = propose(
            &refused,
            &existing,
            &[&taken[..], &[OUT_OF_DOMAIN]].concat(),
            &ProposalOptions::default(),
        );
        found.retain(|proposal| !is_mapping_key(&proposal.name));
        found
    });
    Ok(Proposed {
        proposals: proposals.await?,
        texts: count,
        outcomes,
    })
}

impl Proposed {
    /// Makes a proposal a category: writes its route into the folder, and labels its questions, so that the next retraining
    /// learns them. Returns the route's file.
    ///
    /// # Errors
    /// There is no such proposal, or the file or the store cannot be written.
    pub async fn accept(
        &self,
        name: &str,
        folder: Option<&Path>,
        (store, by): (&Store, &str),
    ) -> Result<PathBuf, ProposingError> {
        let proposal = self.proposals.iter().find(|proposal| proposal.name == name);
        let proposal = proposal.ok_or_else(|| ProposingError::Unknown {
            name: name.to_owned(),
        })?;
        let folder = folder.ok_or(ProposingError::NoFolder)?;
        let path = folder.join(format!("{name}.yaml"));
        let given_at_ms = clock::now_ms();
        let labels: Vec<Label> = proposal
            .rows
            .iter()
            .flat_map(|row| &self.outcomes[*row])
            .map(|outcome_id| Label {
                outcome_id: outcome_id.clone(),
                given_at_ms,
                category: name.to_owned(),
                origin: Origin::Accepted,
                given_by: by.to_owned(),
            })
            .collect();
        store.add_labels(&labels).await?;
        fs::write(&path, route_yaml(proposal)).map_err(|source| ProposingError::Route {
            path: path.clone(),
            source,
        })?;
        Ok(path)
    }
}

/// Each text once, as it is classified, with its outcomes; the newest first.
fn distinct(unplaced: Vec<Unplaced>) -> (Vec<String>, Vec<Vec<String>>) {
    let mut places: HashMap<String, usize> = HashMap::new();
    let (mut texts, mut outcomes): (Vec<String>, Vec<Vec<String>>) = Default::default();
    for row in unplaced {
        let text = Query::from_text(&row.question).text;
        if text.is_empty() {
            continue;
        }
        let place = *places.entry(text.clone()).or_insert_with(|| {
            texts.push(text);
            outcomes.push(Vec::new());
            outcomes.len() - 1
        });
        outcomes[place].push(row.outcome_id);
    }
    (texts, outcomes)
}

/// The vectors of texts: the transformer's, which says more of a topic than the static encoder; each of length 1.
async fn vectors(router: &Router, texts: &[String]) -> Result<Vec<Vec<f32>>, EncoderError> {
    let bar = crate::progress::bar(texts.len() as u64, "reading what was refused");
    let mut vectors = Vec::with_capacity(texts.len());
    for some in texts.chunks(TEXTS_MAX) {
        let readings = router.encoder().embed(some.to_vec()).await?;
        vectors.extend(readings.into_iter().map(|reading| reading.vector));
        bar.inc(some.len() as u64);
    }
    bar.finish_and_clear();
    Ok(vectors)
}

/// The mean vector of each category's examples.
async fn centroids(
    router: &Router,
    catalogue: &Catalogue,
) -> Result<BTreeMap<String, Vec<f32>>, EncoderError> {
    let mut centroids = BTreeMap::new();
    for route in &catalogue.routes {
        let vectors = vectors(router, &route.examples).await?;
        let dimensions = router.encoder().dimensions();
        let mut sum = Array1::<f32>::zeros(dimensions);
        for vector in &vectors {
            sum += &Array1::from(vector.clone());
        }
        let centroid = sum / narrow_count(vectors.len());
        centroids.insert(route.category.to_string(), centroid.to_vec());
    }
    Ok(centroids)
}

fn narrow_count(count: usize) -> f32 {
    crate::router::narrow(count.max(1) as f64)
}
