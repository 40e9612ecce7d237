//! What a model says of rows whose readings are there already.

use ndarray::{Array2, ArrayView1};
use rayon::prelude::*;

use super::{Material, Readings};
use crate::{
    router::{
        model::{CheapFeatures, Model},
        novelty::STRANGENESS_MAX,
    },
    train::dataset::Dataset,
};

/// The probabilities that a model gives each row, by the full tier where there is one: rows × the model's classes. Of a row that the
/// detector finds too strange nothing is said: zeros.
///
/// `material` is of the `dataset`, and of the encoders that the model was fitted with.
pub fn said(model: &Model, dataset: &Dataset, material: &Material) -> Array2<f32> {
    let read = model.full.as_ref().zip(material.readings.as_ref());
    let read = read.map(|(full, readings)| readings.features(&full.transformer));
    let detector = model.full.as_ref().and_then(|full| full.novelty.as_ref());
    let first = material.readings.as_ref().and_then(Readings::first_layer);
    let is_strange = |row: usize| {
        let asked = detector.zip(first.as_ref());
        asked.is_some_and(|(detector, first)| {
            detector.strangeness(&first.row(row).to_vec()) > STRANGENESS_MAX
        })
    };
    let of_row = |row: usize| -> Vec<f32> {
        let lexicon = model.lexicon.as_ref();
        let vector = material.vectors.as_ref().map(|all| all.row(row).to_vec());
        let features = CheapFeatures {
            sparse: lexicon.map_or_else(Vec::new, |it| it.features(&dataset.texts[row])),
            vector: vector.unwrap_or_default(),
        };
        if is_strange(row) {
            return Vec::new();
        }
        let cheap = model.cheap(&features);
        let full = read
            .as_ref()
            .and_then(|read| model.pooled(cheap.as_ref(), &read.row(row).to_vec()));
        full.or(cheap)
            .map_or_else(Vec::new, |said| said.probabilities)
    };
    let rows: Vec<Vec<f32>> = (0..dataset.texts.len())
        .into_par_iter()
        .map(of_row)
        .collect();
    let mut all = Array2::zeros((rows.len(), model.categories.len()));
    for (mut row, of_row) in all.rows_mut().into_iter().zip(&rows) {
        if !of_row.is_empty() {
            row.assign(&ArrayView1::from(of_row));
        }
    }
    all
}
