//! The transformer that training starts from: a folder as the model store keeps it.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use candle_core::{Device, Tensor};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use tokenizers::{Tokenizer, TruncationParams};

/// The weights, fp32.
pub(crate) const WEIGHTS: &str = "model.safetensors";

/// What is copied beside weights made from these.
pub(crate) const COMPANIONS: [&str; 4] = [
    "tokenizer.json",
    "config.json",
    "special_tokens_map.json",
    "tokenizer_config.json",
];

/// A transformer on disk, read.
pub(crate) struct Base {
    pub(crate) dir: PathBuf,
    pub(crate) config: Config,
    pub(crate) tokenizer: Tokenizer,
    /// The whole of [`WEIGHTS`].
    pub(crate) weights: Vec<u8>,
    /// Of [`Self::weights`], hexadecimal.
    pub(crate) sha256: String,
}

/// The measures of a BERT, as `config.json` names them.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Config {
    pub(crate) model_type: String,
    pub(crate) hidden_act: String,
    pub(crate) hidden_size: usize,
    pub(crate) num_hidden_layers: usize,
    pub(crate) num_attention_heads: usize,
    pub(crate) max_position_embeddings: usize,
    pub(crate) layer_norm_eps: f32,
}

/// Why a folder cannot be trained from.
#[derive(Debug, thiserror::Error)]
pub enum BaseError {
    /// A file of the folder.
    #[error(
        "cannot read {}; name the folder of a transformer with model.safetensors, config.json and tokenizer.json (scripts/models fetches one)",
        path.display()
    )]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The files are there, but not those of a BERT encoder.
    #[error("{}: {detail}; a BERT encoder with fp32 weights is needed, such as all-MiniLM-L6-v2", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
}

impl Base {
    /// Reads the transformer in `dir`.
    ///
    /// # Errors
    /// A file is missing, or is not what a BERT encoder has.
    pub(crate) fn read(dir: &Path) -> Result<Self, BaseError> {
        let unusable = |name: &str, detail: String| BaseError::Unusable {
            path: dir.join(name),
            detail,
        };
        let config = serde_json::from_slice(&read_file(dir, "config.json")?)
            .map_err(|error| error.to_string())
            .and_then(Config::check)
            .map_err(|detail| unusable("config.json", detail))?;
        let tokenizer = Tokenizer::from_bytes(read_file(dir, "tokenizer.json")?)
            .map_err(|error| unusable("tokenizer.json", error.to_string()))?;
        let weights = read_file(dir, WEIGHTS)?;
        SafeTensors::deserialize(&weights).map_err(|error| unusable(WEIGHTS, error.to_string()))?;
        Ok(Self {
            dir: dir.to_owned(),
            config,
            tokenizer,
            sha256: hex::encode(Sha256::digest(&weights)),
            weights,
        })
    }

    /// The same transformer with other weights: the whole of a file like [`WEIGHTS`].
    pub(crate) fn with_weights(&self, weights: Vec<u8>) -> Self {
        Self {
            dir: self.dir.clone(),
            config: self.config.clone(),
            tokenizer: self.tokenizer.clone(),
            sha256: hex::encode(Sha256::digest(&weights)),
            weights,
        }
    }

    /// The tensor `name` on `device`.
    ///
    /// # Errors
    /// There is none, or it does not have `dims` numbers of 32 bits.
    pub(crate) fn tensor(
        &self,
        name: &str,
        dims: &[usize],
        device: &Device,
    ) -> Result<Tensor, BaseError> {
        let unusable = |detail: String| BaseError::Unusable {
            path: self.dir.join(WEIGHTS),
            detail,
        };
        let tensors = self.tensors()?;
        let view = tensors
            .tensor(name)
            .map_err(|_absent| unusable(format!("there is no tensor {name}")))?;
        if view.dtype() != Dtype::F32 || view.shape() != dims {
            let (dtype, shape) = (view.dtype(), view.shape());
            let detail = format!("{name} is {dtype:?} {shape:?} where F32 {dims:?} is expected");
            return Err(unusable(detail));
        }
        Tensor::from_vec(floats(&view), dims, device).map_err(|error| unusable(error.to_string()))
    }

    /// All tensors.
    ///
    /// # Errors
    /// None that [`Self::read`] would not have met.
    pub(crate) fn tensors(&self) -> Result<SafeTensors<'_>, BaseError> {
        SafeTensors::deserialize(&self.weights).map_err(|error| BaseError::Unusable {
            path: self.dir.join(WEIGHTS),
            detail: error.to_string(),
        })
    }

    /// The tokenizer without the padding that its file may ask for, cutting texts off at `pieces_max`.
    ///
    /// # Errors
    /// The tokenizer cannot be cut off there.
    pub(crate) fn tokenizer_cut_at(&self, pieces_max: usize) -> Result<Tokenizer, BaseError> {
        let truncation = TruncationParams {
            max_length: pieces_max,
            ..TruncationParams::default()
        };
        let mut tokenizer = self.tokenizer.clone();
        tokenizer.with_padding(None);
        match tokenizer.with_truncation(Some(truncation)) {
            Ok(_) => Ok(tokenizer),
            Err(error) => Err(BaseError::Unusable {
                path: self.dir.join("tokenizer.json"),
                detail: error.to_string(),
            }),
        }
    }
}

impl Config {
    fn check(self) -> Result<Self, String> {
        if self.model_type != "bert" || self.hidden_act != "gelu" {
            let (model, activation) = (&self.model_type, &self.hidden_act);
            return Err(format!("it is a `{model}` with `{activation}`"));
        }
        if self.num_attention_heads == 0
            || !self.hidden_size.is_multiple_of(self.num_attention_heads)
        {
            let (hidden, heads) = (self.hidden_size, self.num_attention_heads);
            return Err(format!("{heads} heads cannot share {hidden} dimensions"));
        }
        Ok(self)
    }
}

/// The numbers of an F32 tensor.
pub(crate) fn floats(view: &TensorView<'_>) -> Vec<f32> {
    let (numbers, _) = view.data().as_chunks::<4>();
    numbers
        .iter()
        .map(|bytes| f32::from_le_bytes(*bytes))
        .collect()
}

fn read_file(dir: &Path, name: &str) -> Result<Vec<u8>, BaseError> {
    let path = dir.join(name);
    fs::read(&path).map_err(|source| BaseError::Io { path, source })
}
