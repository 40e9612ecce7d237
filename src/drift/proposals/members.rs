//! Groups → clusters: who belongs to each.

use ndarray::{Array1, Array2, ArrayView1};

/// Rounds in which rows go to the cluster that they resemble most; hardly any moves after the first few.
const ROUNDS: usize = 4;

/// A row belongs to a cluster if it resembles its rows by this share of what they resemble each other: some do less than the
/// mean, and noise at the edge does much less.
const BELONGING: f64 = 0.55;

/// A cluster that is large enough.
#[derive(Clone, Debug)]
pub(super) struct Cluster {
    /// Rising.
    pub rows: Vec<usize>,
    /// Mean similarity of two rows.
    pub cohesion: f64,
    /// Mean cosine of a row with the centroid of the others.
    pub typicality: f64,
    sum: Array1<f32>,
}

impl Cluster {
    fn new(rows: Vec<usize>, vectors: &Array2<f32>) -> Self {
        let mut sum = Array1::zeros(vectors.ncols());
        for row in &rows {
            sum += &vectors.row(*row);
        }
        let mut cluster = Self {
            rows,
            cohesion: 0.0,
            typicality: 0.0,
            sum,
        };
        let size = cluster.rows.len() as f64;
        for row in &cluster.rows {
            let vector = vectors.row(*row);
            let others = &cluster.sum - &vector;
            let length = others.dot(&others).sqrt().max(f32::MIN_POSITIVE);
            cluster.cohesion += f64::from(others.dot(&vector)) / (size * (size - 1.0).max(1.0));
            cluster.typicality += f64::from(others.dot(&vector) / length) / size;
        }
        cluster
    }

    /// The mean similarity of a row with all others of the cluster.
    pub(super) fn similarity(&self, row: usize, vector: &ArrayView1<'_, f32>) -> f32 {
        let all = self.sum.dot(vector);
        let (others, size) = if self.rows.binary_search(&row).is_ok() {
            (all - vector.dot(vector), self.rows.len() - 1)
        } else {
            (all, self.rows.len())
        };
        others / size.max(1) as f32
    }
}

/// The clusters of at least `size_min` rows, with every row in the one that it resembles most, or in none if it resembles
/// that too little.
pub(super) fn settle(
    vectors: &Array2<f32>,
    groups: Vec<Vec<usize>>,
    size_min: usize,
    least: f32,
) -> Vec<Cluster> {
    let mut clusters = large(groups, vectors, size_min);
    for _ in 0..ROUNDS {
        let mut groups = vec![Vec::new(); clusters.len()];
        for (row, vector) in vectors.rows().into_iter().enumerate() {
            let similar = clusters
                .iter()
                .enumerate()
                .map(|(at, cluster)| (at, cluster.similarity(row, &vector)));
            let best = similar.reduce(|a, b| if b.1 > a.1 { b } else { a });
            let enough = |at: usize| (BELONGING * clusters[at].cohesion).max(f64::from(least));
            if let Some((at, _)) =
                best.filter(|(at, similarity)| f64::from(*similarity) >= enough(*at))
            {
                groups[at].push(row);
            }
        }
        clusters = large(groups, vectors, size_min);
    }
    clusters
}

fn large(groups: Vec<Vec<usize>>, vectors: &Array2<f32>, size_min: usize) -> Vec<Cluster> {
    groups
        .into_iter()
        .filter(|rows| rows.len() >= size_min)
        .map(|rows| Cluster::new(rows, vectors))
        .collect()
}
