//! The steps between the products of matrices. On the CPU each is one pass over the numbers, on both cores, with a
//! backward of its own ([`fused`]); elsewhere it is made of candle's own operations ([`composed`]), which would take
//! as long as the products themselves there.

mod composed;
mod fused;
mod slices;

use std::sync::Arc;

use candle_core::{Result, Tensor};

use crate::train::seed::Seed;

/// `x` (rows × width) with `bias` added to every row.
pub(super) fn add_bias(x: &Tensor, bias: &Tensor) -> Result<Tensor> {
    if x.device().is_cpu() {
        x.apply_op2(bias, fused::AddBias)
    } else {
        composed::add_bias(x, bias)
    }
}

/// `x·Φ(x)`, with the normal distribution's own `Φ` (Hendrycks and Gimpel 2016).
pub(super) fn gelu(x: &Tensor) -> Result<Tensor> {
    if x.device().is_cpu() {
        x.apply_op1(fused::Gelu)
    } else {
        composed::gelu(x)
    }
}

/// Every row of `x` (rows × width) at mean 0 and variance 1, then scaled and shifted (Ba et al. 2016).
pub(super) fn layer_norm(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    epsilon: f32,
) -> Result<Tensor> {
    if x.device().is_cpu() {
        x.apply_op3(weight, bias, fused::LayerNorm { epsilon })
    } else {
        composed::layer_norm(x, weight, bias, epsilon)
    }
}

/// Over the last dimension of `scale` × `scores` (texts × heads × queries × keys); keys past a text's length get 0.
pub(super) fn softmax(scores: &Tensor, scale: f32, lengths: &Arc<[usize]>) -> Result<Tensor> {
    if scores.device().is_cpu() {
        scores.apply_op1(fused::Softmax {
            scale,
            lengths: Arc::clone(lengths),
        })
    } else {
        composed::softmax(scores, scale, lengths)
    }
}

/// `x` with a share `rate` of its numbers set to 0 and the others scaled so that the expectation stays. On the CPU the
/// mask is `seed`'s; elsewhere it comes from the device's generator.
pub(super) fn dropout(x: &Tensor, rate: f32, seed: Seed) -> Result<Tensor> {
    if x.device().is_cpu() {
        x.apply_op1(fused::Dropout::new(rate, seed))
    } else {
        candle_nn::ops::dropout(x, rate)
    }
}

#[cfg(test)]
mod tests;
