//! Labels that are taken over from labelled questions nearby. Pure.
//!
//! From a seed of people's labels → nearest neighbours → where they agree their category; where they do not, a person may be
//! asked ([`informative`](super::informative) counts it as a reason). So a seed set was spread over a larger one in "Composition of Experts: A Modular Compound AI System
//! Leveraging Large Language Models" (2024).
//!
//! How near is near enough is taken from the seed itself: each of its questions is labelled by the others, and the bound is
//! chosen so that the share of wrong labels stays below what was asked for ([`risk`]).

use std::collections::BTreeMap;

use ndarray::{Array2, ArrayView1};
use rayon::prelude::*;
use serde::Serialize;

use super::{Origin, informative::entropy, resolve::Row};
use crate::{
    ids::CategoryId,
    risk::{self, Threshold},
};

/// Nearest labelled questions that must agree.
pub const NEIGHBOURS: usize = 5;

/// Unlabelled outcomes that are looked at, the newest.
pub const CANDIDATES_MAX: u32 = 20_000;

/// Labelled questions that are compared with, the newest.
pub const SEED_MAX: usize = 5_000;

/// Who gives such labels.
pub const GIVEN_BY: &str = "neighbours-v1";

/// Whether labels of this origin are a seed: those of people; what spreads from a seed is none.
pub fn is_seed(origin: &Origin) -> bool {
    matches!(origin, Origin::Person | Origin::Imported)
}

/// Labelled questions.
pub struct Seed {
    rows: Vec<Row>,
    vectors: Array2<f32>,
}

/// What the labelled questions nearest to another say of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Nearby {
    /// The category of all of them; none where they do not agree.
    pub category: Option<CategoryId>,
    /// Their mean cosine, 0 to 1.
    pub nearness: f32,
    /// The entropy of their categories, 0 (all agree) to 1 (all differ).
    pub disagreement: f64,
}

/// What a bound on the nearness does, as the seed shows.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Validated {
    /// Mean cosine from which on labels are taken over.
    pub nearness_min: f32,
    /// Share of the seed's agreeing questions that are that near, 0 to 1.
    pub coverage: f64,
    /// Share of right labels among them, 0 to 1.
    pub precision: f64,
    /// What that share is at least, with 95 % confidence.
    pub precision_lower: f64,
}

impl Seed {
    /// Labelled questions, oldest first, with their vectors, of length 1, in the same order.
    pub fn new(rows: Vec<Row>, vectors: Array2<f32>) -> Self {
        Self { rows, vectors }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// What the nearest say; none where there are too few, or where nothing is known of the question.
    pub fn near(&self, vector: ArrayView1<'_, f32>) -> Option<Nearby> {
        self.near_but(vector, None)
    }

    /// The same, without the rows of one conversation.
    fn near_but(&self, vector: ArrayView1<'_, f32>, without: Option<&str>) -> Option<Nearby> {
        if vector.iter().all(|it| *it == 0.0) {
            return None;
        }
        let cosines = self.vectors.dot(&vector);
        let mut near: Vec<(f32, &Row)> = cosines
            .iter()
            .copied()
            .zip(&self.rows)
            .filter(|(_, row)| without != Some(row.conversation.as_str()))
            .collect();
        if near.len() < NEIGHBOURS {
            return None;
        }
        near.select_nth_unstable_by(NEIGHBOURS - 1, |a, b| b.0.total_cmp(&a.0));
        near.truncate(NEIGHBOURS);
        let mut counts: BTreeMap<&CategoryId, f64> = BTreeMap::new();
        for (_, row) in &near {
            *counts.entry(&row.category).or_default() += 1.0;
        }
        let all = NEIGHBOURS as f64;
        let shares: Vec<f64> = counts.values().map(|count| count / all).collect();
        let nearness = near.iter().map(|(cosine, _)| cosine).sum::<f32>() / NEIGHBOURS as f32;
        Some(Nearby {
            category: (counts.len() == 1).then(|| near[0].1.category.clone()),
            nearness: nearness.clamp(0.0, 1.0),
            disagreement: entropy(&shares) / all.ln(),
        })
    }

    /// The bound on the nearness from which on the neighbours' category is right in at least `precision_min` of the cases,
    /// with 95 % confidence; none if there is none that the seed proves.
    ///
    /// Each question is labelled by those of other conversations: one of its own would be nearer than a new one's are. Of each
    /// conversation the newest question alone counts: the others are right or wrong together with it, and the proof is one of
    /// cases that are independent of each other.
    pub fn validate(&self, precision_min: f64) -> Option<Validated> {
        // Rows come oldest first: of a conversation the last stays.
        let newest: BTreeMap<&str, usize> = (0..)
            .zip(&self.rows)
            .map(|(at, row)| (row.conversation.as_str(), at))
            .collect();
        let newest: Vec<usize> = newest.into_values().collect();
        let judged: Vec<(f32, bool)> = newest
            .into_par_iter()
            .filter_map(|at| {
                let (row, vector) = (&self.rows[at], self.vectors.row(at));
                let nearby = self.near_but(vector, Some(&row.conversation))?;
                let category = nearby.category?;
                Some((nearby.nearness, category == row.category))
            })
            .collect();
        let wrong_max = 1.0 - precision_min;
        let threshold = risk::threshold_for(&judged, wrong_max, risk::CONFIDENCE_LEVEL)?;
        Some(threshold.into())
    }
}

impl From<Threshold> for Validated {
    fn from(threshold: Threshold) -> Self {
        Self {
            nearness_min: threshold.confidence_min,
            coverage: threshold.coverage,
            precision: 1.0 - threshold.misrouted,
            precision_lower: 1.0 - threshold.misroute_upper,
        }
    }
}

impl Validated {
    /// The category that is taken over from what is nearby.
    pub fn taken<'n>(&self, nearby: &'n Nearby) -> Option<&'n CategoryId> {
        let category = nearby.category.as_ref()?;
        (nearby.nearness >= self.nearness_min).then_some(category)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(at: usize, category: &str, conversation: &str) -> Row {
        Row {
            text: format!("question {at}"),
            category: CategoryId::new(category),
            origin: Origin::Person,
            client: None,
            asked_at_ms: 0,
            conversation: conversation.to_owned(),
        }
    }

    fn at_angle(degrees: f32) -> [f32; 2] {
        let radians = degrees.to_radians();
        [radians.cos(), radians.sin()]
    }

    /// Questions of two categories, at these angles; each is a conversation of its own.
    fn seed(angles: &[(f32, &str)]) -> Seed {
        let rows = angles.iter().enumerate();
        let rows = rows.map(|(at, (_, category))| row(at, category, &at.to_string()));
        let flat: Vec<f32> = angles.iter().flat_map(|(it, _)| at_angle(*it)).collect();
        let vectors = Array2::from_shape_vec((angles.len(), 2), flat).unwrap();
        Seed::new(rows.collect(), vectors)
    }

    /// Two clusters of so many.
    fn two_clusters(each: usize) -> Vec<(f32, &'static str)> {
        let spread = |at: usize| at as f32 * 20.0 / each as f32;
        let math = (0..each).map(|at| (spread(at), "math"));
        math.chain((0..each).map(|at| (70.0 + spread(at), "law")))
            .collect()
    }

    #[test]
    fn neighbours_that_agree_name_the_category() {
        let seed = seed(&two_clusters(50));
        let vector = at_angle(10.0);
        let nearby = seed.near(ArrayView1::from(&vector)).unwrap();
        assert_eq!(nearby.category, Some(CategoryId::new("math")));
        assert!(nearby.nearness > 0.999 && nearby.disagreement.abs() < 1e-9);
    }

    #[test]
    fn neighbours_that_differ_are_told_by_their_entropy() {
        let seed = seed(&[(0.0, "a"), (1.0, "b"), (2.0, "c"), (3.0, "d"), (4.0, "e")]);
        let vector = at_angle(2.0);
        let nearby = seed.near(ArrayView1::from(&vector)).unwrap();
        assert_eq!(nearby.category, None);
        assert!((nearby.disagreement - 1.0).abs() < 1e-9);
    }

    #[test]
    fn too_few_say_nothing_and_of_nothing_nothing_is_said() {
        let vector = at_angle(0.0);
        let few = seed(&[(0.0, "a"), (1.0, "a"), (2.0, "a"), (3.0, "a")]);
        assert_eq!(few.near(ArrayView1::from(&vector)), None);
        let many = seed(&two_clusters(50));
        assert_eq!(many.near(ArrayView1::from(&[0.0, 0.0])), None);
    }

    #[test]
    fn a_clean_seed_proves_a_bound() {
        let seed = seed(&two_clusters(60));
        let validated = seed.validate(0.9).unwrap();
        assert!(validated.precision_lower >= 0.9, "{validated:?}");
        let (near, far) = (at_angle(10.0), at_angle(45.0));
        let taken = |vector: &[f32; 2]| {
            let nearby = seed.near(ArrayView1::from(vector)).unwrap();
            validated.taken(&nearby).cloned()
        };
        assert_eq!(taken(&near), Some(CategoryId::new("math")));
        assert_eq!(taken(&far), None, "nobody is that far from its neighbours");
    }

    #[test]
    fn a_small_or_a_mixed_seed_proves_nothing() {
        assert_eq!(seed(&two_clusters(10)).validate(0.9), None);
        let mixed: Vec<(f32, &str)> = (0..200_u8)
            .map(|at| {
                (
                    f32::from(at) / 10.0,
                    if at % 7 == 0 { "law" } else { "math" },
                )
            })
            .collect();
        assert_eq!(seed(&mixed).validate(0.9), None);
    }

    #[test]
    fn a_conversation_counts_once_in_the_proof() {
        // As many questions as prove a bound, but six to a conversation.
        let angles = two_clusters(60);
        let mut seed = seed(&angles);
        assert!(seed.validate(0.9).is_some());
        for (at, row) in seed.rows.iter_mut().enumerate() {
            row.conversation = (at / 6).to_string();
        }
        assert_eq!(seed.validate(0.9), None, "twenty conversations are too few");
    }

    #[test]
    fn one_conversation_does_not_prove_itself() {
        let angles = two_clusters(60);
        let mut seed = seed(&angles);
        for row in &mut seed.rows {
            row.conversation = row.category.to_string();
        }
        assert_eq!(
            seed.validate(0.9),
            None,
            "only the other category's are left"
        );
    }
}
