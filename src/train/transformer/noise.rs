//! Dropout (Srivastava et al. 2014) whose masks come from a seed.

use candle_core::{Result, Tensor};

use super::ops;
use crate::train::seed::Seed;

/// The dropout of one pass through the model.
pub(crate) struct Noise {
    rate: f32,
    seed: Seed,
    /// Masks drawn so far.
    masks: u64,
}

impl Noise {
    /// Leaves everything as it is: for scoring.
    pub(crate) fn none() -> Self {
        Self::dropout(0.0, Seed::new(0))
    }

    /// Sets each number to zero with the probability `rate`, and makes up for it in the others.
    pub(crate) fn dropout(rate: f32, seed: Seed) -> Self {
        Self {
            rate,
            seed,
            masks: 0,
        }
    }

    /// `x` with a mask of its own.
    pub(crate) fn apply(&mut self, x: &Tensor) -> Result<Tensor> {
        if self.rate == 0.0 {
            return Ok(x.clone());
        }
        self.masks += 1;
        ops::dropout(x, self.rate, self.seed.stream("mask", self.masks))
    }
}
