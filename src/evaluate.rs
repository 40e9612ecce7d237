//! How good a router is, from rows whose category is known: judged rows → [`Evaluation`] → a table, plots, JSON.
//!
//! Pure: who reads and judges the rows, with what router, is not known here. What each figure means is told to users in
//! `docs/evaluation.md`.

mod calibration;
mod confusion;
mod coverage;
mod latency;
mod mistakes;
mod one_line;
pub mod plots;
mod ranking;
mod table;
mod tiers;

use std::collections::BTreeMap;

use serde::Serialize;

pub use self::{
    calibration::{Binning, ConfidenceBin},
    confusion::{CategoryFigures, Confusion},
    coverage::RiskPoint,
    latency::Latency,
    mistakes::Mistake,
    tiers::{Tier, TierFigures},
};
use crate::{
    decision::Score,
    ids::{CategoryId, OUT_OF_DOMAIN, RouterId},
    risk::{CONFIDENCE_LEVEL, misroute_upper},
};

/// A row with its label, and what the router said of it.
#[derive(Clone, Debug)]
pub struct Judged {
    /// The row's own name, if it has one.
    pub id: Option<String>,
    /// The category that it is known to belong to, or `out_of_domain`.
    pub label: CategoryId,
    /// Probability of every class that the router tells apart, `out_of_domain` among them if it is one, likeliest first;
    /// empty where there was nothing to classify.
    pub scores: Vec<Score>,
    /// Whether the question goes to its likeliest category; otherwise the default expert answers.
    pub routed: bool,
    /// The router's own out-of-domain score: the higher, the stranger.
    pub out_of_domain: f32,
    /// The tier that settled it, if the router has tiers.
    pub tier: Option<Tier>,
    /// Time of the decision in microseconds, if nothing else was under way meanwhile.
    pub took_us: Option<u64>,
    /// The text that was classified.
    pub text: String,
    /// What spoke for the likeliest category, strongest first.
    pub features: Vec<String>,
}

impl Judged {
    /// The likeliest class, `out_of_domain` among them, before any threshold. What holds nothing to classify is out of
    /// domain.
    fn predicted(&self) -> CategoryId {
        let likeliest = self.scores.first();
        likeliest.map_or_else(
            || CategoryId::new(OUT_OF_DOMAIN),
            |score| score.category.clone(),
        )
    }

    /// Brier's score: the sum over all classes of the squared distance between probability and truth, 0 to 2. What is said
    /// of classes that are not among the scores counts as nothing.
    pub fn brier(&self) -> f64 {
        let mut of_label = 0.0;
        let mut squares = 0.0;
        for score in &self.scores {
            let probability = f64::from(score.probability);
            squares += probability * probability;
            if score.category == self.label {
                of_label = probability;
            }
        }
        // Nothing to classify is out of domain for certain.
        if self.scores.is_empty() {
            return if self.is_in_domain() { 2.0 } else { 0.0 };
        }
        (squares - 2.0 * of_label + 1.0).clamp(0.0, 2.0)
    }

    /// The probability of the likeliest class.
    pub fn confidence(&self) -> f32 {
        self.scores.first().map_or(1.0, |score| score.probability)
    }

    /// The likeliest category, which is where the question goes if it is routed.
    fn category(&self) -> Option<&Score> {
        self.scores
            .iter()
            .find(|score| score.category.as_str() != OUT_OF_DOMAIN)
    }

    fn is_in_domain(&self) -> bool {
        self.label.as_str() != OUT_OF_DOMAIN
    }

    /// Whether the likeliest class is the label.
    pub fn is_right(&self) -> bool {
        self.predicted() == self.label
    }

    /// Whether the likeliest category is the label: never where the label is `out_of_domain`.
    fn has_right_category(&self) -> bool {
        self.category()
            .is_some_and(|score| score.category == self.label)
    }
}

/// What `coterie evaluate` says of a router; its JSON is this. Shares and probabilities are 0 to 1.
#[derive(Clone, Debug, Serialize)]
pub struct Evaluation {
    /// Rows that were judged.
    pub rows: usize,
    /// Share of rows whose likeliest class is the label; `out_of_domain` is a class of its own.
    pub accuracy: f64,
    /// Mean F1 over the classes that are a label or a prediction.
    pub macro_f1: f64,
    /// Share of rows labelled with a category whose likeliest category is the label; null without such rows.
    pub in_domain_accuracy: Option<f64>,
    /// Probability that a row that is out of domain has a greater out-of-domain score than one that is not; null unless
    /// there are rows of both kinds.
    pub ood_auroc: Option<f64>,
    /// Expected calibration error of the likeliest class's probability.
    pub ece: f64,
    /// How the rows were put in bins for `ece`.
    pub ece_bins: Binning,
    /// Share of rows that were routed to a category.
    pub coverage: f64,
    /// The same of the rows labelled with a category, which is what can be routed at best; null without such rows.
    pub in_domain_coverage: Option<f64>,
    /// Share of wrong ones among the routed rows, those out of domain included; null if none was routed.
    pub misrouted: Option<f64>,
    /// What `misrouted` is at most for such questions, with 95 % confidence.
    pub misroute_upper95: f64,
    /// Time of a decision; null where none was measured.
    pub latency_us: Option<Latency>,
    /// What each tier settled.
    pub tiers: BTreeMap<Tier, TierFigures>,
    /// Each class that is a label or a prediction.
    pub per_category: BTreeMap<CategoryId, CategoryFigures>,
    /// Rows by label and likeliest class.
    pub confusion: Confusion,
    /// What would be misrouted if more or fewer rows were routed, from the strictest threshold to none.
    pub risk_coverage: Vec<RiskPoint>,
    /// The bins of `ece`, least confident first.
    pub reliability: Vec<ConfidenceBin>,
    /// Rows by the likeliest class's probability, in bins of equal width from 0 to 1.
    pub confidence_histogram: Vec<usize>,
    /// The wrong rows that the router was most confident of.
    pub mistakes: Vec<Mistake>,
    /// The router.
    pub router: RouterName,
}

/// Which router was evaluated.
#[derive(Clone, Debug, Serialize)]
pub struct RouterName {
    /// Its id.
    pub id: RouterId,
}

/// There is nothing to evaluate a router with.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("there are no rows to evaluate the router with")]
pub struct NoRows;

impl Evaluation {
    /// Sums up what a router said of some rows.
    ///
    /// # Errors
    /// There are no rows.
    pub fn of(rows: &[Judged], router: RouterId) -> Result<Self, NoRows> {
        if rows.is_empty() {
            return Err(NoRows);
        }
        let confusion = Confusion::of(rows);
        let per_category = confusion.per_category();
        let f1: f64 = per_category.values().map(|figures| figures.f1).sum();
        let reliability = calibration::equal_mass_bins(rows);
        let routed = rows.iter().filter(|row| row.routed).count();
        let misrouted = rows
            .iter()
            .filter(|row| row.routed && !row.has_right_category())
            .count();
        Ok(Self {
            rows: rows.len(),
            accuracy: share(rows, Judged::is_right),
            macro_f1: f1 / per_category.len() as f64,
            in_domain_accuracy: in_domain_share(rows, Judged::has_right_category),
            ood_auroc: ranking::ood_auroc(rows),
            ece: calibration::ece(&reliability, rows.len()),
            ece_bins: calibration::BINNING,
            coverage: share(rows, |row| row.routed),
            in_domain_coverage: in_domain_share(rows, |row| row.routed),
            misrouted: (routed > 0).then(|| misrouted as f64 / routed as f64),
            misroute_upper95: misroute_upper(misrouted, routed, CONFIDENCE_LEVEL),
            latency_us: Latency::of(rows),
            tiers: tiers::figures(rows),
            per_category,
            confusion,
            risk_coverage: coverage::curve(rows),
            reliability,
            confidence_histogram: calibration::histogram(rows),
            mistakes: mistakes::most_confident(rows),
            router: RouterName { id: router },
        })
    }

    /// The evaluation for a person to read, in lines of text.
    pub fn table(&self) -> String {
        table::of(self)
    }
}

/// Share of the rows labelled with a category of which something is true.
fn in_domain_share(rows: &[Judged], is_true: impl Fn(&Judged) -> bool) -> Option<f64> {
    let in_domain: Vec<&Judged> = rows.iter().filter(|row| row.is_in_domain()).collect();
    let count = in_domain.iter().filter(|row| is_true(row)).count();
    (!in_domain.is_empty()).then(|| count as f64 / in_domain.len() as f64)
}

/// Share of the rows of which something is true; there is at least one row.
fn share(rows: &[Judged], is_true: impl Fn(&Judged) -> bool) -> f64 {
    rows.iter().filter(|row| is_true(row)).count() as f64 / rows.len() as f64
}

#[cfg(test)]
mod tests;
