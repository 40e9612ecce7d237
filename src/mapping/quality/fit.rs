//! Scores of questions → a quality model. Pure: the same rows and seed give the same bytes.

use ndarray::{Array2, ArrayView2, Axis};
use rayon::prelude::*;

pub use super::solver::Strength;
use super::{
    calibration::Calibration,
    form::{self, Form},
    model::{Features, QualityModel},
    prefer::{Costs, Preferences},
    solver::{self, Task, Weights},
};
use crate::{
    ids::{CategoryId, ExpertId},
    mapping::fit::outcomes::Outcomes,
    query::Query,
    router::{
        head::{self, Head, Quantised, Rows},
        lexical::Lexicon,
        narrow,
    },
};

/// Binary logarithm of the most buckets of words. Twice or a quarter as many predict no better.
const BUCKET_BITS_MAX: u32 = 15;

/// Experts of one model: the weights of more would be pruned as those of classes are, which changes what they say.
const EXPERTS_MAX: usize = 256;

/// Expected scores nearer to 0 or 1 than this are as near: a logit must be finite.
const SCORE_MARGIN: f64 = 0.01;

/// Questions with what each expert scored, ready to be learnt from.
pub struct Sample<'o> {
    experts: &'o [ExpertId],
    categories: &'o [CategoryId],
    /// As they are read at run time.
    texts: Vec<String>,
    /// Of each text.
    measures: Vec<Vec<f32>>,
    category_of: Vec<usize>,
    /// Rows × experts, 0 to 1; NaN where an expert was not tried.
    scores: Array2<f32>,
    range: ScoreRange,
}

/// The scale of scores: 0 to 1 is all of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScoreRange {
    /// The least score.
    pub least: f64,
    /// The greatest score.
    pub greatest: f64,
}

/// Why no quality model can be fitted.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum QualityError {
    /// There is nothing to choose, or too much.
    #[error(
        "a quality model chooses between 2 and {EXPERTS_MAX} experts, and the outcomes have {experts}; name those that it is to choose from with --experts"
    )]
    Experts {
        /// Experts with scores.
        experts: usize,
    },
    /// Nothing tells the experts or the questions apart.
    #[error("every score is {score}; there is nothing to predict")]
    OneScore {
        /// The score.
        score: f64,
    },
    /// The weights are not finite.
    #[error("the fit of {rows} rows did not give finite weights")]
    NotFinite {
        /// Rows.
        rows: usize,
    },
}

impl<'o> Sample<'o> {
    /// Takes the texts and scores out of outcomes that were read with their prompts.
    ///
    /// # Errors
    /// There are too few experts or too many, or all scores are equal.
    pub fn of(outcomes: &'o Outcomes) -> Result<Self, QualityError> {
        let experts = outcomes.experts();
        if !(2..=EXPERTS_MAX).contains(&experts.len()) {
            return Err(QualityError::Experts {
                experts: experts.len(),
            });
        }
        let rows = 0..outcomes.rows();
        let text = |row| Query::from_text(outcomes.prompt(row)).text;
        let texts: Vec<String> = rows.clone().into_par_iter().map(text).collect();
        let range = ScoreRange::of(outcomes)?;
        let mut scores = Array2::from_elem((outcomes.rows(), experts.len()), f32::NAN);
        for expert in 0..experts.len() {
            for (row, score) in outcomes.scores(expert) {
                scores[[row, expert]] = range.share(score);
            }
        }
        Ok(Self {
            experts,
            categories: outcomes.categories(),
            measures: texts.par_iter().map(|text| form::measures(text)).collect(),
            texts,
            category_of: rows.map(|row| outcomes.category(row)).collect(),
            scores,
            range,
        })
    }

    /// How many questions there are.
    pub fn rows(&self) -> usize {
        self.texts.len()
    }

    /// Rows × experts, 0 to 1; NaN where an expert was not tried.
    pub fn scores(&self) -> ArrayView2<'_, f32> {
        self.scores.view()
    }

    /// The category of each row.
    pub fn category_of(&self) -> &[usize] {
        &self.category_of
    }

    /// What 0 and 1 are.
    pub fn range(&self) -> ScoreRange {
        self.range
    }

    /// Fits the rows `at` some places, once for each strength. `expected`: the scores that are to be expected of experts in
    /// categories (experts by categories, on the scores' own scale), which features then correct.
    ///
    /// # Errors
    /// What is found is not finite.
    pub(super) fn fit(
        &self,
        at: &[usize],
        expected: &Array2<f64>,
        strengths: &[Strength],
        seed: u64,
    ) -> Result<Vec<QualityModel>, QualityError> {
        let bits = head::bucket_bits(self.experts.len()).min(BUCKET_BITS_MAX);
        let lexicon = Lexicon::fit(at.iter().map(|row| self.texts[*row].as_str()), bits);
        let measures: Vec<&[f32]> = at.iter().map(|row| &*self.measures[*row]).collect();
        let form = Form::fit(&measures, seed);
        let features = self.features(at, &lexicon, &form);
        let dense = Array2::from_shape_fn((at.len(), form.dimensions()), |(row, dimension)| {
            features[row].dense[dimension]
        });
        let sparse: Vec<_> = features
            .into_iter()
            .map(|features| features.sparse)
            .collect();
        let rows = Rows::new(&sparse, lexicon.idf().len(), dense);
        let categories: Vec<usize> = at.iter().map(|row| self.category_of[*row]).collect();
        let scores = self.scores.select(Axis(0), at);
        let starts = expected.t().mapv(|score| self.range.logit(score));
        let task = Task {
            rows: &rows,
            categories: &categories,
            starts: starts.view(),
            scores: scores.view(),
        };
        let fitted = strengths.par_iter().map(|strength| {
            let weights = solver::fit(task, *strength, seed);
            self.model(&rows, weights, (lexicon.clone(), form.clone()))
                .ok_or(QualityError::NotFinite { rows: at.len() })
        });
        fitted.collect()
    }

    fn features(&self, at: &[usize], lexicon: &Lexicon, form: &Form) -> Vec<Features> {
        at.par_iter()
            .map(|row| Features {
                sparse: lexicon.features(&self.texts[*row]),
                dense: form.features(&self.measures[*row]),
            })
            .collect()
    }

    fn model(
        &self,
        rows: &Rows,
        mut weights: Weights,
        (lexicon, form): (Lexicon, Form),
    ) -> Option<QualityModel> {
        let experts = self.experts.len();
        let mut sparse = vec![0.0; rows.bucket_count() * experts];
        for (bucket, of_bucket) in rows.used().iter().zip(weights.sparse.chunks_exact(experts)) {
            sparse[*bucket as usize * experts..][..experts].copy_from_slice(of_bucket);
        }
        let bias = centre(&mut weights.categories, experts);
        let finite = weights.categories.iter().all(|shift| shift.is_finite());
        let head = Head::from_parts(Quantised::new(&sparse, experts), weights.dense, bias)?;
        finite.then(|| QualityModel {
            experts: self.experts.to_vec(),
            categories: self.categories.to_vec(),
            costs: None,
            preferences: Preferences::default(),
            lexicon,
            form,
            head,
            of_categories: weights.categories,
        })
    }

    /// The logits that a model gives some rows: rows × experts.
    pub(super) fn logits(&self, model: &QualityModel, at: &[usize]) -> Array2<f32> {
        let features = self.features(at, &model.lexicon, &model.form);
        let rows: Vec<Vec<f32>> = at
            .par_iter()
            .zip(&features)
            .map(|(row, features)| model.logits(features, self.category_of[*row]))
            .collect();
        Array2::from_shape_fn((at.len(), self.experts.len()), |(row, expert)| {
            rows[row][expert]
        })
    }
}

impl QualityModel {
    /// The model with everything that a choice needs: calibrated logits, costs, what the words for λ mean, and which expert
    /// may answer which category (experts by categories).
    #[must_use]
    pub(super) fn completed(
        mut self,
        calibration: &Calibration,
        (costs, preferences): (Option<Costs>, Preferences),
        allowed: &Array2<bool>,
    ) -> Self {
        let experts = calibration.experts();
        let scale = |at: usize| experts[at % experts.len()].scale;
        let sparse = self.head.sparse();
        let rows = sparse.values.chunks(experts.len()).zip(&sparse.scales);
        let matrix = rows.flat_map(|(row, unit)| {
            let row = row.iter().enumerate();
            row.map(move |(at, value)| f32::from(*value) * unit * scale(at))
        });
        let sparse = Quantised::new(&matrix.collect::<Vec<f32>>(), experts.len());
        let dense = self.head.dense().iter().enumerate();
        let dense = dense.map(|(at, weight)| weight * scale(at)).collect();
        let bias = self.head.bias().iter().zip(experts);
        let bias = bias.map(|(bias, platt)| platt.apply(*bias)).collect();
        // What is finite stays so, and the shapes are the same.
        self.head = Head::from_parts(sparse, dense, bias).unwrap_or(self.head);
        for (at, shift) in self.of_categories.iter_mut().enumerate() {
            let may_answer = allowed[[at % experts.len(), at / experts.len()]];
            *shift = if may_answer {
                *shift * scale(at)
            } else {
                f32::NEG_INFINITY
            };
        }
        self.costs = costs;
        self.preferences = preferences;
        self
    }
}

impl ScoreRange {
    /// 0 to 1 where all scores lie within it, else the least and the greatest that occur.
    fn of(outcomes: &Outcomes) -> Result<Self, QualityError> {
        let (mut least, mut greatest) = (f64::INFINITY, f64::NEG_INFINITY);
        for expert in 0..outcomes.experts().len() {
            for (_, score) in outcomes.scores(expert) {
                least = least.min(score);
                greatest = greatest.max(score);
            }
        }
        if least >= greatest {
            return Err(QualityError::OneScore { score: least });
        }
        Ok(if least >= 0.0 && greatest <= 1.0 {
            Self {
                least: 0.0,
                greatest: 1.0,
            }
        } else {
            Self { least, greatest }
        })
    }

    /// From 0 to 1 to the scores' own scale.
    pub fn score(self, share: f64) -> f64 {
        self.least + self.width() * share
    }

    /// How far the scale reaches.
    pub fn width(self) -> f64 {
        self.greatest - self.least
    }

    /// From the scores' own scale to 0 to 1.
    pub(super) fn share(self, score: f64) -> f32 {
        narrow(self.part(score))
    }

    fn part(self, score: f64) -> f64 {
        (score - self.least) / self.width()
    }

    fn logit(self, score: f64) -> f32 {
        let share = self.part(score).clamp(SCORE_MARGIN, 1.0 - SCORE_MARGIN);
        narrow((share / (1.0 - share)).ln())
    }
}

/// Takes each expert's mean over the categories out of what they add: it is what holds without one.
fn centre(of_categories: &mut [f32], experts: usize) -> Vec<f32> {
    #[expect(clippy::cast_precision_loss, reason = "a count of categories")]
    let share = 1.0 / (of_categories.len() / experts).max(1) as f32;
    let mut means = vec![0.0; experts];
    for row in of_categories.chunks_exact(experts) {
        for (mean, shift) in means.iter_mut().zip(row) {
            *mean += shift * share;
        }
    }
    for row in of_categories.chunks_exact_mut(experts) {
        for (shift, mean) in row.iter_mut().zip(&means) {
            *shift -= mean;
        }
    }
    means
}
