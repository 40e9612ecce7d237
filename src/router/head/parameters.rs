//! What a fit looks for.

use super::{Head, Rows};

/// Weights and biases as one flat vector: buckets × classes, dimensions × classes, classes.
///
/// The buckets are all that there are, or, while a fit is under way, those that its rows use.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameters {
    pub(super) classes: usize,
    pub(super) buckets: usize,
    pub(super) flat: Vec<f32>,
}

impl Parameters {
    pub(super) fn zeros(rows: &Rows, classes: usize) -> Self {
        let buckets = rows.used().len();
        let count = (buckets + rows.dimensions() + 1) * classes;
        Self {
            classes,
            buckets,
            flat: vec![0.0; count],
        }
    }

    /// What a head says, for the classes that `old_of` names among the head's: zeros for the others.
    pub fn of_head(head: &Head, old_of: &[Option<usize>]) -> Self {
        let classes = old_of.len();
        let row = |old: &[f32]| -> Vec<f32> {
            let of_class = |class: &Option<usize>| class.map_or(0.0, |class| old[class]);
            old_of.iter().map(of_class).collect()
        };
        let sparse = head.sparse();
        let buckets = 0..sparse.scales.len();
        let mut flat: Vec<f32> = buckets
            .flat_map(|bucket| row(&sparse.row(bucket, head.classes())))
            .collect();
        flat.extend(head.dense().chunks_exact(head.classes()).flat_map(row));
        flat.extend(row(head.bias()));
        Self {
            classes,
            buckets: sparse.scales.len(),
            flat,
        }
    }

    /// Those of the buckets that the rows use.
    pub(super) fn gathered(&self, rows: &Rows) -> Self {
        let row = |bucket: &u32| &self.flat[*bucket as usize * self.classes..][..self.classes];
        let mut flat = rows.used().iter().map(row).collect::<Vec<_>>().concat();
        flat.extend(&self.flat[self.buckets * self.classes..]);
        Self {
            classes: self.classes,
            buckets: rows.used().len(),
            flat,
        }
    }

    /// Undoes [`Self::gathered`]; the buckets that the rows do not use are as in `others`, or 0.
    pub(super) fn scattered(&self, rows: &Rows, others: Option<&Self>) -> Self {
        let sparse = rows.bucket_count() * self.classes;
        let mut flat = match others {
            Some(others) => others.sparse().to_vec(),
            None => vec![0.0; sparse],
        };
        let of_used = self.sparse().chunks_exact(self.classes);
        for (bucket, weights) in rows.used().iter().zip(of_used) {
            flat[*bucket as usize * self.classes..][..self.classes].copy_from_slice(weights);
        }
        flat.extend(&self.flat[self.buckets * self.classes..]);
        Self {
            classes: self.classes,
            buckets: rows.bucket_count(),
            flat,
        }
    }

    /// The same for dense features that are not multiplied by `factor` before.
    #[must_use]
    pub fn of_unscaled(mut self, factor: f32) -> Self {
        let end = self.flat.len() - self.classes;
        let dense = &mut self.flat[self.buckets * self.classes..end];
        dense.iter_mut().for_each(|weight| *weight *= factor);
        self
    }

    pub(super) fn sparse(&self) -> &[f32] {
        &self.flat[..self.buckets * self.classes]
    }

    pub(super) fn dense(&self) -> &[f32] {
        &self.flat[self.buckets * self.classes..self.flat.len() - self.classes]
    }

    pub(super) fn bias(&self) -> &[f32] {
        &self.flat[self.flat.len() - self.classes..]
    }

    /// The logits of one row, by parameters that are gathered for the rows.
    pub(super) fn logits(&self, rows: &Rows, row: usize) -> Vec<f32> {
        let mut logits = self.bias().to_vec();
        let mut add = |weights: &[f32], value: f32| {
            for (logit, weight) in logits.iter_mut().zip(weights) {
                *logit += value * weight;
            }
        };
        for (bucket, value) in rows.sparse(row) {
            add(
                &self.sparse()[bucket * self.classes..][..self.classes],
                value,
            );
        }
        for (weights, value) in self.dense().chunks_exact(self.classes).zip(rows.dense(row)) {
            add(weights, *value);
        }
        logits
    }
}
