//! The operations on the CPU, each with its derivative.

mod gelu;
mod norm;

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor};

use super::slices;
use crate::{
    simd::{exp, greatest},
    train::seed::{Seed, mix},
};

pub(super) use gelu::Gelu;
pub(super) use norm::LayerNorm;

/// See [`super::add_bias`].
pub(super) struct AddBias;

impl CustomOp2 for AddBias {
    fn name(&self) -> &'static str {
        "add-bias"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, bias) = (slices::of(x, layout)?, slices::of(bias, bias_layout)?);
        let width = bias.len();
        let sums = slices::fill_rows(x.len(), width, |at, row| {
            let x = &x[at * width..];
            for ((sum, x), bias) in row.iter_mut().zip(x).zip(bias) {
                *sum = x + bias;
            }
        });
        Ok((CpuStorage::F32(sums), layout.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        bias: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let gradient = gradient.contiguous()?;
        let (rows, width) = x.dims2()?;
        let for_bias = slices::make([&gradient], bias.shape(), |[gradient]| {
            slices::sum_rows(rows, width, |at, sums| {
                for (sum, gradient) in sums.iter_mut().zip(&gradient[at * width..]) {
                    *sum += gradient;
                }
            })
        })?;
        Ok((Some(gradient), Some(for_bias)))
    }
}

/// See [`super::softmax`].
pub(super) struct Softmax {
    pub(super) scale: f32,
    pub(super) lengths: Arc<[usize]>,
}

impl CustomOp1 for Softmax {
    fn name(&self) -> &'static str {
        "masked-softmax"
    }

    fn cpu_fwd(&self, scores: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let scores = slices::of(scores, layout)?;
        let (_, heads, queries, keys) = layout.shape().dims4()?;
        let shares = slices::fill_rows(scores.len(), keys, |at, row| {
            let length = self.lengths[at / (heads * queries)];
            let scores = &scores[at * keys..][..length];
            let most = greatest(scores);
            let row = &mut row[..length];
            for (share, score) in row.iter_mut().zip(scores) {
                *share = exp((score - most) * self.scale);
            }
            let sum: f32 = row.iter().sum();
            row.iter_mut().for_each(|share| *share /= sum);
        });
        Ok((CpuStorage::F32(shares), layout.shape().clone()))
    }

    /// With `p` the result and `g` its gradient: `scale·p·(g − Σ p·g)`.
    fn bwd(&self, scores: &Tensor, shares: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let gradient = gradient.contiguous()?;
        let (_, heads, queries, keys) = scores.dims4()?;
        let for_scores =
            slices::make([shares, &gradient], scores.shape(), |[shares, gradient]| {
                slices::fill_rows(shares.len(), keys, |at, row| {
                    let length = self.lengths[at / (heads * queries)];
                    let shares = &shares[at * keys..][..length];
                    let gradient = &gradient[at * keys..][..length];
                    let mean: f32 = shares.iter().zip(gradient).map(|(p, g)| p * g).sum();
                    for ((out, p), g) in row.iter_mut().zip(shares).zip(gradient) {
                        *out = self.scale * p * (g - mean);
                    }
                })
            })?;
        Ok(Some(for_scores))
    }
}

/// See [`super::dropout`]. The mask is drawn again for the backward pass instead of being kept.
pub(super) struct Dropout {
    /// Of 65,536 draws so many are dropped.
    dropped: u16,
    seed: u64,
}

/// Draws of 16 bits in one number of the generator.
const DRAWS: usize = 4;

impl Dropout {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the rate is between 0 and 1"
    )]
    pub(super) fn new(rate: f32, seed: Seed) -> Self {
        Self {
            dropped: (rate * 65_536.0) as u16,
            seed: seed.value(),
        }
    }

    fn masked(&self, x: &[f32]) -> Vec<f32> {
        let kept = 65_536.0 / (65_536.0 - f32::from(self.dropped));
        slices::fill(x.len(), slices::BLOCK, |first, out| {
            let x = &x[first..];
            let numbers = (first / DRAWS..).map(|at| mix(self.seed.wrapping_add(at as u64)));
            for ((out, x), number) in out.chunks_mut(DRAWS).zip(x.chunks(DRAWS)).zip(numbers) {
                for (at, (out, x)) in out.iter_mut().zip(x).enumerate() {
                    let draw = (number >> (16 * at)) & 0xffff;
                    *out = if draw < u64::from(self.dropped) {
                        0.0
                    } else {
                        x * kept
                    };
                }
            }
        })
    }
}

impl CustomOp1 for Dropout {
    fn name(&self) -> &'static str {
        "seeded-dropout"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let masked = self.masked(slices::of(x, layout)?);
        Ok((CpuStorage::F32(masked), layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let gradient = gradient.contiguous()?;
        slices::make([&gradient], x.shape(), |[gradient]| self.masked(gradient)).map(Some)
    }
}
