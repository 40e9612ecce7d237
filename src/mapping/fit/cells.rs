//! Sums over scores → the score that is to be expected of an expert in a category.
//!
//! A cell's mean is drawn towards the expert's overall mean plus the category's, the more the fewer scores it has and the
//! noisier they are: the parametric empirical Bayes estimate of Morris ("Parametric empirical Bayes inference: theory and
//! applications", JASA 1983). How much cells really differ from that plane is estimated from all of them, and how noisy
//! scores are from those of each category. An expert that was tried less than others is drawn to them in the same way.

use ndarray::Array2;

use super::tally::{Moments, Sums};

/// Scores' worth of the noise of all categories that the noise of each is mixed with.
const NOISE_PSEUDO_SCORES: f64 = 4.0;

/// Rounds of the two iterations below, which settle after a few.
const ROUNDS: usize = 50;

/// Change after which they have settled.
const SETTLED: f64 = 1e-12;

/// How far an expert that was not tried stands behind the worst of those that were, and behind all of them one of which next to
/// nothing is known: more than any search leaves open.
const UNTRIED_BEHIND: f64 = 0.01;

/// How much more a cell's mean is distrusted than its noise asks for; infinite: cells are not believed to differ.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Caution(pub f64);

impl Caution {
    /// From as the noise asks for to that one expert is the best of all categories.
    pub const ALL: [Self; 3] = [Self(1.0), Self(4.0), Self(f64::INFINITY)];
}

/// What is known of the cells.
#[derive(Clone, Debug)]
pub struct Cells {
    /// What an expert scores over a category's mean, whatever the category; the worst of all where it was not tried.
    pub level: Vec<f64>,
    /// Whether an expert has any score.
    is_tried: Vec<bool>,
    /// Mean of each category over the experts.
    base: Vec<f64>,
    /// What a cell has over both; zero where there is no score.
    deviation: Array2<f64>,
    /// Variance of a cell's mean; infinite where there is no score.
    noise: Array2<f64>,
    /// Variance of what cells really have over both.
    spread: f64,
}

impl Cells {
    /// `weights`: of the categories.
    pub fn of(sums: &Sums, weights: &[f64]) -> Self {
        let means = sums
            .cells
            .mapv(|cell| (cell.scores > 0.0).then(|| cell.adjusted / cell.scores));
        let rows = means.rows().into_iter();
        let is_tried = rows.map(|row| row.iter().any(Option::is_some)).collect();
        let (level, base) = plane(&means, weights);
        let deviation = |level: &[f64]| {
            Array2::from_shape_fn(means.raw_dim(), |(e, c)| {
                means[[e, c]].map_or(0.0, |mean| mean - level[e] - base[c])
            })
        };
        let noise = noise(&sums.cells);
        let spread = spread(&deviation(&level), &noise);
        let level = drawn_together(&level, &uncertainty(&noise, spread, weights));
        Self {
            deviation: deviation(&level),
            level,
            is_tried,
            base,
            noise,
            spread,
        }
    }

    /// The scores that are to be expected, experts by categories. Of an expert that was not tried, less than of any that was.
    pub fn scores(&self, caution: Caution) -> Array2<f64> {
        let mut scores = Array2::from_shape_fn(self.deviation.raw_dim(), |(e, c)| {
            let doubt = caution.0 * self.noise[[e, c]];
            let trust = if doubt.is_finite() && self.spread > 0.0 {
                self.spread / (self.spread + doubt)
            } else {
                0.0
            };
            self.level[e] + self.base[c] + trust * self.deviation[[e, c]]
        });
        for mut column in scores.columns_mut() {
            let worst = column.iter().copied().fold(f64::INFINITY, f64::min);
            for (score, is_tried) in column.iter_mut().zip(&self.is_tried) {
                if !is_tried {
                    *score = worst - UNTRIED_BEHIND;
                }
            }
        }
        scores
    }

    /// The expert that scores best over all categories, of those that were tried and are admitted; of all that were tried, if
    /// none is.
    pub fn best_single(&self, is_admitted: impl Fn(usize) -> bool) -> usize {
        let best = |is_wanted: &dyn Fn(usize) -> bool| {
            let levels = self.level.iter().enumerate();
            let wanted = levels.filter(|(e, _)| self.is_tried[*e] && is_wanted(*e));
            let best = wanted.reduce(|a, b| if b.1 > a.1 { b } else { a });
            best.map(|(expert, _)| expert)
        };
        best(&is_admitted)
            .or_else(|| best(&|_| true))
            .unwrap_or_default()
    }
}

/// Levels of experts and means of categories that explain the cells' means best by their sum.
fn plane(means: &Array2<Option<f64>>, weights: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let (experts, categories) = means.dim();
    let (mut level, mut base) = (vec![0.0; experts], vec![0.0; categories]);
    for _ in 0..ROUNDS {
        let before = level.clone();
        let known: Vec<Option<f64>> = (0..categories)
            .map(|c| {
                let left = (0..experts).filter_map(|e| Some((1.0, means[[e, c]]? - level[e])));
                weighted_mean(left)
            })
            .collect();
        // A category without scores is expected to be like the others.
        let others = known.iter().flatten().map(|known| (1.0, *known));
        let others = weighted_mean(others).unwrap_or_default();
        base = known.iter().map(|known| known.unwrap_or(others)).collect();
        let known: Vec<Option<f64>> = (0..experts)
            .map(|e| {
                let left =
                    (0..categories).filter_map(|c| Some((weights[c], means[[e, c]]? - base[c])));
                weighted_mean(left)
            })
            .collect();
        // Whoever was never tried is not better than the worst.
        let worst = known
            .iter()
            .flatten()
            .copied()
            .fold(f64::INFINITY, f64::min);
        let worst = if worst.is_finite() { worst } else { 0.0 };
        level = known.iter().map(|known| known.unwrap_or(worst)).collect();
        let moved = level
            .iter()
            .zip(&before)
            .map(|(now, before)| (now - before).abs());
        if moved.fold(0.0, f64::max) < SETTLED {
            break;
        }
    }
    (level, base)
}

fn weighted_mean(pairs: impl Iterator<Item = (f64, f64)>) -> Option<f64> {
    let (total, sum) = pairs.fold((0.0, 0.0), |(total, sum), (weight, value)| {
        (total + weight, sum + weight * value)
    });
    (total > 0.0).then(|| sum / total)
}

/// The variance of each cell's mean, from the variance of scores within the cells of its category.
fn noise(cells: &Array2<Moments>) -> Array2<f64> {
    let within = |cell: &Moments| {
        (cell.squares - cell.adjusted * cell.adjusted / cell.scores.max(1.0)).max(0.0)
    };
    // What adjusting for the difficulty of rows has taken out of the variance is put back.
    let freedom = |cell: &Moments| cell.left * (1.0 - 1.0 / cell.scores.max(1.0));
    let total = |of: &dyn Fn(&Moments) -> f64, cells: ndarray::ArrayView1<'_, Moments>| {
        cells.iter().map(of).sum::<f64>()
    };
    let columns: Vec<(f64, f64)> = cells
        .columns()
        .into_iter()
        .map(|column| (total(&within, column), total(&freedom, column)))
        .collect();
    let (all, all_freedom) = columns.iter().fold((0.0, 0.0), |sum, column| {
        (sum.0 + column.0, sum.1 + column.1)
    });
    let pooled = all / all_freedom.max(1.0);
    Array2::from_shape_fn(cells.raw_dim(), |(e, c)| {
        let (within, freedom) = columns[c];
        let variance = (within + NOISE_PSEUDO_SCORES * pooled) / (freedom + NOISE_PSEUDO_SCORES);
        let scores = cells[[e, c]].scores;
        if scores > 0.0 {
            variance / scores
        } else {
            f64::INFINITY
        }
    })
}

/// The variance of what cells have over the plane, apart from noise.
fn spread(deviation: &Array2<f64>, noise: &Array2<f64>) -> f64 {
    let (experts, categories) = deviation.dim();
    if experts < 2 || categories < 2 {
        return 0.0;
    }
    // The plane has followed the cells by as many parameters.
    let (experts, categories) = (experts as f64, categories as f64);
    let freedom = (experts - 1.0) * (categories - 1.0) / (experts * categories);
    let cells = deviation.iter().zip(noise);
    let known = cells.filter(|(_, noise)| noise.is_finite());
    beyond_noise(known.map(|(deviation, noise)| (deviation * deviation / freedom, *noise)))
}

/// The variance of each expert's level; infinite where nothing is known. A level is the mean of an expert's cells, which are not
/// all there, each as noisy as it is and as far from the plane as cells are.
fn uncertainty(noise: &Array2<f64>, spread: f64, weights: &[f64]) -> Vec<f64> {
    let of_expert = |noise: ndarray::ArrayView1<'_, f64>| {
        let cells = noise.iter().zip(weights);
        let cells = cells.filter(|(noise, weight)| noise.is_finite() && **weight > 0.0);
        let (total, sum) = cells.fold((0.0, 0.0), |(total, sum), (noise, weight)| {
            (total + weight, sum + weight * weight * (noise + spread))
        });
        if total > 0.0 {
            sum / (total * total)
        } else {
            f64::INFINITY
        }
    };
    noise.rows().into_iter().map(of_expert).collect()
}

/// The levels, each drawn to those of the others the more the less it is known than the best known one: what all of them have
/// in common moves all alike, and where every score is there nothing moves.
fn drawn_together(level: &[f64], variance: &[f64]) -> Vec<f64> {
    let known = || (0..level.len()).filter(|expert| variance[*expert].is_finite());
    let least = variance.iter().copied().fold(f64::INFINITY, f64::min);
    let experts = known().count() as f64;
    if experts < 2.0 {
        return level.to_vec();
    }
    let weight =
        |expert: usize, spread: f64| (spread + variance[expert]).max(f64::MIN_POSITIVE).recip();
    let mean = weighted_mean(known().map(|expert| (weight(expert, 0.0), level[expert])));
    let off = |expert: usize| level[expert] - mean.unwrap_or_default();
    let freedom = (experts - 1.0) / experts;
    let spread = beyond_noise(known().map(|e| (off(e) * off(e) / freedom, variance[e])));
    let drawn = |expert: usize| {
        let excess = variance[expert] - least;
        let others = known().filter(|other| *other != expert);
        let others = weighted_mean(others.map(|other| (weight(other, spread), level[other])));
        match others {
            Some(others) if excess > 0.0 && excess.is_finite() => {
                let trust = spread / (spread + excess);
                trust * level[expert] + (1.0 - trust) * (others - UNTRIED_BEHIND)
            }
            _ => level[expert],
        }
    };
    (0..level.len()).map(drawn).collect()
}

/// The variance of what is left of some squares when their noise is taken away: moments, weighted by how exactly each is known.
fn beyond_noise(squares: impl Iterator<Item = (f64, f64)>) -> f64 {
    let squares: Vec<(f64, f64)> = squares.collect();
    let mut spread =
        squares.iter().map(|(square, _)| square).sum::<f64>() / squares.len().max(1) as f64;
    for _ in 0..ROUNDS {
        let weighted = squares.iter().map(|(square, noise)| {
            let known = (spread + noise).max(f64::MIN_POSITIVE).powi(-2);
            (known, square - noise)
        });
        let next = weighted_mean(weighted).unwrap_or(0.0).max(0.0);
        let has_settled = (next - spread).abs() < SETTLED;
        spread = next;
        if has_settled {
            break;
        }
    }
    spread
}

#[cfg(test)]
mod tests {
    use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};

    use super::*;
    use crate::mapping::fit::{difficulty::difficulties, outcomes::tests::outcomes, tally::Tally};

    /// Cells of so many scores each, all with this variance within.
    fn sums(means: &[&[f64]], scores: &[&[f64]], variance: f64) -> Sums {
        let shape = (means.len(), means[0].len());
        let cells = Array2::from_shape_fn(shape, |(e, c)| {
            let (count, mean) = (scores[e][c], means[e][c]);
            Moments {
                scores: count,
                adjusted: count * mean,
                squares: count * (mean * mean + variance),
                left: count,
            }
        });
        Sums {
            cells,
            rows: vec![1.0; shape.1],
            difficulty: vec![0.0; shape.1],
        }
    }

    const MEANS: [&[f64]; 2] = [&[0.9, 0.5, 0.4], &[0.5, 0.5, 0.6]];

    #[test]
    fn the_fewer_scores_the_more_a_cell_is_drawn_to_the_plane() {
        let trust = |count: f64| {
            let row = [count; 3];
            let sums = sums(&MEANS, &[&row, &row], 0.2);
            let cells = Cells::of(&sums, &[1.0 / 3.0; 3]);
            let plane = cells.scores(Caution(f64::INFINITY))[[0, 0]];
            (cells.scores(Caution(1.0))[[0, 0]] - plane) / (0.9 - plane)
        };
        let trusts = [3.0, 10.0, 100.0, 10_000.0].map(trust);
        assert!(
            trusts.is_sorted() && trusts[0] < 0.6 && trusts[3] > 0.99,
            "{trusts:?}"
        );
    }

    /// How much cells are trusted on average whose means really differ by this deviation, two experts on the same 40 rows of
    /// each of 30 categories.
    fn trust(deviation: f64) -> f64 {
        const SEEDS: u64 = 20;
        let of_seed = |seed| {
            let mut draw = SmallRng::seed_from_u64(seed);
            let mut lines = Vec::new();
            for category in 0..30 {
                let own =
                    [(); 2].map(|()| deviation * 3_f64.sqrt() * (2.0 * draw.random::<f64>() - 1.0));
                for row in 0..40 {
                    let mut score = |right: f64| u8::from(draw.random::<f64>() < right);
                    let (a, b) = (score(0.5 + own[0]), score(0.5 + own[1]));
                    lines.push(format!(
                        r#"{{"id": "{category}/{row}", "prompt": "{category} {row}", "category": "c{category}", "scores": {{"a": {a}, "b": {b}}}}}"#
                    ));
                }
            }
            let outcomes = outcomes(&lines);
            let once = vec![1; outcomes.rows()];
            let blocks = vec![0; outcomes.rows()];
            let tally = Tally::of(&outcomes, &difficulties(&outcomes), &blocks, &once);
            let cells = Cells::of(tally.all(), &[1.0 / 30.0; 30]);
            let trusts = cells
                .noise
                .mapv(|noise| cells.spread / (cells.spread + noise));
            trusts.mean().unwrap()
        };
        (0..SEEDS).map(of_seed).sum::<f64>() / SEEDS as f64
    }

    #[test]
    fn cells_are_trusted_by_what_they_really_differ_though_experts_are_compared_row_by_row() {
        // The noise of a cell's mean of 40 scores is 0.25 / 40.
        let (none, some) = (trust(0.0), trust(0.08));
        let expected = 0.0064 / (0.0064 + 0.25 / 40.0);
        assert!(none < 0.15, "they do not differ: {none}");
        assert!(
            (some - expected).abs() < 0.12,
            "{some}, expected {expected}"
        );
    }

    #[test]
    fn without_trust_one_expert_is_the_best_everywhere() {
        let row = [10.0; 3];
        let cells = Cells::of(&sums(&MEANS, &[&row, &row], 0.2), &[1.0 / 3.0; 3]);
        let scores = cells.scores(Caution(f64::INFINITY));
        assert_eq!(cells.best_single(|_| true), 0);
        assert!((0..3).all(|c| scores[[0, c]] > scores[[1, c]]));
        // The plane goes through the means of experts and of categories.
        assert!(
            (scores.row(0).sum() - 1.8).abs() < 1e-9 && (scores.column(0).sum() - 1.4).abs() < 1e-9
        );
    }

    #[test]
    fn a_cell_without_scores_lies_on_the_plane_and_an_untried_expert_is_not_the_best() {
        let counts: [&[f64]; 3] = [&[0.0, 50.0, 50.0], &[50.0; 3], &[0.0; 3]];
        let means: [&[f64]; 3] = [&[0.0, 0.8, 0.7], &[0.4, 0.6, 0.5], &[0.0; 3]];
        let cells = Cells::of(&sums(&means, &counts, 0.1), &[1.0 / 3.0; 3]);
        let scores = cells.scores(Caution(1.0));
        assert!(
            (0.59..0.6).contains(&scores[[0, 0]]),
            "0.4 and what the expert has over the other, of which less is known: {}",
            scores[[0, 0]]
        );
        assert_eq!(cells.best_single(|_| true), 0);
        assert!(scores.iter().all(|score| score.is_finite()));
        let behind = |c: usize| scores[[2, c]] < scores[[0, c]].min(scores[[1, c]]) - 100.0 * 1e-6;
        assert!((0..3).all(behind), "{scores}");
        assert_ne!(cells.best_single(|expert| expert == 2), 2);
    }

    #[test]
    fn an_expert_that_was_hardly_tried_is_not_the_best_by_one_lucky_score() {
        let means: [&[f64]; 3] = [&[0.7, 0.5, 0.6], &[0.5, 0.4, 0.3], &[1.0, 0.0, 0.0]];
        let counts: [&[f64]; 3] = [&[100.0; 3], &[100.0; 3], &[1.0, 0.0, 0.0]];
        let cells = Cells::of(&sums(&means, &counts, 0.2), &[1.0 / 3.0; 3]);
        let scores = cells.scores(Caution(1.0));
        assert_eq!(cells.best_single(|_| true), 0);
        assert!((0..3).all(|c| scores[[2, c]] < scores[[0, c]]), "{scores}");
        // Two experts do not tell how far experts differ, and a tie would go to whoever is cheaper.
        let cells = Cells::of(
            &sums(&[means[0], means[2]], &[counts[0], counts[2]], 0.2),
            &[1.0 / 3.0; 3],
        );
        let scores = cells.scores(Caution(f64::INFINITY));
        assert!((0..3).all(|c| scores[[1, c]] < scores[[0, c]]), "{scores}");
    }

    #[test]
    fn many_scores_of_one_category_tell_of_that_category() {
        let means: [&[f64]; 3] = [&[0.7, 0.3, 0.6], &[0.4, 0.6, 0.3], &[0.9, 0.0, 0.0]];
        let counts: [&[f64]; 3] = [&[200.0; 3], &[200.0; 3], &[200.0, 0.0, 0.0]];
        let cells = Cells::of(&sums(&means, &counts, 0.2), &[1.0 / 3.0; 3]);
        let scores = cells.scores(Caution(1.0));
        assert!((scores[[2, 0]] - 0.9).abs() < 0.03, "{scores}");
        assert!(scores[[2, 0]] > scores[[0, 0]], "{scores}");
    }

    #[test]
    fn where_every_score_is_there_levels_are_the_means_over_the_categories() {
        let row = [10.0; 3];
        let cells = Cells::of(&sums(&MEANS, &[&row, &row], 0.2), &[1.0 / 3.0; 3]);
        let apart = cells.level[0] - cells.level[1];
        assert!((apart - (0.6 - 1.6 / 3.0)).abs() < 1e-9, "{apart}");
    }

    #[test]
    fn cells_that_differ_by_noise_alone_are_not_believed_to_differ() {
        let means: [&[f64]; 2] = [&[0.51, 0.50, 0.49], &[0.50, 0.49, 0.50]];
        let row = [10.0; 3];
        let sums = sums(&means, &[&row, &row], 0.25);
        let cells = Cells::of(&sums, &[1.0 / 3.0; 3]);
        assert_eq!(
            cells.scores(Caution(1.0)),
            cells.scores(Caution(f64::INFINITY))
        );
    }
}
