//! What is tuned: the transformer with its changes, and the head.

use candle_core::{Device, Result, Tensor, Var, backprop::GradStore};

use super::{TuneError, dataset::Dataset, loss};
use crate::train::{
    base::Base,
    seed::{Seed, normals},
    transformer::{Batch, LowRank, Noise, Transformer},
};

/// What `B·A` is multiplied by.
const CHANGE_SCALE: f64 = 2.0;

/// What the vectors are multiplied by before the head: their numbers are small, and the head would learn too slowly.
pub(super) const VECTOR_SCALE: f64 = 10.0;

const LEARNING_RATE: f64 = 1e-3;
const HEAD_LEARNING_RATE: f64 = 2e-3;
const HEAD_DEVIATION: f32 = 0.02;

/// Rows that are scored at once.
const SCORED_ROWS: usize = 64;

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
#[derive(Clone)]
struct Head {
    /// classes × hidden.
    weight: Tensor,
    bias: Tensor,
}

/// The shape of what is added to the base.
#[derive(Clone, Copy)]
pub(super) struct Addition {
    pub(super) rank: usize,
    pub(super) classes: usize,
}

impl Model {
    /// The base with changes that change nothing yet, and a random head.
    pub(super) fn new(
        base: &Base,
        addition: Addition,
        seed: Seed,
        device: &Device,
    ) -> std::result::Result<Self, TuneError> {
        let mut transformer = Transformer::load(base, device)?;
        let mut parameters = Parameters {
            seed,
            device,
            list: Vec::new(),
        };
        parameters.adapt(&mut transformer, addition.rank)?;
        let head = parameters.head(addition.classes, base.config.hidden_size)?;
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

    /// The logits of `rows`, one after the other.
    pub(super) fn logits(&self, dataset: &Dataset, rows: &[usize]) -> Result<Vec<f32>> {
        let mut transformer = self.transformer.clone();
        transformer.merge()?;
        let (transformer, head) = (transformer.detached(), self.head.detached());
        let classes = dataset.categories.len();
        let pieces = |row: usize| &dataset.rows[row].pieces[..];
        let mut places: Vec<usize> = (0..rows.len()).collect();
        places.sort_by_key(|place| pieces(rows[*place]).len());
        let mut all = vec![0.0; rows.len() * classes];
        for places in places.chunks(SCORED_ROWS) {
            let texts: Vec<&[u32]> = places.iter().map(|place| pieces(rows[*place])).collect();
            let vectors = transformer.forward(&Batch::new(&texts), &mut Noise::none())?;
            let logits = head.forward(&vectors, &mut Noise::none())?;
            let logits: Vec<Vec<f32>> = logits.to_vec2()?;
            for (place, logits) in places.iter().zip(logits) {
                all[place * classes..][..classes].copy_from_slice(&logits);
            }
        }
        Ok(all)
    }
}

impl Head {
    fn forward(&self, vectors: &Tensor, noise: &mut Noise) -> Result<Tensor> {
        let vectors = noise.apply(&vectors.affine(VECTOR_SCALE, 0.0)?)?;
        vectors.matmul(&self.weight.t()?)?.broadcast_add(&self.bias)
    }

    fn detached(&self) -> Self {
        Self {
            weight: self.weight.detach(),
            bias: self.bias.detach(),
        }
    }
}

/// Parameters in the making: each gets random numbers of its own.
struct Parameters<'d> {
    seed: Seed,
    device: &'d Device,
    list: Vec<Parameter>,
}

impl Parameters<'_> {
    #[expect(clippy::cast_precision_loss, reason = "maps have some thousand inputs")]
    fn adapt(&mut self, transformer: &mut Transformer, rank: usize) -> Result<()> {
        for linear in transformer.linears_mut() {
            let name = linear.weight_name();
            let (outputs, inputs) = linear.dims()?;
            let a = self.normal((rank, inputs), (inputs as f32).sqrt().recip())?;
            let b = Tensor::zeros((outputs, rank), a.dtype(), self.device)?;
            linear.adapt(LowRank {
                a: self.add(format!("{name}.lora_a"), &a, LEARNING_RATE)?,
                b: self.add(format!("{name}.lora_b"), &b, LEARNING_RATE)?,
                scale: CHANGE_SCALE,
            });
        }
        for (name, vector) in transformer.vectors_mut() {
            *vector = self.add(name, &vector.clone(), LEARNING_RATE)?;
        }
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
