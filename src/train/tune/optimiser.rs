//! `AdamW` (Loshchilov and Hutter 2019) whose moments can be written down, which candle's own cannot.

use candle_core::{D, Result, Tensor, backprop::GradStore};

use super::model::Parameter;

const BETAS: [f64; 2] = [0.9, 0.999];
const EPSILON: f64 = 1e-8;
const WEIGHT_DECAY: f64 = 0.01;

/// The length that the gradient of all parameters together is cut to.
const GRADIENT_NORM_MAX: f64 = 1.0;

/// The share of the steps in which the learning rate rises.
const WARM_UP: f64 = 0.1;

/// Works on the numbers of all parameters as one long vector: a GPU would spend its time on starting some thousand
/// small operations otherwise, and nothing here waits for it.
pub(super) struct AdamW {
    pub(super) moments: Moments,
    /// The learning rate of each number, before the schedule.
    rates: Tensor,
}

/// The running moments of the gradient of all parameters, one parameter after the other.
pub(super) struct Moments {
    pub(super) mean: Tensor,
    pub(super) square: Tensor,
}

impl AdamW {
    pub(super) fn new(parameters: &[Parameter]) -> Result<Self> {
        let rates = joined(parameters, |parameter| {
            parameter
                .variable
                .ones_like()?
                .affine(parameter.learning_rate, 0.0)
        })?;
        Ok(Self {
            moments: Moments {
                mean: rates.zeros_like()?,
                square: rates.zeros_like()?,
            },
            rates,
        })
    }

    /// Moves the parameters against their gradients, for the time number `step` (from 0) of `steps`.
    pub(super) fn step(
        &mut self,
        parameters: &[Parameter],
        gradients: &GradStore,
        (step, steps): (usize, usize),
    ) -> Result<()> {
        let gradient = joined(parameters, |parameter| {
            gradients.get(&parameter.variable).map_or_else(
                || parameter.variable.zeros_like(),
                |gradient| Ok(gradient.clone()),
            )
        })?;
        let gradient = gradient.broadcast_mul(&clipping(&gradient)?)?;
        self.moments.update(&gradient)?;
        let power = i32::try_from(step + 1).unwrap_or(i32::MAX);
        let [unbias_mean, unbias_square] = BETAS.map(|beta| 1.0 / (1.0 - beta.powi(power)));
        let mean = self.moments.mean.affine(unbias_mean, 0.0)?;
        let deviation = self.moments.square.affine(unbias_square, 0.0)?.sqrt()?;
        let descent = (mean / deviation.affine(1.0, EPSILON)?)?;
        let values = joined(parameters, |parameter| Ok(parameter.variable.detach()))?;
        let decay = values.affine(WEIGHT_DECAY, 0.0)?;
        let rates = self.rates.affine(schedule(step, steps), 0.0)?;
        let values = (values - ((descent + decay)? * rates)?)?;
        set_all(parameters, &values)
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

/// What `part` makes of every parameter, in one vector.
fn joined(parameters: &[Parameter], part: impl Fn(&Parameter) -> Result<Tensor>) -> Result<Tensor> {
    let parts = parameters
        .iter()
        .map(|parameter| part(parameter)?.flatten_all());
    Tensor::cat(&parts.collect::<Result<Vec<_>>>()?, 0)
}

/// Gives every parameter its part of a vector that is laid out as [`joined`] does it.
fn set_all(parameters: &[Parameter], values: &Tensor) -> Result<()> {
    let mut from = 0;
    for Parameter { variable, .. } in parameters {
        let count = variable.elem_count();
        variable.set(&values.narrow(0, from, count)?.reshape(variable.shape())?)?;
        from += count;
    }
    Ok(())
}

/// What a gradient is multiplied by so that it is not longer than [`GRADIENT_NORM_MAX`].
fn clipping(gradient: &Tensor) -> Result<Tensor> {
    let norm = gradient.sqr()?.sum(D::Minus1)?.sqrt()?;
    (norm + 1e-6)?
        .recip()?
        .affine(GRADIENT_NORM_MAX, 0.0)?
        .minimum(1.0)
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
        let scale_of = |gradient: [f32; 2]| -> f32 {
            let gradient = Tensor::new(&gradient, &Device::Cpu).unwrap();
            clipping(&gradient).unwrap().to_scalar().unwrap()
        };
        let scale = scale_of([6.0, 8.0]);
        assert!((scale - 0.1).abs() < 1e-6, "{scale}");
        let scale = scale_of([0.06, 0.08]);
        assert!((scale - 1.0).abs() < 1e-9, "{scale}");
    }

    #[test]
    fn a_parabola_is_descended_to_its_bottom() {
        // The second has no gradient, and keeps its place beside the first.
        let parameters = [parameter(&[3.0, -2.0]), parameter(&[7.0])];
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
        let decayed: Vec<f32> = parameters[1].variable.to_vec1().unwrap();
        assert!(decayed[0] < 7.0 && decayed[0] > 5.0, "{decayed:?}");
    }
}
