//! The weights of a BERT-shaped encoder, read from the folder in which they are published and checked for completeness.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use half::{bf16, f16};
use safetensors::{Dtype, SafeTensorError, SafeTensors};
use serde::Deserialize;

/// The file that describes the model.
const CONFIG_FILE: &str = "config.json";

/// The file that holds the numbers.
const WEIGHTS_FILE: &str = "model.safetensors";

/// Before the names of the tensors where they are part of a larger model.
const PREFIX: &str = "bert.";

/// The weights of a BERT-shaped encoder: all of them, each of the right shape.
#[derive(Clone, Debug, PartialEq)]
pub struct Weights {
    pub(super) config: Config,
    pub(super) embeddings: Embeddings,
    pub(super) layers: Vec<Layer>,
}

/// What `config.json` says of the model's shape.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Config {
    pub(super) layers: usize,
    pub(super) heads: usize,
    pub(super) hidden_size: usize,
    pub(super) epsilon: f32,
    inner_size: usize,
    vocabulary: usize,
    positions: usize,
    token_types: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Embeddings {
    pub(super) word: Tensor,
    pub(super) position: Tensor,
    pub(super) token_type: Tensor,
    pub(super) norm: Affine,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Layer {
    pub(super) query: Affine,
    pub(super) key: Affine,
    pub(super) value: Affine,
    pub(super) attention_output: Affine,
    pub(super) attention_norm: Affine,
    pub(super) intermediate: Affine,
    pub(super) output: Affine,
    pub(super) output_norm: Affine,
}

/// A linear layer (`weight` is outputs × inputs) or a normalisation.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Affine {
    pub(super) weight: Tensor,
    pub(super) bias: Tensor,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tensor {
    /// Without [`PREFIX`].
    pub(super) name: String,
    pub(super) shape: Vec<usize>,
    /// Row by row, as many as the shape says.
    pub(super) values: Vec<f32>,
}

/// What the weights in a folder have the form of, by its `config.json` alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    /// Layers above the embeddings.
    pub layers: usize,
    /// How long the hidden states are.
    pub hidden_size: usize,
}

impl Form {
    /// Reads `config.json`.
    ///
    /// # Errors
    /// It cannot be read, or describes another kind of model.
    pub fn read(dir: &Path) -> Result<Self, WeightsError> {
        let config = Config::read(&dir.join("config.json"))?;
        Ok(Self {
            layers: config.layers,
            hidden_size: config.hidden_size,
        })
    }
}

/// Why the weights cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// A file that cannot be read.
    #[error("cannot read {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A `config.json` that does not describe a model.
    #[error("{} does not describe a BERT model", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A model of another kind.
    #[error("{}: `{field}` is {found}; only {supported} can be run", path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// The field that says so.
        field: &'static str,
        /// What it says.
        found: String,
        /// What it would have to say.
        supported: &'static str,
    },
    /// A file that is no safetensors file, or is cut off.
    #[error("{} is no whole safetensors file", path.display())]
    Safetensors {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: SafeTensorError,
    },
    /// A tensor is not there.
    #[error("{} has no tensor `{tensor}`", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
    },
    /// A tensor whose shape is not the one that `config.json` implies.
    #[error("{}: the shape of `{tensor}` is {found:?}; by config.json it is {expected:?}", path.display())]
    Shape {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// Its shape.
        found: Vec<usize>,
        /// The shape that the configuration implies.
        expected: Vec<usize>,
    },
    /// A tensor of numbers that are not floating-point ones.
    #[error("{}: `{tensor}` holds {found} numbers; F32, F16 and BF16 can be read", path.display())]
    Dtype {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// What it holds.
        found: Dtype,
    },
}

impl Weights {
    /// Reads `config.json` and `model.safetensors` in the folder `dir`; tensors that the encoder does not use are left
    /// where they are.
    ///
    /// # Errors
    /// [`WeightsError`], with the file and the tensor.
    pub fn read(dir: &Path) -> Result<Self, WeightsError> {
        let config = Config::read(&dir.join(CONFIG_FILE))?;
        let path = dir.join(WEIGHTS_FILE);
        let bytes = read(&path)?;
        let tensors =
            SafeTensors::deserialize(&bytes).map_err(|source| WeightsError::Safetensors {
                path: path.clone(),
                source,
            })?;
        let file = TensorFile { path, tensors };
        Ok(Self {
            embeddings: Embeddings::read(&file, &config)?,
            layers: (0..config.layers)
                .map(|number| Layer::read(&file, &config, number))
                .collect::<Result<_, _>>()?,
            config,
        })
    }

    /// How many layers there are behind the embeddings.
    pub fn layers(&self) -> usize {
        self.config.layers
    }

    /// How many tokens of a text the model has positions for.
    pub fn positions(&self) -> usize {
        self.config.positions
    }

    /// Every tensor for change in place: its name (without a `bert.` prefix), its shape, and its numbers row by row.
    pub fn tensors_mut(&mut self) -> impl Iterator<Item = (&str, &[usize], &mut [f32])> {
        let layers = self.layers.iter_mut().flat_map(Layer::tensors_mut);
        let tensors = self.embeddings.tensors_mut().into_iter().chain(layers);
        tensors.map(|tensor| {
            (
                tensor.name.as_str(),
                tensor.shape.as_slice(),
                tensor.values.as_mut_slice(),
            )
        })
    }
}

/// `config.json`, as far as it matters here.
#[derive(Deserialize)]
struct RawConfig {
    model_type: String,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    hidden_size: usize,
    intermediate_size: usize,
    vocab_size: usize,
    max_position_embeddings: usize,
    type_vocab_size: usize,
    layer_norm_eps: f32,
    hidden_act: String,
    #[serde(default = "absolute")]
    position_embedding_type: String,
}

fn absolute() -> String {
    "absolute".into()
}

impl Config {
    fn read(path: &Path) -> Result<Self, WeightsError> {
        let raw: RawConfig = serde_json::from_slice(&read(path)?).map_err(|source| {
            let path = path.to_owned();
            WeightsError::Config { path, source }
        })?;
        let unsupported = |field, found: &dyn ToString, supported| {
            Err(WeightsError::Unsupported {
                path: path.to_owned(),
                field,
                found: found.to_string(),
                supported,
            })
        };
        let (heads, hidden_size) = (raw.num_attention_heads, raw.hidden_size);
        if raw.model_type != "bert" {
            return unsupported("model_type", &raw.model_type, "bert");
        }
        if raw.hidden_act != "gelu" {
            return unsupported("hidden_act", &raw.hidden_act, "gelu");
        }
        if raw.position_embedding_type != absolute() {
            let found = &raw.position_embedding_type;
            return unsupported("position_embedding_type", found, "absolute");
        }
        if heads == 0 || hidden_size == 0 || !hidden_size.is_multiple_of(heads) {
            return unsupported("num_attention_heads", &heads, "a divisor of `hidden_size`");
        }
        if raw.max_position_embeddings == 0 {
            return unsupported("max_position_embeddings", &0, "a number above 0");
        }
        Ok(Self {
            layers: raw.num_hidden_layers,
            heads,
            hidden_size,
            epsilon: raw.layer_norm_eps,
            inner_size: raw.intermediate_size,
            vocabulary: raw.vocab_size,
            positions: raw.max_position_embeddings,
            token_types: raw.type_vocab_size,
        })
    }
}

impl Embeddings {
    fn read(file: &TensorFile<'_>, config: &Config) -> Result<Self, WeightsError> {
        let table = |name: &str, rows| {
            let name = format!("embeddings.{name}_embeddings.weight");
            file.tensor(name, &[rows, config.hidden_size])
        };
        Ok(Self {
            word: table("word", config.vocabulary)?,
            position: table("position", config.positions)?,
            token_type: table("token_type", config.token_types)?,
            norm: file.norm("embeddings.LayerNorm", config.hidden_size)?,
        })
    }

    fn tensors_mut(&mut self) -> [&mut Tensor; 5] {
        let [weight, bias] = self.norm.tensors_mut();
        [
            &mut self.word,
            &mut self.position,
            &mut self.token_type,
            weight,
            bias,
        ]
    }
}

impl Layer {
    fn read(file: &TensorFile<'_>, config: &Config, number: usize) -> Result<Self, WeightsError> {
        let (hidden, inner) = (config.hidden_size, config.inner_size);
        let name = |part: &str| format!("encoder.layer.{number}.{part}");
        let linear = |part, outputs, inputs| file.linear(&name(part), outputs, inputs);
        let norm = |part| file.norm(&name(part), hidden);
        Ok(Self {
            query: linear("attention.self.query", hidden, hidden)?,
            key: linear("attention.self.key", hidden, hidden)?,
            value: linear("attention.self.value", hidden, hidden)?,
            attention_output: linear("attention.output.dense", hidden, hidden)?,
            attention_norm: norm("attention.output.LayerNorm")?,
            intermediate: linear("intermediate.dense", inner, hidden)?,
            output: linear("output.dense", hidden, inner)?,
            output_norm: norm("output.LayerNorm")?,
        })
    }

    fn tensors_mut(&mut self) -> impl Iterator<Item = &mut Tensor> {
        let parts = [
            &mut self.query,
            &mut self.key,
            &mut self.value,
            &mut self.attention_output,
            &mut self.attention_norm,
            &mut self.intermediate,
            &mut self.output,
            &mut self.output_norm,
        ];
        parts.into_iter().flat_map(Affine::tensors_mut)
    }
}

impl Affine {
    fn tensors_mut(&mut self) -> [&mut Tensor; 2] {
        [&mut self.weight, &mut self.bias]
    }
}

/// An open safetensors file.
struct TensorFile<'a> {
    path: PathBuf,
    tensors: SafeTensors<'a>,
}

impl TensorFile<'_> {
    fn linear(&self, name: &str, outputs: usize, inputs: usize) -> Result<Affine, WeightsError> {
        Ok(Affine {
            weight: self.tensor(format!("{name}.weight"), &[outputs, inputs])?,
            bias: self.tensor(format!("{name}.bias"), &[outputs])?,
        })
    }

    fn norm(&self, name: &str, size: usize) -> Result<Affine, WeightsError> {
        Ok(Affine {
            weight: self.tensor(format!("{name}.weight"), &[size])?,
            bias: self.tensor(format!("{name}.bias"), &[size])?,
        })
    }

    fn tensor(&self, name: String, shape: &[usize]) -> Result<Tensor, WeightsError> {
        let path = || self.path.clone();
        let plain = self.tensors.tensor(&name);
        let found = plain.or_else(|_| self.tensors.tensor(&format!("{PREFIX}{name}")));
        let Ok(view) = found else {
            let (path, tensor) = (path(), name);
            return Err(WeightsError::Missing { path, tensor });
        };
        if view.shape() != shape {
            return Err(WeightsError::Shape {
                path: path(),
                tensor: name,
                found: view.shape().to_vec(),
                expected: shape.to_vec(),
            });
        }
        let Some(values) = floats(view.dtype(), view.data()) else {
            return Err(WeightsError::Dtype {
                path: path(),
                tensor: name,
                found: view.dtype(),
            });
        };
        Ok(Tensor {
            name,
            shape: shape.to_vec(),
            values,
        })
    }
}

/// Little-endian numbers; none if they are no floating-point ones.
fn floats(dtype: Dtype, bytes: &[u8]) -> Option<Vec<f32>> {
    let (pairs, fours) = (bytes.as_chunks().0.iter(), bytes.as_chunks().0.iter());
    match dtype {
        Dtype::F32 => Some(fours.map(|bytes| f32::from_le_bytes(*bytes)).collect()),
        Dtype::F16 => Some(pairs.map(|b| f16::from_le_bytes(*b).to_f32()).collect()),
        Dtype::BF16 => Some(pairs.map(|b| bf16::from_le_bytes(*b).to_f32()).collect()),
        _ => None,
    }
}

fn read(path: &Path) -> Result<Vec<u8>, WeightsError> {
    fs::read(path).map_err(|source| {
        let path = path.to_owned();
        WeightsError::Io { path, source }
    })
}
