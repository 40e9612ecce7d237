//! One tier: its head, what says how far the head can be trusted, and what it says of rows held back.

use ndarray::{Array2, ArrayView1, ArrayView2, Axis, s};

use super::{Base, Material, Problem, Readings, pool};
use crate::{
    router::{
        artefact::TierReport,
        calibration::{self, Calibration},
        head::{self, FitError, Head, Parameters, Penalty, Regularisation, Rows, Targets},
        lexical::Lexicon,
        model::{FullTier, Tier, Transformer},
        novelty::Novelty,
    },
    train::dataset::Role,
};

/// Penalties to choose from, times the number of rows: the more rows, the less each weight has to be held back.
const PENALTIES: [f64; 3] = [0.1, 0.03, 0.01];

/// The same for sparse features, of which there are many more than rows, each in few of them.
const PENALTIES_SPARSE: [f64; 4] = [0.1, 0.03, 0.01, 0.003];

/// How much more than a sparse weight a dense one beside it is held back. A static vector is in every row, and would
/// otherwise take over what rare words say better: with one penalty for both, the vector made the cheap tier worse.
const DENSE_TO_SPARSE: f64 = 10.0;

/// The same where the penalty pulls to what another model learned from many more rows.
const PENALTIES_ON_TOP: [f64; 3] = [10.0, 3.0, 1.0];

/// What a row's own label says to the cheap tier where there is a teacher; the rest is the teacher's. With 0.15, 0.3, 0.5
/// and 0.7 of 19,902 rows held back 0.898, 0.899, 0.902 and 0.902 were right.
const LABEL_SHARE: f32 = 0.5;

/// What a teacher's logits are divided by: how it ranks the classes that are wrong is worth learning too (Hinton et al.
/// 2015, "Distilling the Knowledge in a Neural Network").
const TEACHER_TEMPERATURE: f32 = 2.0;

/// What an excerpt counts for beside its question. Of 7,384 rows held back, under a penalty of 0.03, the cheap tier had 0.909 and 0.907 right
/// with 0.5 and 0.25, and both tiers 0.943 and 0.944: what is asked in few words looks like an excerpt.
const EXCERPT_WEIGHT: f32 = 0.25;

/// A tier with what it says of rows held back.
pub(super) struct FittedTier {
    pub(super) tier: Tier,
    pub(super) report: TierReport,
    /// rows × classes, by heads that have not seen the row.
    pub(super) logits: Array2<f32>,
    /// The same, calibrated on other rows.
    pub(super) probabilities: Array2<f32>,
}

pub(super) struct CheapTier {
    pub(super) fitted: FittedTier,
    pub(super) lexicon: Option<Lexicon>,
}

/// A head, and what it says of rows held back.
struct FittedHead {
    parameters: Parameters,
    penalty: Penalty,
    /// rows × classes, by heads that have not seen the row.
    held_back: Array2<f32>,
}

/// The full tier's head without the cheap tier's word: what it reads, and what it says of rows held back.
pub(super) struct FullHead {
    head: Head,
    penalty: Penalty,
    /// rows × classes, by heads that have not seen the row.
    held_back: Array2<f32>,
    transformer: Transformer,
    novelty: Option<Novelty>,
}

impl FullHead {
    /// The same, which is measured on some of the rows that it was fitted on.
    #[must_use]
    pub(super) fn of(self, rows: &[usize]) -> Self {
        Self {
            held_back: self.held_back.select(Axis(0), rows),
            ..self
        }
    }
}

/// The full tier but for its head.
pub(super) struct FullParts {
    cheap_weight: f32,
    transformer: Transformer,
    novelty: Option<Novelty>,
}

impl FullParts {
    pub(super) fn with(self, tier: Tier) -> FullTier {
        FullTier {
            tier,
            cheap_weight: self.cheap_weight,
            transformer: self.transformer,
            novelty: self.novelty,
        }
    }
}

impl Problem<'_> {
    pub(super) fn cheap(
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
        let whole = texts().zip(&self.dataset.roles);
        let whole = whole.filter_map(|(text, role)| (*role != Role::Excerpt).then_some(text));
        let new = || Lexicon::fit(whole, head::bucket_bits(self.classes()));
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
        let fitted = self.head((&rows, &targets), old, step)?;
        let head = Head::new(&fitted.parameters);
        let fitted = self.calibrated(head, (fitted.held_back, fitted.penalty), old);
        Ok(Some(CheapTier { fitted, lexicon }))
    }

    /// The labels, softened by what a teacher says; of excerpts the teacher's word alone.
    pub(super) fn taught(&self, teacher: ArrayView2<'_, f32>) -> Targets {
        let mut targets = Targets {
            is_softened: true,
            ..self.targets.clone()
        };
        let wanted = targets.probabilities.rows_mut().into_iter();
        let said = teacher.rows().into_iter().zip(&self.dataset.roles);
        for ((mut wanted, weight), (logits, role)) in wanted.zip(&mut targets.weights).zip(said) {
            let soft = calibration::softmax(&logits.to_vec(), TEACHER_TEMPERATURE);
            let mut label_share = LABEL_SHARE;
            if *role == Role::Excerpt {
                label_share = 0.0;
                *weight *= EXCERPT_WEIGHT;
            }
            wanted *= label_share;
            wanted.scaled_add(1.0 - label_share, &ArrayView1::from(&soft));
        }
        targets
    }

    /// The full tier's head, fitted on all of these rows.
    pub(super) fn full_head(
        &self,
        readings: &Readings,
        step: &(dyn Fn() + Sync),
    ) -> Result<FullHead, FitError> {
        let old = self.base.as_ref().and_then(|base| base.model.full.as_ref());
        let (transformer, novelty) = self.heard(readings, old);
        let features = readings.features(&transformer);
        // So that the same penalties suit logits and vectors of length 1.
        let factor = match old {
            Some(_) => 1.0,
            None => 1.0 / mean_length(&features).max(f32::MIN_POSITIVE),
        };
        let rows = Rows::new(&[], 0, features * factor);
        let fitted = self.head((&rows, &self.targets), old.map(|old| &old.tier), step)?;
        Ok(FullHead {
            head: Head::new(&fitted.parameters.of_unscaled(factor)),
            penalty: fitted.penalty,
            held_back: fitted.held_back,
            transformer,
            novelty,
        })
    }

    /// The full tier, as it does on these rows, from its head and the cheap tier.
    pub(super) fn full(
        &self,
        cheap: Option<&CheapTier>,
        full: FullHead,
    ) -> (FittedTier, FullParts) {
        let old = self.base.as_ref().and_then(|base| base.model.full.as_ref());
        let mut logits = full.held_back;
        let mut cheap_weight = 0.0;
        if let Some(cheap) = cheap {
            cheap_weight = self.cheap_weight(&cheap.fitted.logits, &logits, old);
            logits.scaled_add(cheap_weight, &cheap.fitted.logits);
        }
        let held = (logits, full.penalty);
        let parts = FullParts {
            cheap_weight,
            transformer: full.transformer,
            novelty: full.novelty,
        };
        let old_tier = old.map(|old| &old.tier);
        (self.calibrated(full.head, held, old_tier), parts)
    }

    /// What the cheap tier's logits are multiplied by: as in the base where that hears a cheap tier, else as rows choose that nobody has
    /// seen.
    fn cheap_weight(&self, cheap: &Array2<f32>, full: &Array2<f32>, old: Option<&FullTier>) -> f32 {
        let has_cheap = |base: &Base<'_>| base.model.cheap.is_some();
        if let Some(old) = old.filter(|_| self.base.as_ref().is_some_and(has_cheap)) {
            return old.cheap_weight;
        }
        if self.unseen.is_empty() || self.folds.iter().all(|fold| *fold == 0) {
            // Rows that both have seen would not tell them apart: one counts as much as the other.
            return mean_length(full) / mean_length(cheap).max(f32::MIN_POSITIVE);
        }
        let labels: Vec<usize> = self
            .unseen
            .iter()
            .map(|row| self.dataset.labels[*row])
            .collect();
        let unseen = |logits: &Array2<f32>| logits.select(Axis(0), &self.unseen);
        pool::cheap_weight(&unseen(cheap), &unseen(full), &labels)
    }

    /// What is taken from the transformer, and what tells strange questions.
    fn heard(&self, readings: &Readings, old: Option<&FullTier>) -> (Transformer, Option<Novelty>) {
        let kept = |novelty| old.map_or(novelty, |old| old.novelty.clone());
        match readings {
            Readings::Layers { vectors, width } => {
                let means = match old.map(|old| &old.transformer) {
                    Some(Transformer::Layers { means }) => means.clone(),
                    _ => vectors.mean_axis(Axis(0)).unwrap_or_default().to_vec(),
                };
                let first = vectors.slice(s![.., ..*width]);
                (Transformer::Layers { means }, kept(self.novelty(first)))
            }
            Readings::Tuned { head, .. } => (head.clone(), kept(None)),
        }
    }

    /// A detector is needed only where there are no strange rows to learn from. How strange what is asked may be, no guess says.
    fn novelty(&self, vectors: ArrayView2<'_, f32>) -> Option<Novelty> {
        if self.out_of_domain.is_some() {
            return None;
        }
        let asked = self.dataset.asked();
        let of_asked = |all: &[usize]| asked.iter().map(|row| all[*row]).collect::<Vec<_>>();
        let (labels, folds) = (of_asked(&self.dataset.labels), of_asked(&self.folds));
        Novelty::fit(vectors.select(Axis(0), &asked).view(), &labels, &folds)
    }

    /// Chooses the penalty by cross-validation and fits all rows, on top of the `old` tier where there is one.
    fn head(
        &self,
        (rows, targets): (&Rows, &Targets),
        old: Option<&Tier>,
        step: &(dyn Fn() + Sync),
    ) -> Result<FittedHead, FitError> {
        let old = self.base.as_ref().zip(old);
        let prior = old.map(|(base, old)| Parameters::of_head(&old.head, &base.old_of));
        let penalties = penalties(rows, prior.is_some());
        let regularisation = Regularisation {
            penalties: &penalties,
            prior: prior.as_ref(),
        };
        let held = head::held_back(rows, targets, &self.folds, regularisation, step)?;
        let fitted = head::fit(rows, targets, held.penalty, prior.as_ref())?;
        step();
        Ok(FittedHead {
            parameters: fitted.parameters,
            penalty: held.penalty,
            held_back: held.logits,
        })
    }

    /// A head with what says how far it can be trusted: `logits` of the rows, held back. The calibration of an `old` tier of the
    /// base, with the same classes, is kept.
    fn calibrated(
        &self,
        head: Head,
        (logits, penalty): (Array2<f32>, Penalty),
        old: Option<&Tier>,
    ) -> FittedTier {
        let labels = &self.dataset.labels;
        let (calibration, trials) = match self.base.as_ref().zip(old) {
            // It was calibrated on many more rows than there are now.
            Some((base, old)) if base.has_same_classes() => (old.calibration.clone(), Vec::new()),
            _ => calibration::choose(logits.view(), labels, &self.folds),
        };
        let mut probabilities = if trials.is_empty() {
            calibrated(&calibration, logits.view())
        } else {
            calibration::held_back(&calibration, logits.view(), labels, &self.folds)
        };
        self.silence(&mut probabilities);
        FittedTier {
            report: TierReport {
                calibration: calibration.clone(),
                trials,
                l2_sparse: penalty.sparse,
                l2_dense: penalty.dense,
                figures: self.figures(probabilities.view()),
            },
            tier: Tier { head, calibration },
            logits,
            probabilities,
        }
    }

    /// The cheap tier as it does on these of the rows that it was fitted on, which are all of this self.
    pub(super) fn taken_over(&self, cheap: CheapTier, rows: &[usize]) -> CheapTier {
        let CheapTier { fitted, lexicon } = cheap;
        let TierReport {
            l2_sparse,
            l2_dense,
            ..
        } = fitted.report;
        let penalty = Penalty {
            sparse: l2_sparse,
            dense: l2_dense,
        };
        let logits = fitted.logits.select(Axis(0), rows);
        let base = self.base.as_ref();
        let old = base.and_then(|base| base.model.cheap.as_ref());
        CheapTier {
            fitted: self.calibrated(fitted.tier.head, (logits, penalty), old),
            lexicon,
        }
    }
}

/// What to choose from.
fn penalties(rows: &Rows, has_prior: bool) -> Vec<Penalty> {
    let (strengths, dense_to_sparse) = match (has_prior, rows.bucket_count()) {
        (true, _) => (&PENALTIES_ON_TOP[..], 1.0),
        (false, 0) => (&PENALTIES[..], 1.0),
        (false, _) => (&PENALTIES_SPARSE[..], DENSE_TO_SPARSE),
    };
    let penalty = |strength: &f64| {
        let sparse = strength / rows.len().max(1) as f64;
        Penalty {
            sparse,
            dense: sparse * dense_to_sparse,
        }
    };
    strengths.iter().map(penalty).collect()
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
