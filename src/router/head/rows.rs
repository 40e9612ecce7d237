//! What a head is fitted on.

use ndarray::Array2;

use crate::router::lexical::Features;

/// The features of training rows: sparse ones (compressed by row) and dense ones.
#[derive(Clone, Debug)]
pub struct Rows {
    /// Where each row begins in `buckets` and `values`, and where the last one ends.
    starts: Vec<usize>,
    /// The place of each feature's bucket in `used`.
    places: Vec<u32>,
    values: Vec<f32>,
    /// The buckets that some row has, in order. A fit moves only their weights, and few rows have few of them.
    used: Vec<u32>,
    /// Buckets that there can be.
    bucket_count: usize,
    /// rows × dimensions.
    dense: Array2<f32>,
}

impl Rows {
    /// Joins the sparse features of rows, over `bucket_count` buckets, with their dense ones (rows × dimensions). Empty
    /// `sparse`: no row has any.
    pub fn new(sparse: &[Features], bucket_count: usize, dense: Array2<f32>) -> Self {
        let mut used: Vec<u32> = sparse.iter().flatten().map(|(bucket, _)| *bucket).collect();
        used.sort_unstable();
        used.dedup();
        let mut rows = Self {
            starts: vec![0],
            places: Vec::new(),
            values: Vec::new(),
            bucket_count: if sparse.is_empty() { 0 } else { bucket_count },
            dense,
            used,
        };
        for row in 0..rows.dense.nrows() {
            for (bucket, value) in sparse.get(row).into_iter().flatten() {
                // It is there: `used` was made of the same features.
                let place = rows.used.partition_point(|used| used < bucket);
                rows.places.extend(u32::try_from(place));
                rows.values.push(*value);
            }
            rows.starts.push(rows.places.len());
        }
        rows
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.dense.nrows()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many sparse features there can be; none where no row has any.
    pub fn bucket_count(&self) -> usize {
        self.bucket_count
    }

    /// The buckets that some row has, in order.
    pub fn used(&self) -> &[u32] {
        &self.used
    }

    /// How many dense features a row has.
    pub fn dimensions(&self) -> usize {
        self.dense.ncols()
    }

    /// Place in [`Self::used`] and value of each sparse feature of a row.
    pub fn sparse(&self, row: usize) -> impl Iterator<Item = (usize, f32)> {
        let range = self.starts[row]..self.starts[row + 1];
        let values = self.values[range.clone()].iter().copied();
        self.places[range]
            .iter()
            .map(|place| *place as usize)
            .zip(values)
    }

    /// The dense features of a row.
    pub fn dense(&self, row: usize) -> ndarray::ArrayView1<'_, f32> {
        self.dense.row(row)
    }

    /// The dense features of some rows.
    pub(super) fn dense_of(&self, at: &[usize]) -> Array2<f32> {
        self.dense.select(ndarray::Axis(0), at)
    }

    /// A row with a number that is not finite, if there is one.
    pub(super) fn not_finite(&self) -> Option<usize> {
        (0..self.len()).find(|row| {
            let mut sparse = self.sparse(*row);
            !sparse.all(|(_, value)| value.is_finite())
                || !self.dense(*row).iter().all(|value| value.is_finite())
        })
    }
}

/// What a head is to say of each row, and what the row counts for.
#[derive(Clone, Debug)]
pub struct Targets {
    /// The class of each row.
    pub labels: Vec<usize>,
    /// The probability that it is to give each class: rows × classes, a row adds up to 1.
    pub probabilities: Array2<f32>,
    /// What each row counts for.
    pub weights: Vec<f32>,
    /// Whether each row is one of those whose label is right: these tell how frequent a class is, and penalties apart. The others
    /// teach, and no more.
    pub is_judge: Vec<bool>,
    /// Whether a teacher softened the probabilities, so that how flat logits are says more of the teacher than of the penalty.
    pub is_softened: bool,
}

impl Targets {
    /// A class with fewer rows counts more a row, by the square root of what would make all classes equal: enough that it
    /// is not drowned, little enough that the logits still know how frequent it is. A share of `smoothing` of a row's
    /// probability is spread over all classes.
    pub fn balanced(labels: Vec<usize>, classes: usize, smoothing: f32) -> Self {
        let is_judge = vec![true; labels.len()];
        Self::judged(labels, is_judge, classes, smoothing)
    }

    /// The same, where only some rows are judges.
    pub fn judged(labels: Vec<usize>, is_judge: Vec<bool>, classes: usize, smoothing: f32) -> Self {
        let mut sizes = vec![0_usize; classes];
        for (label, _) in labels.iter().zip(&is_judge).filter(|(_, judge)| **judge) {
            sizes[*label] += 1;
        }
        let judges = sizes.iter().sum::<usize>();
        #[expect(clippy::cast_precision_loss, reason = "counts of rows")]
        let weight =
            |label: &usize| (judges as f32 / (classes * sizes[*label].max(1)) as f32).sqrt();
        let weights = labels.iter().map(weight).collect();
        #[expect(clippy::cast_precision_loss, reason = "a count of classes")]
        let rest = smoothing / classes as f32;
        let probabilities = Array2::from_shape_fn((labels.len(), classes), |(row, class)| {
            rest + if labels[row] == class {
                1.0 - smoothing
            } else {
                0.0
            }
        });
        Self {
            labels,
            probabilities,
            weights,
            is_judge,
            is_softened: false,
        }
    }

    /// How many rows are judges.
    pub(super) fn judges(&self) -> usize {
        self.is_judge.iter().filter(|judge| **judge).count()
    }

    /// How many classes there are.
    pub fn classes(&self) -> usize {
        self.probabilities.ncols()
    }
}
