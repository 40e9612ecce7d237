//! A rising curve for the probability of each class.

use ndarray::ArrayView2;
use serde::{Deserialize, Serialize};

use super::{Calibration, softmax, temperature};
use crate::router::narrow;

/// A curve that never falls, straight between its points.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// Probability before and after, both rising.
    points: Vec<(f32, f32)>,
}

impl Curve {
    /// The rising curve closest to the outcomes (pool adjacent violators, Ayer et al. 1955).
    fn fit(mut rows: Vec<(f32, bool)>) -> Self {
        rows.sort_by(|a, b| a.0.total_cmp(&b.0));
        // Sum of the probabilities before, number that are right, number of rows.
        let mut pools: Vec<(f64, f64, f64)> = Vec::new();
        for (before, right) in rows {
            pools.push((before.into(), f64::from(u8::from(right)), 1.0));
            while let [.., a, b] = pools[..]
                && a.1 / a.2 >= b.1 / b.2
            {
                pools.truncate(pools.len() - 2);
                pools.push((a.0 + b.0, a.1 + b.1, a.2 + b.2));
            }
        }
        let points = pools
            .iter()
            .map(|(before, right, rows)| (narrow(before / rows), narrow(right / rows)));
        Self {
            points: points.collect(),
        }
    }

    pub(super) fn at(&self, before: f32) -> f32 {
        let next = self.points.partition_point(|(x, _)| *x <= before);
        match (
            next.checked_sub(1).and_then(|last| self.points.get(last)),
            self.points.get(next),
        ) {
            (Some((x0, y0)), Some((x1, y1))) => y0 + (y1 - y0) * (before - x0) / (x1 - x0),
            (Some((_, y)), None) | (None, Some((_, y))) => *y,
            (None, None) => before,
        }
    }

    pub(super) fn is_sound(&self) -> bool {
        let in_order = |pair: &[(f32, f32)]| pair[0].0 <= pair[1].0 && pair[0].1 <= pair[1].1;
        let inside = |value: f32| (0.0..=1.0).contains(&value);
        self.points.windows(2).all(in_order)
            && self.points.iter().all(|(x, y)| inside(*x) && inside(*y))
    }
}

pub(super) fn fit(logits: ArrayView2<'_, f32>, labels: &[usize]) -> Calibration {
    let temperature = temperature::likeliest(logits, labels);
    let mut of_class = vec![Vec::with_capacity(labels.len()); logits.ncols()];
    for (row, label) in logits.rows().into_iter().zip(labels) {
        for (class, probability) in softmax(&row.to_vec(), temperature).into_iter().enumerate() {
            of_class[class].push((probability, class == *label));
        }
    }
    Calibration::Isotonic {
        temperature,
        curves: of_class.into_iter().map(Curve::fit).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_that_fall_are_pooled() {
        let curve = Curve::fit(vec![(0.1, false), (0.2, true), (0.3, false), (0.9, true)]);
        assert_eq!(curve.points.len(), 3);
        assert!(curve.is_sound());
        assert!((curve.at(0.25) - 0.5).abs() < 1e-6);
        assert!((curve.at(0.0), curve.at(1.0)) == (0.0, 1.0));
        assert!((curve.at(0.575) - 0.75).abs() < 1e-5);
    }
}
