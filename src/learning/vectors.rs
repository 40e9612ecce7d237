//! Questions → vectors that tell which resemble each other: those of the static encoder, which need no transformer.

use std::{error::Error, path::PathBuf};

use ndarray::Array2;
use rayon::prelude::*;
use tracing::warn;

use crate::{config::RouterConfig, router::static_encoder::StaticEncoder, train::shipped};

/// Opens the configured static encoder, or else the one that is built in; none, with a warning, where it cannot be had.
pub fn open(config: &RouterConfig) -> Option<StaticEncoder> {
    let folder = folder(config)?;
    match StaticEncoder::open(&folder) {
        Ok(encoder) => Some(encoder),
        Err(error) => {
            warn!(
                error = &error as &dyn Error,
                "the static encoder cannot be used; questions are not compared with each other"
            );
            None
        }
    }
}

fn folder(config: &RouterConfig) -> Option<PathBuf> {
    if let Some(folder) = &config.static_encoder {
        return Some(folder.clone());
    }
    match shipped::unpack(&config.artefacts) {
        Ok(folder) => Some(folder),
        Err(error) => {
            warn!(
                error = &error as &dyn Error,
                "the static encoder that is built in cannot be put into {}; questions are not compared with each other",
                config.artefacts.display()
            );
            None
        }
    }
}

/// A row for each text, of length 1 (0 for a text without a known word); rows of no columns without an encoder.
pub fn of(encoder: Option<&StaticEncoder>, texts: &[&str]) -> Array2<f32> {
    let Some(encoder) = encoder else {
        return Array2::zeros((texts.len(), 0));
    };
    let rows: Vec<Vec<f32>> = texts.par_iter().map(|text| encoder.vector(text)).collect();
    let mut vectors = Array2::zeros((texts.len(), encoder.dimensions()));
    for (mut to, from) in vectors.rows_mut().into_iter().zip(&rows) {
        to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
    }
    vectors
}
