//! What is tuned: the transformer with its changes, and the head.

use candle_core::{Device, Result, Tensor, Var, backprop::GradStore};

use super::{TuneError, loss};
use crate::train::{
    base::Base,
    seed::{Seed, normals},
    transformer::{Batch, Linear, LowRank, Noise, Transformer},
};

/// What `B·A` is multiplied by.
const CHANGE_SCALE: f64 = 2.0;

/// What the vectors are multiplied by before the head: their numbers are small, and the head would learn too slowly.
const VECTOR_SCALE: f64 = 10.0;

/// Of what is trained beside weights that stay: changes of low rank, biases, norms.
const LEARNING_RATE: f64 = 1e-3;
/// Of the weights themselves, and of the vectors beside them.
const WEIGHTS_LEARNING_RATE: f64 = 1e-4;
const HEAD_LEARNING_RATE: f64 = 2e-3;
const HEAD_DEVIATION: f32 = 0.02;

/// The model of one fit.
pub(super) struct Model {
    transformer: Transformer,
    head: Head,
    /// Everything that is trained; shares its numbers with the transformer and the head.
    pub(super) parameters: Vec<Parameter>,
}

/// Numbers that are trained.
pub(super) struct Parameter {
    pub(super) name: String,
    pub(super) variable: Var,
    pub(super) learning_rate: f64,
}

/// The linear classifier.
struct Head {
    /// classes × hidden.
    weight: Tensor,
    bias: Tensor,
}

/// What of the base may change, beside its vectors.
#[derive(Clone, Copy)]
pub(super) enum Change {
    /// Every linear map, by a change of this rank.
    LowRank(usize),
    /// Every number of the linear maps.
    AllWeights,
}

impl Model {
    /// The base with changes that change nothing yet, and a random head for so many `classes`.
    pub(super) fn new(
        base: &Base,
        (change, classes): (Change, usize),
        seed: Seed,
        device: &Device,
    ) -> std::result::Result<Self, TuneError> {
        let mut transformer = Transformer::load(base, device)?;
        let mut parameters = Parameters {
            seed,
            device,
            list: Vec::new(),
        };
        parameters.set_free(&mut transformer, change)?;
        let head = parameters.head(classes, base.config.hidden_size)?;
        Ok(Self {
            transformer,
            head,
            parameters: parameters.list,
        })
    }

    /// The loss of a batch of texts, a scalar still on the device, and its gradients.
    pub(super) fn gradients(
        &mut self,
        batch: &Batch,
        classes: &[u32],
        noise: &mut Noise,
    ) -> Result<(Tensor, GradStore)> {
        let loss = self.loss(batch, classes, noise)?;
        let gradients = loss.backward()?;
        Ok((loss.detach(), gradients))
    }

    pub(super) fn loss(
        &mut self,
        batch: &Batch,
        classes: &[u32],
        noise: &mut Noise,
    ) -> Result<Tensor> {
        self.transformer.merge()?;
        let vectors = self.transformer.forward(batch, noise)?;
        let logits = self.head.forward(&vectors, noise)?;
        loss::loss(&logits, &vectors, classes)
    }

    /// Texts × classes.
    #[cfg(test)]
    pub(super) fn logits(&mut self, batch: &Batch) -> Result<Tensor> {
        self.transformer.merge()?;
        let vectors = self.transformer.forward(batch, &mut Noise::none())?;
        self.head.forward(&vectors, &mut Noise::none())
    }
}

impl Head {
    fn forward(&self, vectors: &Tensor, noise: &mut Noise) -> Result<Tensor> {
        let vectors = noise.apply(&vectors.affine(VECTOR_SCALE, 0.0)?)?;
        vectors.matmul(&self.weight.t()?)?.broadcast_add(&self.bias)
    }
}

/// Parameters in the making: each gets random numbers of its own.
struct Parameters<'d> {
    seed: Seed,
    device: &'d Device,
    list: Vec<Parameter>,
}

impl Parameters<'_> {
    fn set_free(&mut self, transformer: &mut Transformer, change: Change) -> Result<()> {
        let learning_rate = match change {
            Change::LowRank(_) => LEARNING_RATE,
            Change::AllWeights => WEIGHTS_LEARNING_RATE,
        };
        for linear in transformer.linears_mut() {
            match change {
                Change::LowRank(rank) => self.adapt(linear, rank)?,
                Change::AllWeights => {
                    let weight = linear.weight().clone();
                    linear.set_weight(self.add(linear.weight_name(), &weight, learning_rate)?);
                }
            }
        }
        for (name, vector) in transformer.vectors_mut() {
            *vector = self.add(name, &vector.clone(), learning_rate)?;
        }
        Ok(())
    }

    #[expect(clippy::cast_precision_loss, reason = "maps have some thousand inputs")]
    fn adapt(&mut self, linear: &mut Linear, rank: usize) -> Result<()> {
        let name = linear.weight_name();
        let (outputs, inputs) = linear.dims()?;
        let a = self.normal((rank, inputs), (inputs as f32).sqrt().recip())?;
        let b = Tensor::zeros((outputs, rank), a.dtype(), self.device)?;
        linear.adapt(LowRank {
            a: self.add(format!("{name}.lora_a"), &a, LEARNING_RATE)?,
            b: self.add(format!("{name}.lora_b"), &b, LEARNING_RATE)?,
            scale: CHANGE_SCALE,
        });
        Ok(())
    }

    fn head(&mut self, classes: usize, hidden: usize) -> Result<Head> {
        let weight = self.normal((classes, hidden), HEAD_DEVIATION)?;
        let bias = Tensor::zeros(classes, weight.dtype(), self.device)?;
        Ok(Head {
            weight: self.add("head.weight".into(), &weight, HEAD_LEARNING_RATE)?,
            bias: self.add("head.bias".into(), &bias, HEAD_LEARNING_RATE)?,
        })
    }

    fn normal(&self, (rows, columns): (usize, usize), deviation: f32) -> Result<Tensor> {
        let seed = self.seed.stream("parameter", self.list.len() as u64);
        let numbers = normals(seed, rows * columns, deviation);
        Tensor::from_vec(numbers, (rows, columns), self.device)
    }

    /// A parameter that starts from `value`; what comes back follows it.
    fn add(&mut self, name: String, value: &Tensor, learning_rate: f64) -> Result<Tensor> {
        let variable = Var::from_tensor(value)?;
        let tensor = variable.as_tensor().clone();
        self.list.push(Parameter {
            name,
            variable,
            learning_rate,
        });
        Ok(tensor)
    }
}

/// The scale of a change goes into its `B` where it is written.
pub(super) fn written_scale(name: &str) -> f64 {
    if name.ends_with(".lora_b") {
        CHANGE_SCALE
    } else if name == "head.weight" {
        VECTOR_SCALE
    } else {
        1.0
    }
}
