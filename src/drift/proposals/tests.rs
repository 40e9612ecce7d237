//! Clusters in noise, and noise alone.

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use super::*;

const DIMENSIONS: usize = 256;

/// A direction of length 1.
fn direction(random: &mut StdRng) -> Vec<f32> {
    let vector = (0..DIMENSIONS).map(|_| {
        let radius = (-2.0 * (1.0 - random.random::<f32>()).ln()).sqrt();
        radius * (std::f32::consts::TAU * random.random::<f32>()).cos()
    });
    unit(vector.collect())
}

fn unit(mut vector: Vec<f32>) -> Vec<f32> {
    let length = vector
        .iter()
        .map(|number| number * number)
        .sum::<f32>()
        .sqrt();
    vector.iter_mut().for_each(|number| *number /= length);
    vector
}

/// A mix of directions with the given weights.
fn mix(parts: &[(f32, &[f32])]) -> Vec<f32> {
    let at = |at: usize| parts.iter().map(|(weight, part)| weight * part[at]).sum();
    unit((0..DIMENSIONS).map(at).collect())
}

/// Texts, vectors and what they are of: clusters around directions, and noise (`None`).
struct Bench {
    texts: Vec<String>,
    vectors: Vec<Vec<f32>>,
    labels: Vec<Option<usize>>,
    existing: Vec<Vec<f32>>,
    centres: Vec<Vec<f32>>,
}

impl Bench {
    fn new(seed: u64, sizes: &[usize], noise: usize) -> Self {
        Self::with(0.45, seed, sizes, noise)
    }

    /// `centred`: the weight of its centre in a row of a cluster, whose own direction has 0.6. `sizes` of the clusters; all vectors
    /// share a direction, as those of real encoders do.
    fn with(centred: f32, seed: u64, sizes: &[usize], noise: usize) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let shared = direction(&mut random);
        let existing = (0..6)
            .map(|_| mix(&[(0.8, &shared), (0.5, &direction(&mut random))]))
            .collect();
        let centres: Vec<Vec<f32>> = sizes.iter().map(|_| direction(&mut random)).collect();
        let mut labels: Vec<Option<usize>> = vec![None; noise];
        labels.extend(
            sizes
                .iter()
                .enumerate()
                .flat_map(|(at, size)| vec![Some(at); *size]),
        );
        for at in (1..labels.len()).rev() {
            labels.swap(at, random.random_range(0..=at));
        }
        let vectors = labels.iter().map(|label| {
            let own = direction(&mut random);
            match label {
                Some(at) => mix(&[(0.8, &shared), (centred, &centres[*at]), (0.6, &own)]),
                None => mix(&[(0.8, &shared), (0.75, &own)]),
            }
        });
        let vectors = vectors.collect();
        let words = [["tram", "ticket", "fare"], ["garden", "soil", "seeds"]];
        let text = |(row, label): (usize, &Option<usize>)| match label {
            Some(at) => format!(
                "{} {} number{row}",
                words[at % 2][row % 3],
                words[at % 2][(row + 1) % 3]
            ),
            None => format!("something{row} else{row}"),
        };
        Self {
            texts: labels.iter().enumerate().map(text).collect(),
            vectors,
            labels,
            existing,
            centres,
        }
    }

    fn propose(&self, existing: &[(&str, &[f32])]) -> Vec<Proposal> {
        let refused: Vec<Refused<'_>> = self
            .texts
            .iter()
            .zip(&self.vectors)
            .map(|(text, vector)| Refused {
                text,
                vector,
                times: 2,
            })
            .collect();
        let names = ["a", "b", "c", "d", "e", "f"];
        let mut known: Vec<Existing<'_>> = names
            .iter()
            .zip(&self.existing)
            .map(|(category, centroid)| Existing { category, centroid })
            .collect();
        known.extend(
            existing
                .iter()
                .map(|(category, centroid)| Existing { category, centroid }),
        );
        propose(&refused, &known, &[], &ProposalOptions::default())
    }

    /// The commonest cluster of a proposal's rows, and the share of the rows that are of it.
    fn purity(&self, proposal: &Proposal) -> (Option<usize>, f64) {
        let count = |at: usize| {
            let of = proposal
                .rows
                .iter()
                .filter(|row| self.labels[**row] == Some(at));
            of.count()
        };
        let best = (0..self.centres.len()).max_by_key(|at| count(*at));
        let share = best.map_or(0, count) as f64 / proposal.size as f64;
        (best, share)
    }
}

#[test]
fn two_clusters_in_noise_are_found_and_named() {
    for seed in 0..5 {
        let bench = Bench::new(seed, &[120, 80], 300);
        let proposals = bench.propose(&[]);
        assert_eq!(proposals.len(), 2, "{proposals:?}");
        for (at, (proposal, size)) in proposals.iter().zip([120, 80]).enumerate() {
            let (label, purity) = bench.purity(proposal);
            assert_eq!(label, Some(at));
            assert!(purity >= 0.9, "{purity}");
            assert!(proposal.size as f64 * purity >= 0.9 * f64::from(size));
            assert_eq!(proposal.times, 2 * proposal.size as u64);
            assert_eq!(proposal.examples.len(), EXAMPLES_MAX);
            assert_eq!(proposal.terms.len(), 3, "{:?}", proposal.terms);
        }
        assert!(proposals[0].terms.contains(&"tram".to_owned()));
        assert!(proposals[1].terms.contains(&"soil".to_owned()));
    }
}

#[test]
fn noise_proposes_nothing() {
    for seed in 0..3 {
        assert_eq!(Bench::new(seed, &[], 800).propose(&[]), []);
    }
    assert_eq!(Bench::new(9, &[10], 20).propose(&[]), []);
    assert_eq!(propose(&[], &[], &[], &ProposalOptions::default()), []);
}

#[test]
fn what_a_category_covers_is_not_proposed_again() {
    let bench = Bench::new(3, &[120, 80], 300);
    let mut random = StdRng::seed_from_u64(3);
    let shared = direction(&mut random);
    let covering = mix(&[(0.8, &shared), (0.6, &bench.centres[0])]);
    let proposals = bench.propose(&[("trams", &covering)]);
    assert_eq!(proposals.len(), 1, "{proposals:?}");
    assert_eq!(bench.purity(&proposals[0]).0, Some(1));
}

#[test]
fn vectors_that_cannot_be_used_are_passed_over() {
    let mut bench = Bench::new(4, &[120], 100);
    bench.vectors[0] = vec![f32::NAN; DIMENSIONS];
    bench.vectors[1] = vec![0.0; DIMENSIONS];
    bench.vectors[2] = vec![1.0; 3];
    bench.texts[3] = "  ".to_owned();
    let proposals = bench.propose(&[]);
    assert_eq!(proposals.len(), 1);
    assert!(proposals[0].rows.iter().all(|row| *row > 3));
}

#[test]
fn a_broad_category_is_proposed_where_many_texts_are_of_it() {
    // Two texts of it have a mean cosine of 0.13.
    let broad = |size| Bench::with(0.235, 5, &[size], 300);
    let many = broad(170);
    let found = many.propose(&[]);
    assert_eq!(found.len(), 1, "{found:?}");
    let (of, purity) = many.purity(&found[0]);
    assert!(of == Some(0) && purity > 0.85, "{purity}");
    assert!(found[0].cohesion < 0.2, "{}", found[0].cohesion);
    assert!(broad(20).propose(&[]).is_empty());
}
