//! The Gaussian error linear unit.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};

use super::super::slices;
use crate::simd::exp;

/// See [`super::super::gelu`].
pub(in super::super) struct Gelu;

impl CustomOp1 for Gelu {
    fn name(&self) -> &'static str {
        "gelu"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = slices::of(x, layout)?;
        let result = slices::fill(x.len(), slices::BLOCK, |first, out| {
            for (out, &x) in out.iter_mut().zip(&x[first..]) {
                *out = x * Normal::at(x).below;
            }
        });
        Ok((CpuStorage::F32(result), layout.shape().clone()))
    }

    /// `Φ(x) + x·φ(x)`.
    fn bwd(&self, x: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let gradient = gradient.contiguous()?;
        let for_x = slices::make([x, &gradient], x.shape(), |[x, gradient]| {
            slices::fill(x.len(), slices::BLOCK, |first, out| {
                let (x, gradient) = (&x[first..], &gradient[first..]);
                for ((out, &x), gradient) in out.iter_mut().zip(x).zip(gradient) {
                    let normal = Normal::at(x);
                    *out = gradient * (normal.below + x * normal.density);
                }
            })
        })?;
        Ok(Some(for_x))
    }
}

/// The normal distribution at one place.
struct Normal {
    below: f32,
    density: f32,
}

impl Normal {
    /// By formula 7.1.26 of Abramowitz and Stegun (1964) for the error function: wrong by 1.5·10⁻⁷ at most.
    #[inline]
    fn at(x: f32) -> Self {
        let z = x.abs() * std::f32::consts::FRAC_1_SQRT_2;
        let t = 1.0 / (1.0 + 0.327_591_1 * z);
        let polynomial = t
            * (0.254_829_6
                + t * (-0.284_496_74 + t * (1.421_413_7 + t * (-1.453_152_1 + t * 1.061_405_4))));
        let bell = exp(-z * z);
        let above = 0.5 * polynomial * bell;
        Self {
            below: if x < 0.0 { above } else { 1.0 - above },
            density: bell
                * (std::f32::consts::FRAC_1_SQRT_2 * 0.5 * std::f32::consts::FRAC_2_SQRT_PI),
        }
    }
}

#[cfg(test)]
mod tests {
    use statrs::distribution::{Continuous, ContinuousCDF, Normal as Exact};

    use super::*;

    #[test]
    fn the_normal_distribution_is_right_everywhere() {
        let exact = Exact::new(0.0, 1.0).unwrap();
        for step in -1200..=1200_i16 {
            let x = f32::from(step) / 100.0;
            let normal = Normal::at(x);
            let below = exact.cdf(f64::from(x));
            let density = exact.pdf(f64::from(x));
            assert!((f64::from(normal.below) - below).abs() < 4e-7, "{x}");
            assert!((f64::from(normal.density) - density).abs() < 2e-7, "{x}");
        }
    }
}
