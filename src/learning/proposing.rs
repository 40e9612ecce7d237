//! Categories that may be missing, from what was refused; and what accepting one does.

mod place;
mod refused;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashSet},
    fs, io,
    path::{Path, PathBuf},
};

use ndarray::Array1;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use tokio::task::{JoinError, spawn_blocking};

use self::refused::{Begun, Texts};
use super::{Label, Origin, naming::Named};
use crate::{
    catalogue::Catalogue,
    clock,
    config::MAPPING_KEYS,
    drift::proposals::{Existing, Proposal, ProposalOptions, Refused, propose, route_yaml},
    ids::OUT_OF_DOMAIN,
    router::{
        Router,
        encoder::{EncoderError, TEXTS_MAX},
    },
    store::{Store, StoreError},
};

/// Characters of a proposal's digest: enough to tell some proposals apart, and to copy.
const DIGEST_CHARS: usize = 12;

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
    #[error(
        "nothing that is proposed now is called `{name}` or has this digest; `coterie drift` shows what is"
    )]
    Unknown {
        /// The name, or the digest.
        name: String,
    },
    /// There is a route of that name.
    #[error("{} is there already and was left as it is; nothing was labelled", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// Questions are to go into a category that is none.
    #[error(
        "no route is called `{category}`: questions can only be added to a category that there is"
    )]
    NoRoute {
        /// What was asked for.
        category: String,
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
    pub suggestions: Vec<Suggestion>,
    /// Whether more was refused than was looked at.
    pub is_cut: bool,
    texts: Vec<String>,
    outcomes: Vec<Vec<String>>,
    begun: Vec<Begun>,
    /// Names that no category may be given, those of the proposals included.
    taken: Vec<String>,
}

/// A category that is proposed.
#[derive(Clone, Debug, Serialize)]
pub struct Suggestion {
    /// Of its texts: the same texts have the same, whatever they are called.
    pub digest: String,
    /// What belongs to it, as who named it says; none where its name is of its terms.
    pub description: Option<String>,
    /// What was found.
    #[serde(flatten)]
    pub proposal: Proposal,
}

/// What accepting a proposal did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The route's file.
    pub path: PathBuf,
    /// Questions that were labelled.
    pub labelled: usize,
}

/// Looks for categories in what was refused between two moments (milliseconds since 1970 UTC), and of which nobody has
/// said the category.
///
/// # Errors
/// [`ProposingError`] says what is wrong.
pub async fn look(
    store: &Store,
    router: &Router,
    catalogue: &Catalogue,
    span: (i64, i64),
) -> Result<Proposed, ProposingError> {
    let mut refused = refused::read(store, span).await?;
    let begun = refused.begun(catalogue);
    // What an accepting wrote that was cut off is found again as it was: its route is none yet.
    let mut catalogue = catalogue.clone();
    catalogue.routes.retain(|route| {
        let mut begun = begun.iter();
        begun.all(|begun| begun.category != route.category.as_str())
    });
    refused.leave_out(&catalogue);
    let vectors = vectors(router, &refused.texts).await?;
    let existing = centroids(router, &catalogue).await?;
    let mut taken = taken(&catalogue);
    let names = taken.clone();
    let Texts {
        texts,
        outcomes,
        is_cut,
    } = refused;
    let times: Vec<u64> = outcomes
        .iter()
        .map(|of_text| of_text.len() as u64)
        .collect();
    let looked_at = texts.clone();
    let suggestions = spawn_blocking(move || {
        let refused: Vec<Refused<'_>> = looked_at
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
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let found = propose(&refused, &existing, &names, &ProposalOptions::default());
        let suggestion = |proposal: Proposal| Suggestion {
            digest: digest(proposal.rows.iter().map(|row| refused[*row].text)),
            description: None,
            proposal,
        };
        found.into_iter().map(suggestion).collect::<Vec<_>>()
    });
    let suggestions = suggestions.await?;
    taken.extend(suggestions.iter().map(|it| it.proposal.name.clone()));
    Ok(Proposed {
        suggestions,
        is_cut,
        texts,
        outcomes,
        begun,
        taken,
    })
}

/// What no proposal may be called: the names of categories, and those that mean something else.
fn taken(catalogue: &Catalogue) -> Vec<String> {
    let categories = catalogue.routes.iter().map(|it| it.category.to_string());
    let reserved = MAPPING_KEYS.iter().copied().chain([OUT_OF_DOMAIN]);
    categories.chain(reserved.map(str::to_owned)).collect()
}

/// The same for the same texts in any order.
fn digest<'t>(texts: impl Iterator<Item = &'t str>) -> String {
    let mut sums: Vec<[u8; 32]> = texts.map(|text| Sha256::digest(text).into()).collect();
    sums.sort_unstable();
    let mut digest = hex::encode(Sha256::digest(sums.concat()));
    digest.truncate(DIGEST_CHARS);
    digest
}

impl Proposed {
    /// The place of the proposal that has this name or this digest.
    ///
    /// # Errors
    /// There is none.
    pub fn find(&self, name: &str) -> Result<usize, ProposingError> {
        let of = |is: &dyn Fn(&Suggestion) -> bool| self.suggestions.iter().position(is);
        of(&|it| it.proposal.name == name)
            .or_else(|| of(&|it| it.digest == name))
            .ok_or_else(|| ProposingError::Unknown {
                name: name.to_owned(),
            })
    }

    /// Makes one of the proposals that have these names or digests, in the place of the first and with its name; that place. The
    /// others are no more.
    ///
    /// # Errors
    /// There is none of some name; then all are as they were.
    pub fn join(&mut self, first: &str, others: &[String]) -> Result<usize, ProposingError> {
        let at = self.find(first)?;
        let others = others.iter().map(|name| self.find(name));
        let mut others = others.collect::<Result<Vec<_>, _>>()?;
        others.retain(|other| *other != at);
        others.sort_unstable();
        others.dedup();
        for other in others.iter().rev() {
            let other = self.suggestions[*other].proposal.clone();
            self.suggestions[at].proposal.join(&other);
        }
        for other in others.iter().rev() {
            self.suggestions.remove(*other);
        }
        Ok(at - others.iter().filter(|other| **other < at).count())
    }

    /// Names that are not free for the proposal at a place.
    pub fn taken(&self, at: usize) -> Vec<String> {
        let own = &self.suggestions[at].proposal.name;
        let others = self.taken.iter().filter(|name| *name != own);
        others.cloned().collect()
    }

    /// Calls the proposal at a place otherwise.
    pub fn rename(&mut self, at: usize, named: Named) {
        let suggestion = &mut self.suggestions[at];
        let name = std::mem::replace(&mut suggestion.proposal.name, named.name.clone());
        self.taken.retain(|taken| *taken != name);
        self.taken.push(named.name);
        suggestion.description = Some(named.description);
    }

    /// How many distinct texts were looked at.
    pub fn texts(&self) -> usize {
        self.texts.len()
    }

    /// The route that somebody made of questions of the proposal at a place, and came no further.
    fn begun_of(&self, at: usize) -> Option<&Begun> {
        let rows = self.suggestions[at].proposal.rows.iter();
        let texts: HashSet<&str> = rows.map(|row| self.texts[*row].as_str()).collect();
        let is_of_these = |begun: &&Begun| {
            let mut examples = begun.examples.iter();
            examples.all(|text| texts.contains(text.as_str()))
        };
        self.begun.iter().find(is_of_these)
    }

    /// Makes the proposal at a place a category: writes its route into the folder, and labels its questions, so that the next
    /// retraining learns them. Where one of the two cannot be done, neither is; where a route of these questions is there, since
    /// whoever wrote it came no further, the questions are labelled, and the route is left as it is.
    ///
    /// # Errors
    /// There is another file of that name, or it or the store cannot be written.
    pub async fn accept(
        &self,
        at: usize,
        folder: Option<&Path>,
        by: (&Store, &str),
    ) -> Result<Accepted, ProposingError> {
        let suggestion = &self.suggestions[at];
        let folder = folder.ok_or(ProposingError::NoFolder)?;
        let begun = self.begun_of(at);
        let name = begun.map_or(&suggestion.proposal.name, |begun| &begun.category);
        let path = folder.join(format!("{name}.yaml"));
        let yaml = route_yaml(&suggestion.proposal, suggestion.description.as_deref());
        let is_new = begun.is_none() && write_route(&path, yaml.as_bytes())?;
        match self.label(at, name, by).await {
            Ok(labelled) => Ok(Accepted { path, labelled }),
            Err(error) => {
                if is_new {
                    fs::remove_file(&path).ok();
                }
                Err(error.into())
            }
        }
    }

    /// Says of the questions of the proposal at a place that they belong to a category that there is; how many these are.
    ///
    /// # Errors
    /// No route is called so, or the store cannot be written.
    pub async fn add_to(
        &self,
        category: &str,
        at: usize,
        catalogue: &Catalogue,
        by: (&Store, &str),
    ) -> Result<usize, ProposingError> {
        let mut routes = catalogue.routes.iter();
        if !routes.any(|route| route.category.as_str() == category) {
            let category = category.to_owned();
            return Err(ProposingError::NoRoute { category });
        }
        Ok(self.label(at, category, by).await?)
    }

    /// Says of the questions of the proposal at a place that no category covers them, so that it is not made again; how many
    /// these are.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn dismiss(&self, at: usize, by: (&Store, &str)) -> Result<usize, ProposingError> {
        Ok(self.label(at, OUT_OF_DOMAIN, by).await?)
    }

    /// Labels the questions of a proposal, all or none.
    async fn label(
        &self,
        at: usize,
        category: &str,
        (store, by): (&Store, &str),
    ) -> Result<usize, StoreError> {
        let given_at_ms = clock::now_ms();
        let rows = self.suggestions[at].proposal.rows.iter();
        let labels: Vec<Label> = rows
            .flat_map(|row| &self.outcomes[*row])
            .map(|outcome_id| Label {
                outcome_id: outcome_id.clone(),
                given_at_ms,
                category: category.to_owned(),
                origin: Origin::Accepted,
                given_by: by.to_owned(),
            })
            .collect();
        // What was pruned meanwhile cannot be labelled.
        Ok(store.add_labels(&labels).await?.iter().flatten().count())
    }
}

/// Writes a route, unless it is there already; whether it was not.
fn write_route(path: &Path, yaml: &[u8]) -> Result<bool, ProposingError> {
    match place::place(path, yaml) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let is_the_same = fs::read(path).is_ok_and(|there| there == yaml);
            let path = path.to_owned();
            is_the_same
                .then_some(false)
                .ok_or(ProposingError::Exists { path })
        }
        Err(source) => Err(ProposingError::Route {
            path: path.to_owned(),
            source,
        }),
    }
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
