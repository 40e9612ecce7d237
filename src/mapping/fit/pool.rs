//! What is known of the experts and of what is asked: sizes, dollars a question, weights of the categories.

use ndarray::Array2;

use super::{
    models::{Model, Models},
    outcomes::Outcomes,
};
use crate::mapping::demand::{ANSWER_TOKENS_ESTIMATE, BYTES_PER_TOKEN};

/// How much each category counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Weights {
    /// As much as it has rows.
    #[default]
    Traffic,
    /// As much as any other.
    Equal,
}

/// Facts of the experts, beside their scores.
#[derive(Clone, Debug)]
pub struct Pool {
    /// Weight of each category; they add up to 1.
    pub weights: Vec<f64>,
    /// Billions of parameters by expert; infinite where not known.
    pub params_b: Vec<f64>,
    /// Dollars a question, experts by categories, infinite where not known; none where nothing is known.
    pub usd: Option<Array2<f64>>,
    /// Whether dollars were partly estimated from prices.
    pub usd_is_estimated: bool,
}

impl Pool {
    /// What rows and a models file say.
    ///
    /// Dollars of a cell are the mean of its rows' `cost_usd`, else come from the expert's prices, the length of the prompts and
    /// the same estimates that are used at run time.
    pub fn of(outcomes: &Outcomes, models: &Models, weights: Weights) -> Self {
        let model = |expert| models.get(expert).copied().unwrap_or_default();
        let models: Vec<Model> = outcomes.experts().iter().map(model).collect();
        let measured = measured_usd(outcomes);
        let prompt_tokens = prompt_tokens(outcomes);
        let mut usd_is_estimated = false;
        let usd = Array2::from_shape_fn(measured.raw_dim(), |(e, c)| {
            measured[[e, c]].unwrap_or_else(|| {
                let estimate = estimated_usd(&models[e], prompt_tokens[c]);
                usd_is_estimated |= estimate.is_some();
                estimate.unwrap_or(f64::INFINITY)
            })
        });
        Self {
            weights: weights.of(outcomes),
            params_b: models
                .iter()
                .map(|model| model.params_b.unwrap_or(f64::INFINITY))
                .collect(),
            usd: usd.iter().any(|usd| usd.is_finite()).then_some(usd),
            usd_is_estimated,
        }
    }

    /// Dollars a question of one expert, weighted over categories; none where no price is known at all.
    pub fn usd_of(&self, expert: usize) -> Option<f64> {
        let usd = self.usd.as_ref()?.row(expert);
        let pairs = usd.into_iter().zip(&self.weights);
        Some(pairs.map(|(usd, weight)| usd * weight).sum())
    }
}

impl Weights {
    fn of(self, outcomes: &Outcomes) -> Vec<f64> {
        let mut rows = vec![0.0; outcomes.categories().len()];
        for row in 0..outcomes.rows() {
            rows[outcomes.category(row)] += 1.0;
        }
        let weight = |rows: f64| match self {
            Self::Traffic => rows,
            Self::Equal => f64::from(u8::from(rows > 0.0)),
        };
        let weights: Vec<f64> = rows.into_iter().map(weight).collect();
        let total: f64 = weights.iter().sum();
        weights.into_iter().map(|weight| weight / total).collect()
    }
}

/// The mean of what rows say that answers cost, experts by categories.
fn measured_usd(outcomes: &Outcomes) -> Array2<Option<f64>> {
    let mut sums = Array2::from_elem(
        (outcomes.experts().len(), outcomes.categories().len()),
        (0.0, 0.0),
    );
    for expert in 0..outcomes.experts().len() {
        for (row, usd) in outcomes.costs_usd(expert) {
            let (rows, sum): &mut (f64, f64) = &mut sums[[expert, outcomes.category(row)]];
            *rows += 1.0;
            *sum += usd;
        }
    }
    sums.mapv(|(rows, sum)| (rows > 0.0).then(|| sum / rows))
}

/// Mean tokens of the prompts of each category, estimated.
fn prompt_tokens(outcomes: &Outcomes) -> Vec<f64> {
    let mut sums = vec![(0.0, 0.0); outcomes.categories().len()];
    for row in 0..outcomes.rows() {
        let (rows, bytes) = &mut sums[outcomes.category(row)];
        *rows += 1.0;
        *bytes += outcomes.prompt_bytes(row) as f64;
    }
    let tokens = |(rows, bytes): (f64, f64)| bytes / f64::max(rows, 1.0) / BYTES_PER_TOKEN as f64;
    sums.into_iter().map(tokens).collect()
}

fn estimated_usd(model: &Model, prompt_tokens: f64) -> Option<f64> {
    let (usd_in, usd_out) = (model.usd_in?, model.usd_out?);
    Some((prompt_tokens * usd_in + f64::from(ANSWER_TOKENS_ESTIMATE) * usd_out) / 1e6)
}
