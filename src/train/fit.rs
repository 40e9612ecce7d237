//! From rows and what the encoders say of them to a model: both tiers, their calibration, and when which is asked.
//!
//! Every figure and threshold is taken from rows that were held back from the heads that judge them: the cheap tier's weight
//! in the full tier, the calibration, the cascade, the confidences that bound the risk.

mod cascade;
mod figures;
mod material;
mod pool;
mod said;
#[cfg(test)]
mod tests;
mod tiers;

use std::collections::{BTreeMap, HashSet};

use ndarray::{Array2, ArrayView1};

pub use self::{
    material::{Material, Readings},
    said::said,
};

use self::tiers::{CheapTier, FullHead};
use super::dataset::{Dataset, Key, Role};
use crate::{
    ids::{CategoryId, OUT_OF_DOMAIN},
    router::{
        artefact::{Cascade, FileFigures, TierReport},
        head::{self, FitError, Targets},
        model::{self, Model, silence},
    },
};

/// Share of a row's probability that is spread over all classes, so that no weight grows without end.
const SMOOTHING: f32 = 0.02;

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
    /// How it did on each file of labels, unless one had all rows.
    pub by_file: BTreeMap<String, FileFigures>,
    /// Confidence of each row that is asked, held back, and whether the category was right; 0 for rows taken to be out
    /// of domain. Empty where there are too few rows to hold any back.
    pub held_back: Vec<(f32, bool)>,
    /// Rows that the model below was trained on as well.
    pub seen: usize,
    /// What is said of each row that is asked, held back: rows × classes.
    pub probabilities: Array2<f32>,
}

/// Fits a model, on top of another one where there is a `base`. `step` is called [`steps`] times.
///
/// A weight keeps to what it was in the base unless the rows speak against it; classes that the base does not know are
/// added to it. Further rows and excerpts ([`Role`]) end with the cheap tier, and rows whose class was guessed with the heads of both
/// tiers and what these read: all else is fitted and measured on what is asked. No row may be unlabelled.
///
/// # Errors
/// [`FitError`] says what is wrong with the rows.
pub fn fit(
    dataset: &Dataset,
    material: &Material,
    base: Option<OnTop<'_>>,
    step: &(dyn Fn() + Sync),
) -> Result<Trained, FitError> {
    debug_assert!(dataset.of_role(Role::Unlabelled).is_empty());
    let problem = Problem::new(dataset, base);
    let cheap = problem.cheap(material, step)?;
    let folds = |rows: &[usize]| rows.iter().map(|row| problem.folds[*row]).collect();
    let taught = dataset.of_roles(&[Role::Asked, Role::Guessed]);
    let full = match &material.readings {
        Some(readings) if taught.len() == dataset.labels.len() => {
            Some(problem.full_head(readings, step)?)
        }
        Some(readings) => {
            let of_taught = dataset.of(&taught);
            let of_taught = Problem::folded(&of_taught, base, folds(&taught));
            Some(of_taught.full_head(&readings.of(&taught), step)?)
        }
        None => None,
    };
    let asked = dataset.asked();
    if asked.len() == dataset.labels.len() {
        return Ok(problem.rest(cheap, full));
    }
    let of_asked = dataset.of(&asked);
    let of_asked = Problem::folded(&of_asked, base, folds(&asked));
    let cheap = cheap.map(|cheap| of_asked.taken_over(cheap, &asked));
    let is_asked = |at: &usize| dataset.roles[taught[*at]] == Role::Asked;
    let asked: Vec<usize> = (0..taught.len()).filter(is_asked).collect();
    Ok(of_asked.rest(cheap, full.map(|full| full.of(&asked))))
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
        let roles = dataset.roles.iter();
        let further: Vec<bool> = roles.clone().map(|role| *role != Role::Asked).collect();
        let is_judge = roles.map(|role| matches!(role, Role::Asked | Role::Further));
        let mut targets = Targets::judged(
            dataset.labels.clone(),
            is_judge.collect(),
            classes,
            SMOOTHING,
        );
        weigh_guesses(&mut targets.weights, dataset);
        Self {
            told: told.collect(),
            folds: head::folds(&dataset.labels, &dataset.questions, &further, classes),
            targets,
            silent,
            unseen,
            out_of_domain,
            base,
            dataset,
        }
    }

    /// The same of a dataset whose rows are held back in folds that are known already.
    fn folded(dataset: &'d Dataset, base: Option<OnTop<'d>>, folds: Vec<usize>) -> Self {
        Self {
            folds,
            ..Self::new(dataset, base)
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

    /// All that follows the heads.
    fn rest(self, mut cheap: Option<CheapTier>, full: Option<FullHead>) -> Trained {
        let full = full.map(|head| self.full(cheap.as_ref(), head));
        let lexicon = cheap.as_mut().and_then(|cheap| cheap.lexicon.take());
        let tiers = (
            cheap.as_ref().map(|cheap| &cheap.fitted),
            full.as_ref().map(|(fitted, _)| fitted),
        );
        let shared = self.cascade(tiers.0, tiers.1);
        let held_back = self.confidences(&shared.probabilities);
        let of_tiers = (
            tiers.0.map(|tier| &tier.probabilities),
            tiers.1.map(|tier| &tier.probabilities),
        );
        let by_file = self.by_file(of_tiers, &shared);
        let settled_from = shared.cascade.settled_from.unwrap_or(f32::INFINITY);
        let (cheap_tier, cheap) = cheap
            .map(|cheap| (cheap.fitted.tier, cheap.fitted.report))
            .unzip();
        let (full_tier, full) = full
            .map(|(fitted, parts)| (parts.with(fitted.tier), fitted.report))
            .unzip();
        Trained {
            seen: self.dataset.labels.len() - self.unseen.len(),
            model: Model {
                outside: model::outside(&self.dataset.categories),
                categories: self.dataset.categories.clone(),
                silent: self.silent,
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
        }
    }

    fn classes(&self) -> usize {
        self.dataset.categories.len()
    }
}

/// Guesses make no class more frequent than what is asked says: together with the rows of their class that are asked they count for as
/// much as those do alone. (Calibration would take it back from the class otherwise, and with it what the guesses taught.)
fn weigh_guesses(weights: &mut [f32], dataset: &Dataset) {
    let rows_of = |role: Role| {
        let mut sizes = vec![0.0_f32; dataset.categories.len()];
        for row in dataset.of_role(role) {
            sizes[dataset.labels[row]] += 1.0;
        }
        sizes
    };
    let (asked, guessed) = (rows_of(Role::Asked), rows_of(Role::Guessed));
    let rows = weights.iter_mut().zip(&dataset.labels);
    for ((weight, label), role) in rows.zip(&dataset.roles) {
        if matches!(role, Role::Asked | Role::Guessed) {
            *weight *= asked[*label] / (asked[*label] + guessed[*label]);
        }
    }
}
