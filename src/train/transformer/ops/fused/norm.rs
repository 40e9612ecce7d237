//! Layer normalisation.

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};

use super::super::slices;

/// See [`super::super::layer_norm`].
pub(in super::super) struct LayerNorm {
    pub(in super::super) epsilon: f32,
}

/// What a row is normalised by.
struct Moments {
    mean: f32,
    /// One over the deviation.
    scale: f32,
}

impl LayerNorm {
    #[expect(
        clippy::cast_precision_loss,
        reason = "rows are of some thousand numbers"
    )]
    fn moments(&self, row: &[f32]) -> Moments {
        let count = row.len() as f32;
        let mean = row.iter().sum::<f32>() / count;
        let variance = row.iter().map(|x| (x - mean) * (x - mean)).sum::<f32>() / count;
        Moments {
            mean,
            scale: 1.0 / (variance + self.epsilon).sqrt(),
        }
    }
}

impl CustomOp3 for LayerNorm {
    fn name(&self) -> &'static str {
        "layer-norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let x = slices::of(x, layout)?;
        let weight = slices::of(weight, weight_layout)?;
        let bias = slices::of(bias, bias_layout)?;
        let width = weight.len();
        let result = slices::fill_rows(x.len(), width, |at, out| {
            let x = &x[at * width..][..width];
            let Moments { mean, scale } = self.moments(x);
            for (((out, x), weight), bias) in out.iter_mut().zip(x).zip(weight).zip(bias) {
                *out = (x - mean) * scale * weight + bias;
            }
        });
        Ok((CpuStorage::F32(result), layout.shape().clone()))
    }

    /// With `n` the normalised row, `g` the gradient and `h` = `g`·weight: `(h − mean h − n·mean(h·n)) / deviation` for
    /// `x`, the sums of `g·n` and of `g` for weight and bias.
    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let gradient = gradient.contiguous()?;
        let (rows, width) = x.dims2()?;
        let for_x = slices::make(
            [x, weight, &gradient],
            x.shape(),
            |[x, weight, gradient]| {
                slices::fill_rows(x.len(), width, |at, out| {
                    let (x, gradient) =
                        (&x[at * width..][..width], &gradient[at * width..][..width]);
                    self.row_gradient(x, weight, gradient, out);
                })
            },
        )?;
        let for_both = slices::make([x, &gradient], (2, width), |[x, gradient]| {
            slices::sum_rows(rows, 2 * width, |at, sums| {
                let (x, gradient) = (&x[at * width..][..width], &gradient[at * width..][..width]);
                let Moments { mean, scale } = self.moments(x);
                let (for_weight, for_bias) = sums.split_at_mut(width);
                let sums = for_weight.iter_mut().zip(for_bias);
                for (((for_weight, for_bias), x), gradient) in sums.zip(x).zip(gradient) {
                    *for_weight += gradient * (x - mean) * scale;
                    *for_bias += gradient;
                }
            })
        })?;
        let (for_weight, for_bias) = (for_both.get(0)?, for_both.get(1)?);
        Ok((Some(for_x), Some(for_weight), Some(for_bias)))
    }
}

impl LayerNorm {
    #[expect(
        clippy::cast_precision_loss,
        reason = "rows are of some thousand numbers"
    )]
    fn row_gradient(&self, x: &[f32], weight: &[f32], gradient: &[f32], out: &mut [f32]) {
        let Moments { mean, scale } = self.moments(x);
        let (mut along, mut across) = (0.0, 0.0);
        for ((x, weight), gradient) in x.iter().zip(weight).zip(gradient) {
            let h = gradient * weight;
            along += h;
            across += h * (x - mean) * scale;
        }
        let count = x.len() as f32;
        let (along, across) = (along / count, across / count);
        for (((out, x), weight), gradient) in out.iter_mut().zip(x).zip(weight).zip(gradient) {
            let normalised = (x - mean) * scale;
            *out = (gradient * weight - along - normalised * across) * scale;
        }
    }
}
