//! How strange a question is, seen by a detector that has met no strange ones. Pure.
//!
//! The relative Mahalanobis distance (Ren et al. 2021, "A Simple Fix to Mahalanobis Distance for Improving Near-OOD
//! Detection"): the squared distance to the nearest category's mean, under the covariance within categories, less the
//! squared distance to the mean of all rows under the covariance of all. It is read off vectors of an inner layer of the
//! encoder, where what a text is like has not yet given way to what it means. A distance becomes a share: that of
//! in-domain rows, held back, which are at least as strange (a conformal p-value; Bates et al. 2023, "Testing for
//! Outliers with Conformal p-values").

mod cholesky;

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis};

use self::cholesky::Whitening;
use super::narrow;

/// Share of the mean variance that is added to every direction: there are few rows for so many directions.
const SHRINKAGE: f64 = 0.1;

/// Questions stranger than this share of in-domain ones are refused by the detector.
pub const STRANGENESS_MAX: f32 = 0.99;

/// Points of the distribution of distances that are kept.
const REFERENCE_POINTS: usize = 256;

/// A detector that was fitted on in-domain rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Novelty {
    near: Whitening,
    /// Of each category, whitened: categories × dimensions.
    means: Array2<f32>,
    far: Whitening,
    /// Of all rows, whitened.
    mean: Array1<f32>,
    /// Distances of rows held back, rising, at even steps of their distribution.
    reference: Vec<f32>,
}

impl Novelty {
    /// Fits a detector on in-domain `vectors` (rows × dimensions); the `folds` are held back in turn for the distribution
    /// of distances. None where a covariance cannot be taken: no rows, or numbers that are not finite.
    pub fn fit(vectors: ArrayView2<'_, f32>, labels: &[usize], folds: &[usize]) -> Option<Self> {
        let mut detector = Self::without_reference(vectors, labels)?;
        let count = folds.iter().max().map_or(1, |last| last + 1);
        let mut distances = Vec::with_capacity(labels.len());
        for fold in 0..count {
            let (held, seen): (Vec<usize>, Vec<usize>) =
                (0..labels.len()).partition(|row| count > 1 && folds[*row] == fold);
            let of_seen: Vec<usize> = seen.iter().map(|row| labels[*row]).collect();
            let other = Self::without_reference(vectors.select(Axis(0), &seen).view(), &of_seen)?;
            let held = if count == 1 { seen } else { held };
            distances.extend(held.iter().map(|row| other.distance(vectors.row(*row))));
        }
        distances.sort_by(f32::total_cmp);
        let point =
            |point: usize| distances[point * (distances.len() - 1) / (REFERENCE_POINTS - 1)];
        detector.reference = (0..REFERENCE_POINTS).map(point).collect();
        Some(detector)
    }

    fn without_reference(vectors: ArrayView2<'_, f32>, labels: &[usize]) -> Option<Self> {
        let rows = vectors.mapv(f64::from);
        let mean = rows.mean_axis(Axis(0))?;
        let classes = labels.iter().max()? + 1;
        let mut means = Array2::zeros((classes, rows.ncols()));
        let mut sizes = vec![0.0; classes];
        for (row, label) in rows.rows().into_iter().zip(labels) {
            means.row_mut(*label).scaled_add(1.0, &row);
            sizes[*label] += 1.0;
        }
        let mut within = rows.clone();
        for (mut sum, size) in means.rows_mut().into_iter().zip(&sizes) {
            sum /= f64::max(*size, 1.0);
        }
        for (mut row, label) in within.rows_mut().into_iter().zip(labels) {
            row -= &means.row(*label);
        }
        let near = Whitening::of(&within, SHRINKAGE)?;
        let far = Whitening::of(&(&rows - &mean), SHRINKAGE)?;
        let present: Vec<usize> = (0..classes).filter(|class| sizes[*class] > 0.0).collect();
        let means = means.select(Axis(0), &present);
        let mut whitened = Array2::zeros(means.raw_dim());
        for (mut to, from) in whitened.rows_mut().into_iter().zip(means.rows()) {
            to.assign(&near.apply(from.mapv(narrow).view()));
        }
        Some(Self {
            means: whitened,
            mean: far.apply(mean.mapv(narrow).view()),
            near,
            far,
            reference: Vec::new(),
        })
    }

    /// Puts a detector together from its parts; none if their shapes do not fit or a number is not finite.
    pub fn from_parts(parts: NoveltyParts) -> Option<Self> {
        let dimensions = parts.mean.len();
        let categories = parts.means.len() / dimensions.max(1);
        let finite = [
            &parts.near,
            &parts.far,
            &parts.means,
            &parts.mean,
            &parts.reference,
        ];
        if !finite
            .iter()
            .all(|numbers| numbers.iter().all(|number| number.is_finite()))
        {
            return None;
        }
        let sound = parts.reference.len() == REFERENCE_POINTS && parts.reference.is_sorted();
        sound.then_some(Self {
            near: Whitening::from_packed(parts.near, dimensions)?,
            far: Whitening::from_packed(parts.far, dimensions)?,
            means: Array2::from_shape_vec((categories, dimensions), parts.means).ok()?,
            mean: parts.mean.into(),
            reference: parts.reference,
        })
    }

    /// Takes the detector apart.
    pub fn parts(&self) -> NoveltyParts {
        NoveltyParts {
            near: self.near.packed().to_vec(),
            far: self.far.packed().to_vec(),
            means: self.means.iter().copied().collect(),
            mean: self.mean.to_vec(),
            reference: self.reference.clone(),
        }
    }

    /// The share of in-domain questions, 0 to 1, that are less strange than this one.
    #[expect(clippy::cast_precision_loss, reason = "a few hundred points")]
    pub fn strangeness(&self, vector: &[f32]) -> f32 {
        let distance = self.distance(ArrayView1::from(vector));
        let below = self.reference.partition_point(|point| *point < distance);
        // Beyond the last point the order still counts: it tells strange from stranger.
        let excess = match self.reference.last() {
            Some(last) if distance > *last => 1.0 - 1.0 / (1.0 + distance - last),
            _ => 0.0,
        };
        (below as f32 + excess) / (REFERENCE_POINTS as f32 + 1.0)
    }

    fn distance(&self, vector: ArrayView1<'_, f32>) -> f32 {
        let near = self.near.apply(vector);
        let nearest = self
            .means
            .rows()
            .into_iter()
            .map(|mean| squared_distance(mean, near.view()));
        let far = self.far.apply(vector);
        nearest.fold(f32::INFINITY, f32::min) - squared_distance(self.mean.view(), far.view())
    }
}

/// A detector's numbers, as they are stored.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NoveltyParts {
    /// The lower triangle that whitens within categories, row by row.
    pub near: Vec<f32>,
    /// The lower triangle that whitens all rows.
    pub far: Vec<f32>,
    /// Whitened means, categories × dimensions.
    pub means: Vec<f32>,
    /// The whitened mean of all rows.
    pub mean: Vec<f32>,
    /// The distribution of distances.
    pub reference: Vec<f32>,
}

fn squared_distance(a: ArrayView1<'_, f32>, b: ArrayView1<'_, f32>) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
}

#[cfg(test)]
mod tests {
    use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};

    use super::*;

    /// Two clouds of three dimensions, flat in the last one.
    fn clouds() -> (Array2<f32>, Vec<usize>, Vec<usize>) {
        let mut random = SmallRng::seed_from_u64(3);
        let labels: Vec<usize> = (0..400).map(|row| row % 2).collect();
        let vectors = Array2::from_shape_fn((400, 3), |(row, dimension)| {
            let centre = [[2.0, 0.0, 0.0], [-2.0, 0.0, 0.0]][row % 2][dimension];
            let spread = if dimension == 2 { 0.05 } else { 0.5 };
            centre + spread * random.random_range(-1.0..1.0_f32)
        });
        (vectors, labels, (0..400).map(|row| row / 2 % 5).collect())
    }

    #[test]
    fn what_lies_off_the_clouds_is_strange_and_what_lies_in_them_is_not() {
        let (vectors, labels, folds) = clouds();
        let detector = Novelty::fit(vectors.view(), &labels, &folds).unwrap();
        assert!(detector.strangeness(&[2.0, 0.1, 0.0]) < 0.9);
        let off = detector.strangeness(&[2.0, 0.0, 1.0]);
        let further = detector.strangeness(&[2.0, 0.0, 3.0]);
        assert!(
            0.99 < off && off < further && further < 1.0,
            "{off} {further}"
        );
    }

    #[test]
    fn shares_of_rows_that_were_held_back_are_even() {
        let (vectors, labels, folds) = clouds();
        let detector = Novelty::fit(vectors.view(), &labels, &folds).unwrap();
        let strange = vectors
            .rows()
            .into_iter()
            .filter(|row| detector.strangeness(&row.to_vec()) > 0.9);
        let share = strange.count() as f32 / 400.0;
        assert!((share - 0.1).abs() < 0.03, "{share}");
    }

    #[test]
    fn parts_are_the_whole_and_broken_ones_are_refused() {
        let (vectors, labels, folds) = clouds();
        let detector = Novelty::fit(vectors.view(), &labels, &folds).unwrap();
        assert_eq!(Novelty::from_parts(detector.parts()).unwrap(), detector);
        let broken = |change: fn(&mut NoveltyParts)| {
            let mut parts = detector.parts();
            change(&mut parts);
            Novelty::from_parts(parts).is_none()
        };
        assert!(broken(|parts| parts.near.truncate(5)));
        assert!(broken(|parts| parts.means.truncate(4)));
        assert!(broken(|parts| parts.mean[0] = f32::NAN));
        assert!(broken(|parts| parts.reference[0] = f32::MAX));
    }

    #[test]
    fn without_rows_there_is_no_detector() {
        assert!(Novelty::fit(Array2::zeros((0, 3)).view(), &[], &[]).is_none());
        assert!(
            Novelty::fit(Array2::from_elem((4, 3), f32::NAN).view(), &[0; 4], &[0; 4]).is_none()
        );
    }
}
