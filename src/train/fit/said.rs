//! What a model says of rows whose readings are there already.

use ndarray::{Array2, ArrayView1};
use rayon::prelude::*;

use super::Material;
use crate::{
    router::model::{CheapFeatures, Model},
    train::dataset::Dataset,
};

/// The probabilities that a model gives each row, by the full tier where there is one: rows × the model's classes.
///
/// `material` is of the `dataset`, and of the encoders that the model was fitted with.
pub fn said(model: &Model, dataset: &Dataset, material: &Material) -> Array2<f32> {
    let read = model.full.as_ref().zip(material.readings.as_ref());
    let read = read.map(|(full, readings)| readings.features(&full.transformer));
    let of_row = |row: usize| -> Vec<f32> {
        let lexicon = model.lexicon.as_ref();
        let vector = material.vectors.as_ref().map(|all| all.row(row).to_vec());
        let features = CheapFeatures {
            sparse: lexicon.map_or_else(Vec::new, |it| it.features(&dataset.texts[row])),
            vector: vector.unwrap_or_default(),
        };
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
        row.assign(&ArrayView1::from(of_row));
    }
    all
}
