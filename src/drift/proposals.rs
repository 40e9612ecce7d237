//! Categories that may be missing: what was refused or unsure, sorted into clusters. Pure.
//!
//! Vectors are looked at from the middle of the existing categories, and then of all kinds of refused texts, so that what all
//! texts share tells nothing apart (Mu and Viswanath, "All-but-the-Top", 2018). Clusters are those of average linkage (Sokal
//! and Michener, "A statistical method for evaluating systematic relationships", 1958), cut where two clusters have less to do
//! with each other than [`ProposalOptions::linkage_min`]. Unlike single linkage, which HDBSCAN builds on, it takes in no noise
//! along chains, and the cut says how broad a category is. Then each text goes to the cluster that it resembles most, if it does
//! nearly as much as those in it, or to none. A cluster is proposed if it is large, coherent and not what an existing category
//! covers.
//!
//! Names are the terms that set a cluster apart: class-based TF-IDF (Grootendorst, "`BERTopic`: Neural topic modeling with a
//! class-based TF-IDF procedure", 2022). The same rows give the same proposals, in whatever number of threads.

mod examples;
mod linkage;
mod members;
mod route;
mod space;
mod terms;
#[cfg(test)]
mod tests;

use ndarray::{Array1, Array2};
use serde::{Deserialize, Serialize};

use self::{linkage::Cut, members::Cluster, space::Space, terms::Terms};

pub use self::route::route_yaml;

/// Most texts that are clustered, those that came most often: the similarities of so many take 100 MB.
pub const ROWS_MAX: usize = 5_000;

/// Examples of a proposal, at most.
pub const EXAMPLES_MAX: usize = 20;

/// Texts up to which a cluster is a small one. On real questions what chance put together had some thirty texts with a mean cosine
/// of 0.09 to 0.13; a category as broad as medicine, 171 texts with 0.13.
pub const SMALL_MAX: usize = 30;

/// Terms of a proposal, at most.
pub const TERMS_MAX: usize = 8;

/// A text that was refused, or of which the router was unsure.
#[derive(Clone, Copy, Debug)]
pub struct Refused<'a> {
    /// What was asked; no two rows have the same.
    pub text: &'a str,
    /// Its vector, as long as all others; of length 1, or it is passed over.
    pub vector: &'a [f32],
    /// How often it came.
    pub times: u64,
}

/// A category that there is.
#[derive(Clone, Copy, Debug)]
pub struct Existing<'a> {
    /// Its id.
    pub category: &'a str,
    /// The mean of its rows' vectors, none where it has none.
    pub centroid: &'a [f32],
}

/// What is proposed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ProposalOptions {
    /// Fewest texts of a category.
    pub size_min: usize,
    /// Smallest share of all texts, 0 to 1.
    pub share_min: f64,
    /// Mean cosine at which two groups are one, seen from the middle of the categories. The less, the broader the categories.
    pub linkage_min: f32,
    /// Mean cosine of two texts of a category of up to [`SMALL_MAX`] texts, at least. Groups of unrelated texts have some likeness
    /// too, of style or of chance: the larger they are, the less.
    pub cohesion_min: f64,
    /// Most proposals.
    pub proposals_max: usize,
}

impl Default for ProposalOptions {
    fn default() -> Self {
        Self {
            size_min: 15,
            share_min: 0.01,
            linkage_min: 0.04,
            cohesion_min: 0.2,
            proposals_max: 10,
        }
    }
}

/// What is asked of a cluster of so many texts, as a share of what is asked of a small one: chance puts few together that resemble
/// each other, and hardly ever many.
fn looseness(size: usize) -> f64 {
    (SMALL_MAX as f64 / size as f64).sqrt().clamp(0.5, 1.0)
}

/// A category that may be missing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Proposal {
    /// A valid id that no category has.
    pub name: String,
    /// What sets it apart, the most telling term first.
    pub terms: Vec<String>,
    /// Texts that belong to it.
    pub size: usize,
    /// How often these came.
    pub times: u64,
    /// Mean cosine of two of its texts, seen from the middle of the categories; of some that were joined the mean of theirs.
    pub cohesion: f64,
    /// The nearest existing category, and the mean cosine of the texts with its centroid.
    pub nearest: Option<(String, f64)>,
    /// Typical texts, no two alike.
    pub examples: Vec<String>,
    /// The rows that belong to it, rising.
    pub rows: Vec<usize>,
}

impl Proposal {
    /// Takes in another, under its own name and with its own terms; examples of both in turns.
    pub fn join(&mut self, other: &Self) {
        let sizes = [self.size, other.size].map(|size| size as f64);
        self.cohesion =
            (sizes[0] * self.cohesion + sizes[1] * other.cohesion) / (sizes[0] + sizes[1]).max(1.0);
        self.size += other.size;
        self.times += other.times;
        self.rows.extend(&other.rows);
        self.rows.sort_unstable();
        let own = std::mem::take(&mut self.examples);
        let longest = own.len().max(other.examples.len());
        let in_turns = (0..longest).flat_map(|at| [own.get(at), other.examples.get(at)]);
        self.examples = in_turns.flatten().take(EXAMPLES_MAX).cloned().collect();
    }
}

/// The categories that may be missing, the one that would take most questions first.
///
/// `taken`: further names that no category may have, such as keys of the configuration.
pub fn propose(
    refused: &[Refused<'_>],
    existing: &[Existing<'_>],
    taken: &[&str],
    options: &ProposalOptions,
) -> Vec<Proposal> {
    let kept = kept(refused);
    let Some(space) = Space::of(refused, &kept, existing) else {
        return Vec::new();
    };
    let size_min = (options.share_min * kept.len() as f64).ceil();
    let size_min = options.size_min.max(2).max(narrow(size_min));
    let cut = Cut {
        least: options.linkage_min,
        size_min,
    };
    let groups = linkage::groups(space.similarities(), cut);
    let clusters = members::settle(&space.rows, groups, size_min, options.linkage_min);
    let candidate = |cluster: Cluster| {
        let near = near(&cluster, &space.rows, &space.centroids);
        let beyond = cluster.typicality - near.map_or(0.0, |near| near.cosine.max(0.0));
        let times = cluster.rows.iter().map(|row| refused[kept[*row]].times);
        Candidate {
            times: times.sum(),
            beyond,
            near,
            cluster,
        }
    };
    let mut found: Vec<Candidate> = clusters
        .into_iter()
        .filter(|cluster| cluster.cohesion >= options.cohesion_min * looseness(cluster.rows.len()))
        .map(candidate)
        .filter(|candidate| candidate.beyond > 0.0)
        .collect();
    found.sort_by(|a, b| {
        let worth = b.worth().total_cmp(&a.worth());
        worth.then_with(|| a.cluster.rows.cmp(&b.cluster.rows))
    });
    found.truncate(options.proposals_max);
    let names = existing.iter().map(|known| known.category);
    let mut writer = Writer {
        texts: kept.iter().map(|row| refused[*row].text).collect(),
        taken: names
            .chain(taken.iter().copied())
            .map(str::to_owned)
            .collect(),
        space: &space,
    };
    let terms = Terms::of(&writer.texts);
    let proposal = |candidate: Candidate| {
        let terms = terms.telling(&candidate.cluster.rows, TERMS_MAX);
        let rows = &candidate.cluster.rows;
        Proposal {
            rows: rows.iter().map(|row| kept[*row]).collect(),
            nearest: candidate.near.map(|near| {
                let category = existing[space.known[near.at]].category;
                (category.to_owned(), near.cosine)
            }),
            ..writer.describe(&candidate, terms)
        }
    };
    found.into_iter().map(proposal).collect()
}

/// A cluster that may be proposed.
struct Candidate {
    cluster: Cluster,
    times: u64,
    /// How much more its texts resemble each other than an existing category.
    beyond: f64,
    near: Option<Near>,
}

impl Candidate {
    /// What a category of it would bring.
    fn worth(&self) -> f64 {
        self.times as f64 * self.beyond
    }
}

/// Puts clusters into words.
struct Writer<'a> {
    texts: Vec<&'a str>,
    taken: Vec<String>,
    space: &'a Space,
}

impl Writer<'_> {
    fn describe(&mut self, candidate: &Candidate, terms: Vec<String>) -> Proposal {
        let Candidate { cluster, times, .. } = candidate;
        let name = terms::name(&terms, &self.taken);
        self.taken.push(name.clone());
        Proposal {
            name,
            terms,
            size: cluster.rows.len(),
            times: *times,
            cohesion: cluster.cohesion,
            nearest: None,
            examples: examples::choose(cluster, &self.space.rows, &self.texts, EXAMPLES_MAX),
            rows: Vec::new(),
        }
    }
}

/// The rows that are clustered, rising: the most frequent ones with a text.
fn kept(refused: &[Refused<'_>]) -> Vec<usize> {
    let mut kept: Vec<usize> = (0..refused.len())
        .filter(|row| !refused[*row].text.trim().is_empty())
        .collect();
    kept.sort_by_key(|row| (std::cmp::Reverse(refused[*row].times), *row));
    kept.truncate(ROWS_MAX);
    kept.sort_unstable();
    kept
}

/// The category that is nearest to a cluster.
#[derive(Clone, Copy)]
struct Near {
    /// Its place among those with a centroid.
    at: usize,
    /// The mean cosine of the cluster's rows with its centroid.
    cosine: f64,
}

fn near(cluster: &Cluster, rows: &Array2<f32>, centroids: &Array2<f32>) -> Option<Near> {
    let mut sum = Array1::<f32>::zeros(rows.ncols());
    for row in &cluster.rows {
        sum += &rows.row(*row);
    }
    let size = cluster.rows.len() as f64;
    let cosines = centroids
        .rows()
        .into_iter()
        .enumerate()
        .map(|(at, centroid)| Near {
            at,
            cosine: f64::from(centroid.dot(&sum)) / size,
        });
    cosines.reduce(|a, b| if b.cosine > a.cosine { b } else { a })
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share of a few thousand rows, rounded"
)]
fn narrow(count: f64) -> usize {
    count as usize
}
