//! From rows and what the encoders say of them to a model: both tiers, their calibration, and when which is asked.
//!
//! Every figure and threshold is taken from rows that were held back from the fit that judges them: the cheap tier's
//! logits that the full tier learns from, the calibration, the cascade, the confidences that bound the risk.

mod cascade;
mod figures;
mod material;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashSet};

use ndarray::{Array2, ArrayView1, ArrayView2, Axis};

pub use self::material::{Material, Readings};

use super::{
    dataset::{Dataset, Key},
    stem,
};
use crate::{
    ids::{CategoryId, OUT_OF_DOMAIN},
    router::{
        artefact::{Cascade, FileFigures, TierReport},
        calibration::{self, Calibration},
        head::{self, FitError, Head, Parameters, Penalty, Regularisation, Rows, Targets},
        lexical::Lexicon,
        model::{self, FullTier, Model, Tier, Transformer, silence},
        novelty::Novelty,
    },
};

/// Penalties to choose from, times the number of rows: the more rows, the less each weight has to be held back.
const PENALTIES: [f64; 3] = [0.3, 0.1, 0.03];

/// The same for sparse features, of which there are many more than rows, each in few of them.
const PENALTIES_SPARSE: [f64; 3] = [0.1, 0.03, 0.01];

/// How much more than a sparse weight a dense one beside it is held back. A static vector is in every row, and would
/// otherwise take over what rare words say better: with one penalty for both, the vector made the cheap tier worse.
const DENSE_TO_SPARSE: f64 = 10.0;

/// The same where the penalty pulls to what another model learned from many more rows.
const PENALTIES_ON_TOP: [f64; 3] = [10.0, 3.0, 1.0];

/// Share of a row's probability that is spread over all classes, so that no weight grows without end.
const SMOOTHING: f32 = 0.02;

/// What a row's own label says to the cheap tier where there is a teacher; the rest is the teacher's. With 0.15, 0.3, 0.5
/// and 0.7 of 19,902 rows held back 0.898, 0.899, 0.902 and 0.902 were right.
const LABEL_SHARE: f32 = 0.5;

/// What a teacher's logits are divided by: how it ranks the classes that are wrong is worth learning too (Hinton et al.
/// 2015, "Distilling the Knowledge in a Neural Network").
const TEACHER_TEMPERATURE: f32 = 2.0;

/// What another router is trained on top of.
#[derive(Clone, Copy)]
pub struct OnTop<'m> {
    /// Its model.
    pub model: &'m Model,
    /// The rows that it was trained on as well, by their keys.
    pub seen: &'m HashSet<Key>,
}

/// A model, and how it did.
pub struct Trained {
    /// The model.
    pub model: Model,
    /// The cheap tier.
    pub cheap: Option<TierReport>,
    /// The full tier.
    pub full: Option<TierReport>,
    /// Both together.
    pub cascade: Cascade,
    /// How it did on each file of labels, if there were several.
    pub by_file: BTreeMap<String, FileFigures>,
    /// Confidence of each row, held back, and whether the category was right; 0 for rows taken to be out of domain. Empty where
    /// there are too few rows to hold any back.
    pub held_back: Vec<(f32, bool)>,
    /// Rows that the model below was trained on as well.
    pub seen: usize,
    /// What is said of each row, held back: rows × classes.
    pub probabilities: Array2<f32>,
}

/// Fits a model, on top of another one where there is a `base`. `step` is called [`steps`] times.
///
/// A weight keeps to what it was in the base unless the rows speak against it; classes that the base does not know are
/// added to it.
///
/// # Errors
/// [`FitError`] says what is wrong with the rows.
pub fn fit(
    dataset: &Dataset,
    material: &Material,
    base: Option<OnTop<'_>>,
    step: &(dyn Fn() + Sync),
) -> Result<Trained, FitError> {
    let problem = Problem::new(dataset, base);
    let mut cheap = problem.cheap(material, step)?;
    let full = match &material.readings {
        Some(readings) => Some(problem.full(cheap.as_ref(), readings, step)?),
        None => None,
    };
    let lexicon = cheap.as_mut().and_then(|cheap| cheap.lexicon.take());
    let tiers = (
        cheap.as_ref().map(|cheap| &cheap.fitted),
        full.as_ref().map(|(fitted, _)| fitted),
    );
    let shared = problem.cascade(tiers.0, tiers.1);
    let held_back = problem.confidences(&shared.probabilities);
    let of_tiers = (
        tiers.0.map(|tier| &tier.probabilities),
        tiers.1.map(|tier| &tier.probabilities),
    );
    let by_file = problem.by_file(of_tiers, &shared);
    let settled_from = shared.cascade.settled_from.unwrap_or(f32::INFINITY);
    let (cheap_tier, cheap) = cheap
        .map(|cheap| (cheap.fitted.tier, cheap.fitted.report))
        .unzip();
    let (full_tier, full) = full
        .map(|(fitted, parts)| (parts.with(fitted.tier), fitted.report))
        .unzip();
    Ok(Trained {
        seen: dataset.labels.len() - problem.unseen.len(),
        model: Model {
            outside: model::outside(&dataset.categories),
            categories: dataset.categories.clone(),
            silent: problem.silent,
            lexicon,
            cheap: cheap_tier,
            full: full_tier,
            settled_from,
        },
        cheap,
        full,
        cascade: shared.cascade,
        by_file,
        held_back,
        probabilities: shared.probabilities,
    })
}

/// How often [`fit`] calls back, unless some class has too few rows for all folds.
pub fn steps(material: &Material) -> u64 {
    let tiers = usize::from(material.sparse || material.vectors.is_some())
        + usize::from(material.readings.is_some());
    (tiers * (head::FOLDS_MAX + 1)) as u64
}

/// The rows, and how they are held back.
struct Problem<'d> {
    dataset: &'d Dataset,
    base: Option<Base<'d>>,
    targets: Targets,
    folds: Vec<usize>,
    out_of_domain: Option<usize>,
    /// See [`Dataset::silent`].
    silent: Vec<usize>,
    /// The class of each row as it is told: what is of a silent one is out of domain.
    told: Vec<usize>,
    /// Rows that the base was not trained on.
    unseen: Vec<usize>,
}

/// The model that another one is fitted on top of.
struct Base<'d> {
    model: &'d Model,
    /// Each class's place among the model's.
    old_of: Vec<Option<usize>>,
}

impl Base<'_> {
    /// Whether the classes are the model's, in the same order.
    fn has_same_classes(&self) -> bool {
        let same = self
            .old_of
            .iter()
            .enumerate()
            .all(|(new, old)| *old == Some(new));
        same && self.old_of.len() == self.model.categories.len()
    }
}

/// A tier with what it says of rows held back.
struct FittedTier {
    tier: Tier,
    report: TierReport,
    /// rows × classes, by heads that have not seen the row.
    logits: Array2<f32>,
    /// The same, calibrated on other rows.
    probabilities: Array2<f32>,
}

struct CheapTier {
    fitted: FittedTier,
    lexicon: Option<Lexicon>,
}

/// The full tier but for its head.
struct FullParts {
    transformer: Transformer,
    novelty: Option<Novelty>,
}

impl FullParts {
    fn with(self, tier: Tier) -> FullTier {
        FullTier {
            tier,
            transformer: self.transformer,
            novelty: self.novelty,
        }
    }
}

impl<'d> Problem<'d> {
    fn new(dataset: &'d Dataset, base: Option<OnTop<'d>>) -> Self {
        let classes = dataset.categories.len();
        let is_unseen = |row: &usize| base.is_none_or(|it| !it.seen.contains(&dataset.keys[*row]));
        let unseen = (0..dataset.labels.len()).filter(is_unseen).collect();
        let base = base.map(|OnTop { model, .. }| {
            let place = |new: &CategoryId| model.categories.iter().position(|old| old == new);
            Base {
                model,
                old_of: dataset.categories.iter().map(place).collect(),
            }
        });
        let is_outside = |category: &CategoryId| category.as_str() == OUT_OF_DOMAIN;
        let out_of_domain = dataset.categories.iter().position(is_outside);
        let is_silent = |class: &usize| dataset.silent.contains(&dataset.categories[*class]);
        let silent: Vec<usize> = (0..classes).filter(is_silent).collect();
        let told = dataset.labels.iter().map(|label| match out_of_domain {
            Some(outside) if silent.contains(label) => outside,
            _ => *label,
        });
        let questions = stem::questions(dataset.texts.iter().map(String::as_str));
        Self {
            told: told.collect(),
            folds: head::folds(&dataset.labels, &questions, classes),
            targets: Targets::balanced(dataset.labels.clone(), classes, SMOOTHING),
            silent,
            unseen,
            out_of_domain,
            base,
            dataset,
        }
    }

    /// Gives what is said of silent classes to what is out of domain.
    fn silence(&self, probabilities: &mut Array2<f32>) {
        let Some(outside) = self.out_of_domain.filter(|_| !self.silent.is_empty()) else {
            return;
        };
        for mut row in probabilities.rows_mut() {
            let mut of_row = row.to_vec();
            silence(&mut of_row, &self.silent, outside);
            row.assign(&ArrayView1::from(&of_row));
        }
    }

    fn classes(&self) -> usize {
        self.dataset.categories.len()
    }

    fn cheap(
        &self,
        material: &Material,
        step: &(dyn Fn() + Sync),
    ) -> Result<Option<CheapTier>, FitError> {
        if !material.sparse && material.vectors.is_none() {
            return Ok(None);
        }
        let texts = || self.dataset.texts.iter().map(String::as_str);
        let known = self
            .base
            .as_ref()
            .and_then(|base| base.model.lexicon.clone());
        let new = || Lexicon::fit(texts(), head::bucket_bits(self.classes()));
        let lexicon = material.sparse.then(|| known.unwrap_or_else(new));
        let sparse: Vec<_> = match &lexicon {
            Some(lexicon) => texts().map(|text| lexicon.features(text)).collect(),
            None => Vec::new(),
        };
        let rows = self.dataset.texts.len();
        let vectors = material
            .vectors
            .clone()
            .unwrap_or_else(|| Array2::zeros((rows, 0)));
        let buckets = lexicon.as_ref().map_or(0, |lexicon| lexicon.idf().len());
        let rows = Rows::new(&sparse, buckets, vectors);
        let teacher = match &material.readings {
            Some(Readings::Tuned { teacher, .. }) => teacher.as_ref(),
            _ => None,
        };
        let targets = teacher.map_or_else(
            || self.targets.clone(),
            |teacher| self.taught(teacher.view()),
        );
        let old = self
            .base
            .as_ref()
            .and_then(|base| base.model.cheap.as_ref());
        let fitted = self.tier((&rows, &targets), (old, 0), &[], step)?;
        Ok(Some(CheapTier { fitted, lexicon }))
    }

    /// The labels, softened by what a teacher says.
    fn taught(&self, teacher: ArrayView2<'_, f32>) -> Targets {
        let mut targets = self.targets.clone();
        for (mut wanted, logits) in targets
            .probabilities
            .rows_mut()
            .into_iter()
            .zip(teacher.rows())
        {
            let soft = calibration::softmax(&logits.to_vec(), TEACHER_TEMPERATURE);
            wanted *= LABEL_SHARE;
            wanted.scaled_add(1.0 - LABEL_SHARE, &ArrayView1::from(&soft));
        }
        targets
    }

    fn full(
        &self,
        cheap: Option<&CheapTier>,
        readings: &Readings,
        step: &(dyn Fn() + Sync),
    ) -> Result<(FittedTier, FullParts), FitError> {
        let old = self.base.as_ref().and_then(|base| base.model.full.as_ref());
        let (transformer, features, novelty) = match readings {
            Readings::Layers { vectors, width } => {
                let means = match old.map(|old| &old.transformer) {
                    Some(Transformer::Layers { means }) => means.clone(),
                    _ => vectors.mean_axis(Axis(0)).unwrap_or_default().to_vec(),
                };
                let features = centred(vectors.view(), &means, *width);
                let first = vectors.slice(ndarray::s![.., ..*width]);
                (Transformer::Layers { means }, features, self.novelty(first))
            }
            Readings::Tuned { logits, head, .. } => (head.clone(), logits.clone(), None),
        };
        let mut parts: Vec<Array2<f32>> = cheap
            .iter()
            .map(|cheap| cheap.fitted.logits.clone())
            .collect();
        parts.push(features);
        // Logits are many times longer than vectors of length 1, and the optimiser would hardly see the latter.
        let mut factors = Vec::new();
        for part in parts.iter_mut().filter(|_| self.base.is_none()) {
            let factor = 1.0 / mean_length(part).max(f32::MIN_POSITIVE);
            part.mapv_inplace(|value| value * factor);
            factors.extend(vec![factor; part.ncols()]);
        }
        let views: Vec<_> = parts.iter().map(|part| part.view()).collect();
        // Every part has a row for each row of the dataset.
        let dense = ndarray::concatenate(Axis(1), &views).unwrap_or_default();
        let rows = Rows::new(&[], 0, dense);
        let own = match &self.base {
            Some(base) if cheap.is_some() => base.model.categories.len(),
            _ => 0,
        };
        let old_tier = old.map(|old| &old.tier);
        let fitted = self.tier((&rows, &self.targets), (old_tier, own), &factors, step)?;
        let parts = FullParts {
            transformer,
            novelty: old.map_or(novelty, |old| old.novelty.clone()),
        };
        Ok((fitted, parts))
    }

    /// A detector is needed only where there are no strange rows to learn from.
    fn novelty(&self, vectors: ArrayView2<'_, f32>) -> Option<Novelty> {
        match self.out_of_domain {
            Some(_) => None,
            None => Novelty::fit(vectors, &self.dataset.labels, &self.folds),
        }
    }

    /// Chooses the penalty by cross-validation, fits all rows, and calibrates on rows held back. The `old` tier's head
    /// has `own` dense features that are its classes'; the first dense features were multiplied by `factors`.
    fn tier(
        &self,
        (rows, targets): (&Rows, &Targets),
        (old, own): (Option<&Tier>, usize),
        factors: &[f32],
        step: &(dyn Fn() + Sync),
    ) -> Result<FittedTier, FitError> {
        let old = self.base.as_ref().zip(old);
        let prior = old.map(|(base, old)| Parameters::of_head(&old.head, &base.old_of, own));
        let penalties = penalties(rows, prior.is_some());
        let regularisation = Regularisation {
            penalties: &penalties,
            prior: prior.as_ref(),
        };
        let held = head::held_back(rows, targets, &self.folds, regularisation, step)?;
        let fitted = head::fit(rows, targets, held.penalty, prior.as_ref())?;
        step();
        let labels = &self.dataset.labels;
        let (calibration, trials) = match old {
            // It was calibrated on many more rows than there are now.
            Some((base, old)) if base.has_same_classes() => (old.calibration.clone(), Vec::new()),
            _ => calibration::choose(held.logits.view(), labels, &self.folds),
        };
        let mut probabilities = if trials.is_empty() {
            calibrated(&calibration, held.logits.view())
        } else {
            calibration::held_back(&calibration, held.logits.view(), labels, &self.folds)
        };
        self.silence(&mut probabilities);
        Ok(FittedTier {
            report: TierReport {
                calibration: calibration.clone(),
                trials,
                l2_sparse: held.penalty.sparse,
                l2_dense: held.penalty.dense,
                figures: self.figures(probabilities.view()),
            },
            tier: Tier {
                head: Head::new(&fitted.parameters.of_unscaled(factors)),
                calibration,
            },
            logits: held.logits,
            probabilities,
        })
    }
}

/// What to choose from.
fn penalties(rows: &Rows, has_prior: bool) -> [Penalty; 3] {
    let (strengths, dense_to_sparse) = match (has_prior, rows.bucket_count()) {
        (true, _) => (PENALTIES_ON_TOP, 1.0),
        (false, 0) => (PENALTIES, 1.0),
        (false, _) => (PENALTIES_SPARSE, DENSE_TO_SPARSE),
    };
    strengths.map(|strength| {
        let sparse = strength / rows.len().max(1) as f64;
        Penalty {
            sparse,
            dense: sparse * dense_to_sparse,
        }
    })
}

#[expect(clippy::cast_precision_loss, reason = "a count of rows")]
fn mean_length(rows: &Array2<f32>) -> f32 {
    let lengths = rows.rows().into_iter().map(|row| row.dot(&row).sqrt());
    lengths.sum::<f32>() / rows.nrows().max(1) as f32
}

fn calibrated(calibration: &Calibration, logits: ArrayView2<'_, f32>) -> Array2<f32> {
    let mut probabilities = logits.to_owned();
    for mut row in probabilities.rows_mut() {
        let of_row = calibration.probabilities(&row.to_vec());
        row.assign(&ArrayView1::from(&of_row));
    }
    probabilities
}

/// Each layer's vector less its mean, brought to length 1: as [`Transformer::features`] does it at run time.
fn centred(vectors: ArrayView2<'_, f32>, means: &[f32], width: usize) -> Array2<f32> {
    let mut features = &vectors - &ArrayView1::from(means);
    for mut row in features.rows_mut() {
        for mut layer in row.axis_chunks_iter_mut(Axis(0), width) {
            let length = layer.dot(&layer).sqrt();
            if length > 0.0 {
                layer /= length;
            }
        }
    }
    features
}
