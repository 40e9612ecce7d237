//! Which texts show what a cluster is about.

use std::collections::HashSet;

use ndarray::Array2;

use super::members::Cluster;

/// Texts with a greater cosine say the same.
const ALIKE: f32 = 0.92;

/// What a text loses by resembling those that are chosen already.
const SPREAD: f32 = 0.5;

/// The `count` most typical texts, spread over the cluster, no two alike.
///
/// Maximal marginal relevance (Carbonell and Goldstein 1998): the next is the one that resembles the cluster most, less a
/// share of what it resembles those before it.
pub(super) fn choose(
    cluster: &Cluster,
    vectors: &Array2<f32>,
    texts: &[&str],
    count: usize,
) -> Vec<String> {
    let mut left: Vec<Candidate> = cluster
        .rows
        .iter()
        .map(|row| Candidate {
            row: *row,
            typical: cluster.similarity(*row, &vectors.row(*row)),
            alike: 0.0,
        })
        .collect();
    let mut said = HashSet::new();
    let mut chosen = Vec::new();
    while chosen.len() < count {
        left.retain(|candidate| candidate.alike < ALIKE);
        let Some(next) = (0..left.len()).reduce(|a, b| {
            if left[b].worth() > left[a].worth() {
                b
            } else {
                a
            }
        }) else {
            break;
        };
        let next = left.remove(next);
        for candidate in &mut left {
            let cosine = vectors.row(candidate.row).dot(&vectors.row(next.row));
            candidate.alike = candidate.alike.max(cosine);
        }
        let text = texts[next.row].trim();
        if said.insert(plain(text)) {
            chosen.push(text.to_owned());
        }
    }
    chosen
}

struct Candidate {
    row: usize,
    typical: f32,
    /// The greatest cosine with a text that was chosen.
    alike: f32,
}

impl Candidate {
    fn worth(&self) -> f32 {
        self.typical - SPREAD * self.alike
    }
}

/// A text without what does not count: case, marks and spaces.
fn plain(text: &str) -> String {
    let letters = text.chars().filter(|c| c.is_alphanumeric());
    letters.flat_map(char::to_lowercase).collect()
}
