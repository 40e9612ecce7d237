//! `AdamW` (Loshchilov and Hutter 2019) whose moments can be written down, which candle's own cannot.

use candle_core::{DType, Result, Tensor, backprop::GradStore};

use super::model::Parameter;

const BETAS: [f64; 2] = [0.9, 0.999];
const EPSILON: f64 = 1e-8;
const WEIGHT_DECAY: f64 = 0.01;

/// The length that the gradient of all parameters together is cut to.
const GRADIENT_NORM_MAX: f64 = 1.0;

/// The share of the steps in which the learning rate rises.
const WARM_UP: f64 = 0.1;

/// The running moments of every parameter, in the order of the parameters.
pub(super) struct AdamW {
    pub(super) moments: Vec<Moments>,
}

/// Of one parameter's gradient.
pub(super) struct Moments {
    pub(super) mean: Tensor,
    pub(super) square: Tensor,
}

impl AdamW {
    pub(super) fn new(parameters: &[Parameter]) -> Result<Self> {
        let moments = parameters.iter().map(|parameter| {
            Ok(Moments {
                mean: parameter.variable.zeros_like()?,
                square: parameter.variable.zeros_like()?,
            })
        });
        Ok(Self {
            moments: moments.collect::<Result<_>>()?,
        })
    }

    /// Moves the parameters against their gradients, for the time number `step` (from 0) of `steps`.
    pub(super) fn step(
        &mut self,
        parameters: &[Parameter],
        gradients: &GradStore,
        (step, steps): (usize, usize),
    ) -> Result<()> {
        let scale = clipping(parameters, gradients)?;
        let schedule = schedule(step, steps);
        let power = i32::try_from(step + 1).unwrap_or(i32::MAX);
        let [unbias_mean, unbias_square] = BETAS.map(|beta| 1.0 / (1.0 - beta.powi(power)));
        for (parameter, moments) in parameters.iter().zip(&mut self.moments) {
            let Some(gradient) = gradients.get(&parameter.variable) else {
                continue;
            };
            let gradient = gradient.affine(scale, 0.0)?;
            moments.update(&gradient)?;
            let rate = parameter.learning_rate * schedule;
            let mean = moments.mean.affine(unbias_mean * rate, 0.0)?;
            let deviation = moments.square.affine(unbias_square, 0.0)?.sqrt()?;
            let change = (mean / deviation.affine(1.0, EPSILON)?)?;
            let kept = parameter.variable.affine(1.0 - rate * WEIGHT_DECAY, 0.0)?;
            parameter.variable.set(&(kept - change)?)?;
        }
        Ok(())
    }
}

impl Moments {
    fn update(&mut self, gradient: &Tensor) -> Result<()> {
        let [mean, square] = BETAS;
        self.mean = (self.mean.affine(mean, 0.0)? + gradient.affine(1.0 - mean, 0.0)?)?;
        let squared = gradient.sqr()?.affine(1.0 - square, 0.0)?;
        self.square = (self.square.affine(square, 0.0)? + squared)?;
        Ok(())
    }
}

/// What the gradients are multiplied by so that together they are not longer than [`GRADIENT_NORM_MAX`].
fn clipping(parameters: &[Parameter], gradients: &GradStore) -> Result<f64> {
    let squares = parameters
        .iter()
        .filter_map(|parameter| gradients.get(&parameter.variable))
        .map(|gradient| gradient.sqr()?.sum_all())
        .collect::<Result<Vec<_>>>()?;
    if squares.is_empty() {
        return Ok(1.0);
    }
    let sum = Tensor::stack(&squares, 0)?
        .to_dtype(DType::F64)?
        .sum_all()?;
    let norm = sum.to_scalar::<f64>()?.sqrt();
    Ok((GRADIENT_NORM_MAX / (norm + 1e-6)).min(1.0))
}

/// The share of the learning rate at one step: linearly up, then linearly down to 0 after the last.
#[expect(
    clippy::cast_precision_loss,
    reason = "some thousand steps, far below 2⁵²"
)]
fn schedule(step: usize, steps: usize) -> f64 {
    let (step, steps) = (step as f64, steps as f64);
    let warm_up = (steps * WARM_UP).max(1.0);
    ((step + 1.0) / warm_up)
        .min((steps - step) / (steps - warm_up).max(1.0))
        .min(1.0)
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;

    fn parameter(values: &[f32]) -> Parameter {
        Parameter {
            name: "x".into(),
            variable: Var::from_slice(values, values.len(), &Device::Cpu).unwrap(),
            learning_rate: 0.1,
        }
    }

    #[test]
    fn the_rate_rises_for_a_tenth_and_falls_to_nothing() {
        let rates: Vec<f64> = (0..100).map(|step| schedule(step, 100)).collect();
        assert!((rates[0] - 0.1).abs() < 1e-9);
        assert!((rates[9] - 1.0).abs() < 1e-9);
        assert!((rates[99] - 1.0 / 90.0).abs() < 1e-9);
        let top = rates.iter().position(|rate| *rate >= 1.0).unwrap();
        assert!(rates[..=top].is_sorted() && rates[top + 1..].iter().rev().is_sorted());
        assert!((schedule(0, 1) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn a_long_gradient_is_cut_and_a_short_one_is_not() {
        let x = parameter(&[3.0, 4.0]);
        let squared = x.variable.sqr().unwrap().sum_all().unwrap();
        let scale = clipping(std::slice::from_ref(&x), &squared.backward().unwrap()).unwrap();
        // The gradient is (6, 8).
        assert!((scale - 0.1).abs() < 1e-6, "{scale}");
        let short = squared.affine(0.01, 0.0).unwrap().backward().unwrap();
        assert!((clipping(&[x], &short).unwrap() - 1.0).abs() < 1e-9);
    }

    #[test]
    fn a_parabola_is_descended_to_its_bottom() {
        let parameters = [parameter(&[3.0, -2.0])];
        let mut optimiser = AdamW::new(&parameters).unwrap();
        for step in 0..400 {
            let height = (parameters[0].variable.as_tensor() - 1.0).unwrap();
            let height = height.sqr().unwrap().sum_all().unwrap();
            let gradients = height.backward().unwrap();
            optimiser
                .step(&parameters, &gradients, (step, 400))
                .unwrap();
        }
        let found: Vec<f32> = parameters[0].variable.to_vec1().unwrap();
        assert!(found.iter().all(|x| (x - 1.0).abs() < 0.02), "{found:?}");
    }
}
