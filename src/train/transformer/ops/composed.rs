//! The operations out of candle's own, with candle's backward.

use candle_core::{D, Result, Tensor};

pub(super) fn add_bias(x: &Tensor, bias: &Tensor) -> Result<Tensor> {
    x.broadcast_add(bias)
}

pub(super) fn gelu(x: &Tensor) -> Result<Tensor> {
    x.gelu_erf()
}

pub(super) fn layer_norm(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    epsilon: f32,
) -> Result<Tensor> {
    let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
    let deviation = (variance + f64::from(epsilon))?.sqrt()?;
    centred
        .broadcast_div(&deviation)?
        .broadcast_mul(weight)?
        .broadcast_add(bias)
}

pub(super) fn softmax(scores: &Tensor, scale: f32, lengths: &[usize]) -> Result<Tensor> {
    let (texts, _, _, keys) = scores.dims4()?;
    let mut mask = vec![0.0_f32; texts * keys];
    for (row, &length) in mask.chunks_mut(keys).zip(lengths) {
        row[length..].fill(f32::NEG_INFINITY);
    }
    let mask = Tensor::from_vec(mask, (texts, 1, 1, keys), scores.device())?;
    let scores = scores.affine(f64::from(scale), 0.0)?.broadcast_add(&mask)?;
    // As candle's softmax, but no gradient goes through the largest score, which cancels out.
    let largest = scores.max_keepdim(D::Minus1)?.detach();
    let shares = scores.broadcast_sub(&largest)?.exp()?;
    shares.broadcast_div(&shares.sum_keepdim(D::Minus1)?)
}
