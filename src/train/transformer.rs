//! BERT (Devlin et al. 2019) as a differentiable function: pieces of texts → a vector of length 1 for each text.
//!
//! Only what training needs, in candle's autograd; `router/encoder` runs the same model at run time. Its linear maps can
//! carry low-rank changes, or have weights that are variable (see [`Linear`]); gradients flow to what is a candle variable and
//! to nothing else.

mod linear;
mod noise;
pub(crate) mod ops;

use std::sync::Arc;

use candle_core::{Device, Tensor};

use super::base::{Base, BaseError};

pub(crate) use linear::{Linear, LowRank};
pub(crate) use noise::Noise;

/// Some texts as word pieces, shorter ones padded to the longest.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    /// texts × longest, row by row.
    ids: Vec<u32>,
    /// Pieces of each text.
    lengths: Arc<[usize]>,
    longest: usize,
}

/// The model.
#[derive(Clone)]
pub(crate) struct Transformer {
    words: Tensor,
    positions: Tensor,
    /// The embedding of the first kind of segment, the only one that a text alone has.
    segment: Tensor,
    embedding_norm: Norm,
    layers: Vec<Layer>,
    heads: usize,
}

#[derive(Clone)]
struct Layer {
    query: Linear,
    key: Linear,
    value: Linear,
    attended: Linear,
    attended_norm: Norm,
    widen: Linear,
    narrow: Linear,
    output_norm: Norm,
}

#[derive(Clone)]
struct Norm {
    name: String,
    weight: Tensor,
    bias: Tensor,
    epsilon: f32,
}

impl Batch {
    /// Puts texts together, of one piece each at least.
    pub(crate) fn new(texts: &[&[u32]]) -> Self {
        let longest = texts.iter().map(|text| text.len()).max().unwrap_or(0);
        let mut ids = Vec::with_capacity(texts.len() * longest);
        for text in texts {
            ids.extend_from_slice(text);
            // Whatever stands there is masked.
            ids.resize(ids.len() + longest - text.len(), 0);
        }
        Self {
            ids,
            lengths: texts.iter().map(|text| text.len()).collect(),
            longest,
        }
    }

    /// Word pieces, padding aside.
    pub(crate) fn pieces(&self) -> usize {
        self.lengths.iter().sum()
    }
}

impl Transformer {
    /// The model of `base`, nothing in it variable.
    ///
    /// # Errors
    /// A tensor is missing or not of the shape that the configuration gives it.
    pub(crate) fn load(base: &Base, device: &Device) -> Result<Self, BaseError> {
        let config = &base.config;
        let hidden = config.hidden_size;
        let rows_of = |name: &str| -> Result<usize, BaseError> {
            let tensors = base.tensors()?;
            Ok(tensors
                .tensor(name)
                .map_or(0, |view| view.shape().first().copied().unwrap_or(0)))
        };
        let table = |name: &str| {
            let name = format!("embeddings.{name}_embeddings.weight");
            base.tensor(&name, &[rows_of(&name)?, hidden], device)
        };
        let segments = table("token_type")?;
        let layers = (0..config.num_hidden_layers).map(|at| Layer::load(base, at, device));
        Ok(Self {
            words: table("word")?,
            positions: table("position")?,
            segment: segments
                .narrow(0, 0, 1)
                .map_err(|error| BaseError::Unusable {
                    path: base.dir.clone(),
                    detail: error.to_string(),
                })?,
            embedding_norm: Norm::load(base, "embeddings.LayerNorm", device)?,
            layers: layers.collect::<Result<_, _>>()?,
            heads: config.num_attention_heads,
        })
    }

    /// A vector of length 1 for each text: texts × hidden.
    ///
    /// # Errors
    /// The device failed, or a text has more pieces than the model has positions.
    pub(crate) fn forward(&self, batch: &Batch, noise: &mut Noise) -> candle_core::Result<Tensor> {
        let (texts, longest) = (batch.lengths.len(), batch.longest);
        let hidden = self.words.dim(1)?;
        let ids = Tensor::from_slice(&batch.ids, batch.ids.len(), self.words.device())?;
        let places = self.positions.narrow(0, 0, longest)?;
        let places = places.broadcast_add(&self.segment)?;
        let mut x = self
            .words
            .index_select(&ids, 0)?
            .reshape((texts, longest, hidden))?
            .broadcast_add(&places)?
            .reshape((texts * longest, hidden))?;
        x = noise.apply(&self.embedding_norm.forward(&x)?)?;
        for layer in &self.layers {
            x = layer.forward(&x, batch, self.heads, noise)?;
        }
        let means = batch.means(x.device())?;
        let mean = means
            .matmul(&x.reshape((texts, longest, hidden))?)?
            .squeeze(1)?;
        mean.broadcast_div(&mean.sqr()?.sum_keepdim(1)?.sqrt()?)
    }

    /// Word pieces that the model knows.
    pub(crate) fn pieces(&self) -> candle_core::Result<usize> {
        self.words.dim(0)
    }

    /// Takes the changes of low rank into the weights that [`Self::forward`] applies; due whenever they have moved.
    pub(crate) fn merge(&mut self) -> candle_core::Result<()> {
        self.linears_mut().try_for_each(Linear::merge)
    }

    /// Every linear map of the layers.
    pub(crate) fn linears_mut(&mut self) -> impl Iterator<Item = &mut Linear> {
        self.layers.iter_mut().flat_map(Layer::linears_mut)
    }

    /// Every bias, and every scale and shift of the norms, with its name in the weights' file.
    pub(crate) fn vectors_mut(&mut self) -> impl Iterator<Item = (String, &mut Tensor)> {
        let layers = self.layers.iter_mut().flat_map(Layer::vectors_mut);
        self.embedding_norm.vectors_mut().into_iter().chain(layers)
    }
}

impl Batch {
    /// For each text the row of weights whose product with its pieces' vectors is their mean: texts × 1 × longest.
    #[expect(
        clippy::cast_precision_loss,
        reason = "texts are of some hundred pieces"
    )]
    fn means(&self, device: &Device) -> candle_core::Result<Tensor> {
        let mut weights = vec![0.0_f32; self.ids.len()];
        for (row, &length) in weights.chunks_mut(self.longest).zip(self.lengths.iter()) {
            row[..length].fill(1.0 / length as f32);
        }
        Tensor::from_vec(weights, (self.lengths.len(), 1, self.longest), device)
    }
}

impl Layer {
    fn load(base: &Base, at: usize, device: &Device) -> Result<Self, BaseError> {
        let hidden = base.config.hidden_size;
        let name = |part: &str| format!("encoder.layer.{at}.{part}");
        let square = |part: &str| Linear::load(base, &name(part), (hidden, hidden), device);
        let wide = base
            .tensors()?
            .tensor(&name("intermediate.dense.weight"))
            .map_or(0, |view| view.shape().first().copied().unwrap_or(0));
        Ok(Self {
            query: square("attention.self.query")?,
            key: square("attention.self.key")?,
            value: square("attention.self.value")?,
            attended: square("attention.output.dense")?,
            attended_norm: Norm::load(base, &name("attention.output.LayerNorm"), device)?,
            widen: Linear::load(base, &name("intermediate.dense"), (wide, hidden), device)?,
            narrow: Linear::load(base, &name("output.dense"), (hidden, wide), device)?,
            output_norm: Norm::load(base, &name("output.LayerNorm"), device)?,
        })
    }

    /// `x` and what comes back: pieces × hidden, the texts of the batch one after the other.
    fn forward(
        &self,
        x: &Tensor,
        batch: &Batch,
        heads: usize,
        noise: &mut Noise,
    ) -> candle_core::Result<Tensor> {
        let attended = self
            .attended
            .forward(&self.attend(x, batch, heads, noise)?)?;
        let x = self
            .attended_norm
            .forward(&(noise.apply(&attended)? + x)?)?;
        let wide = ops::gelu(&self.widen.forward(&x)?)?;
        let narrow = self.narrow.forward(&wide)?;
        self.output_norm.forward(&(noise.apply(&narrow)? + x)?)
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "a head has some dozen dimensions"
    )]
    fn attend(
        &self,
        x: &Tensor,
        batch: &Batch,
        heads: usize,
        noise: &mut Noise,
    ) -> candle_core::Result<Tensor> {
        let (texts, hidden) = (batch.lengths.len(), x.dim(1)?);
        let width = hidden / heads;
        let by_head = |linear: &Linear| {
            linear
                .forward(x)?
                .reshape((texts, batch.longest, heads, width))?
                .transpose(1, 2)?
                .contiguous()
        };
        let (query, key, value) = (
            by_head(&self.query)?,
            by_head(&self.key)?,
            by_head(&self.value)?,
        );
        let scores = query.matmul(&key.t()?)?;
        let attention = ops::softmax(&scores, 1.0 / (width as f32).sqrt(), &batch.lengths)?;
        noise
            .apply(&attention)?
            .matmul(&value)?
            .transpose(1, 2)?
            .contiguous()?
            .reshape(x.shape())
    }

    fn linears_mut(&mut self) -> [&mut Linear; 6] {
        [
            &mut self.query,
            &mut self.key,
            &mut self.value,
            &mut self.attended,
            &mut self.widen,
            &mut self.narrow,
        ]
    }

    fn vectors_mut(&mut self) -> impl Iterator<Item = (String, &mut Tensor)> {
        let linears = [
            &mut self.query,
            &mut self.key,
            &mut self.value,
            &mut self.attended,
            &mut self.widen,
            &mut self.narrow,
        ];
        let norms = [&mut self.attended_norm, &mut self.output_norm];
        let biases = linears.into_iter().map(Linear::bias_mut);
        biases.chain(norms.into_iter().flat_map(Norm::vectors_mut))
    }
}

impl Norm {
    fn load(base: &Base, name: &str, device: &Device) -> Result<Self, BaseError> {
        let hidden = [base.config.hidden_size];
        Ok(Self {
            name: name.to_owned(),
            weight: base.tensor(&format!("{name}.weight"), &hidden, device)?,
            bias: base.tensor(&format!("{name}.bias"), &hidden, device)?,
            epsilon: base.config.layer_norm_eps,
        })
    }

    fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        ops::layer_norm(x, &self.weight, &self.bias, self.epsilon)
    }

    fn vectors_mut(&mut self) -> [(String, &mut Tensor); 2] {
        [
            (format!("{}.weight", self.name), &mut self.weight),
            (format!("{}.bias", self.name), &mut self.bias),
        ]
    }
}
