//! What is said of rows, by the encoder and the head as they are written: changes of few bits and all.

use candle_core::{Device, Result, Tensor};

use super::{TuneError, dataset::Dataset};
use crate::{
    router::encoder::adapter::TunedHead,
    train::{
        base::Base,
        transformer::{Batch, Noise, Transformer},
    },
};

/// Rows that are scored at once.
const ROWS: usize = 64;

/// A tuned encoder with its head.
pub(super) struct Scorer {
    transformer: Transformer,
    /// classes × hidden.
    weight: Tensor,
    bias: Tensor,
}

impl Scorer {
    /// `tuned`: with the changes merged in.
    pub(super) fn new(
        tuned: &Base,
        head: &TunedHead,
        device: &Device,
    ) -> std::result::Result<Self, TuneError> {
        let classes = head.bias.len();
        let weight = Tensor::from_slice(&head.weight, (classes, tuned.config.hidden_size), device)?;
        Ok(Self {
            transformer: Transformer::load(tuned, device)?,
            weight,
            bias: Tensor::from_slice(&head.bias, classes, device)?,
        })
    }

    /// The logits of `rows`, one after the other.
    pub(super) fn logits(&self, dataset: &Dataset, rows: &[usize]) -> Result<Vec<f32>> {
        let classes = self.bias.dims1()?;
        let pieces = |row: usize| &dataset.rows[row].pieces[..];
        let mut places: Vec<usize> = (0..rows.len()).collect();
        places.sort_by_key(|place| pieces(rows[*place]).len());
        let mut all = vec![0.0; rows.len() * classes];
        for places in places.chunks(ROWS) {
            let texts: Vec<&[u32]> = places.iter().map(|place| pieces(rows[*place])).collect();
            let logits: Vec<Vec<f32>> = self.of_batch(&Batch::new(&texts))?.to_vec2()?;
            for (place, logits) in places.iter().zip(logits) {
                all[place * classes..][..classes].copy_from_slice(&logits);
            }
        }
        Ok(all)
    }

    fn of_batch(&self, batch: &Batch) -> Result<Tensor> {
        let vectors = self.transformer.forward(batch, &mut Noise::none())?;
        vectors.matmul(&self.weight.t()?)?.broadcast_add(&self.bias)
    }
}
