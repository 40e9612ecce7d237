//! A tuned encoder as `coterie encoder tune` left it: what a head on top of it is fitted on.

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
};

use ndarray::{ArrayView1, Axis};
use safetensors::{Dtype, SafeTensors};
use sha2::{Digest as _, Sha256};

use super::{
    dataset::{Dataset, KEY_BYTES, Key},
    fit::Readings,
    reading::{self, ReadError},
};
use crate::{
    config::EncoderConfig,
    router::{
        artefact::{ADAPTER_FILE, Artefact},
        encoder::{
            Encoder, EncoderError, Reading,
            adapter::{Adapter, AdapterError},
        },
        model::Transformer,
    },
};

/// Logits of the tuned rows, each by an encoder that has not seen the row.
const HELD_BACK_FILE: &str = "held_back.safetensors";

/// A tuned encoder with what it said of rows that it had not seen.
pub struct Tuned {
    adapter: Adapter,
    adapter_file: PathBuf,
    sha256: String,
    held_back: HashMap<Key, Vec<f32>>,
    config: EncoderConfig,
}

/// Why a tuned encoder cannot be trained on.
#[derive(Debug, thiserror::Error)]
pub enum TunedError {
    /// The adapter.
    #[error(transparent)]
    Adapter(#[from] AdapterError),
    /// A file cannot be read.
    #[error("{} cannot be read; run `coterie encoder tune` with --folds, so that there are logits of rows held back", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The logits of rows held back are not what tuning writes.
    #[error("{} cannot be used: {detail}; run `coterie encoder tune` again", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
}

impl Tuned {
    /// Opens the folder that tuning wrote; `base` is the encoder that was tuned.
    ///
    /// # Errors
    /// The file that is missing or damaged.
    pub fn open(folder: &Path, base: &EncoderConfig) -> Result<Self, TunedError> {
        let (adapter_file, held_back_file) =
            (folder.join(ADAPTER_FILE), folder.join(HELD_BACK_FILE));
        let unreadable = |path: &Path| {
            let path = path.to_owned();
            |source| TunedError::Io { path, source }
        };
        let adapter = Adapter::read(&adapter_file)?;
        let bytes = fs::read(&adapter_file).map_err(unreadable(&adapter_file))?;
        let logits = fs::read(&held_back_file).map_err(unreadable(&held_back_file))?;
        let held_back = held_back(&logits, adapter.about().categories.len());
        Ok(Self {
            held_back: held_back.map_err(|detail| TunedError::Corrupt {
                path: held_back_file,
                detail,
            })?,
            sha256: hex::encode(Sha256::digest(&bytes)),
            adapter,
            adapter_file,
            config: base.clone(),
        })
    }

    /// The tuned encoder of a router, for rows that it was not tuned on.
    pub fn unseen(adapter: Adapter, router: &Artefact, base: &EncoderConfig) -> Self {
        Self {
            adapter,
            adapter_file: router.folder.join(ADAPTER_FILE),
            sha256: router.id().to_string(),
            held_back: HashMap::new(),
            config: base.clone(),
        }
    }

    /// What it says of every row: from those held back, and where a row was not among the tuned ones, by reading it, or from what
    /// was read before. `base`: the fingerprint of the encoder that was tuned.
    ///
    /// # Errors
    /// The encoder failed.
    pub async fn readings(
        &self,
        dataset: &Dataset,
        base: &str,
        artefacts: &Path,
    ) -> Result<Readings, ReadError> {
        let head = self.head();
        let classes = self.adapter.about().categories.len();
        let reader = format!("{base}-{}", self.sha256);
        let mut cache = reading::cache(artefacts, &reader, classes);
        let mut unseen = reading::missing(dataset, &cache);
        unseen.retain(|row| !self.held_back.contains_key(&dataset.keys[*row]));
        if !unseen.is_empty() {
            let (config, adapter) = (self.config.clone(), self.adapter.clone());
            let opened =
                tokio::task::spawn_blocking(move || Encoder::open(&config, &[], Some(&adapter)));
            let encoder = opened.await.map_err(|_cancelled| EncoderError::Stopped)??;
            let numbers = |reading: &Reading| head.features(reading);
            reading::read(&encoder, (dataset, &unseen), &mut cache, numbers).await?;
        }
        let mut logits = cache.matrix(&dataset.keys);
        for (mut row, key) in logits.rows_mut().into_iter().zip(&dataset.keys) {
            if let Some(of_row) = self.held_back.get(key) {
                row.assign(&ArrayView1::from(of_row));
            }
        }
        Ok(Readings::Tuned {
            teacher: self
                .columns(dataset)
                .map(|columns| logits.select(Axis(1), &columns)),
            logits,
            head,
        })
    }

    /// SHA-256 of the adapter's file, hexadecimal.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// The adapter's file.
    pub fn into_adapter_file(self) -> PathBuf {
        self.adapter_file
    }

    fn head(&self) -> Transformer {
        let head = self.adapter.head();
        Transformer::Tuned {
            weights: head.weight.clone(),
            bias: head.bias.clone(),
        }
    }

    /// Whether the cheap tier can learn from what it says.
    pub fn teaches(&self, dataset: &Dataset) -> bool {
        self.columns(dataset).is_some()
    }

    /// The column of each of the dataset's classes in its logits; none if one of those was not tuned on, or if no row was held back
    /// from it, since what it says of rows that it has seen is not worth learning.
    fn columns(&self, dataset: &Dataset) -> Option<Vec<usize>> {
        let known = &self.adapter.about().categories;
        let column_of = |category| known.iter().position(|known| known == category);
        let columns = dataset.categories.iter().map(column_of);
        columns
            .collect::<Option<_>>()
            .filter(|_| !self.held_back.is_empty())
    }
}

fn held_back(bytes: &[u8], classes: usize) -> Result<HashMap<Key, Vec<f32>>, String> {
    let tensors = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
    let tensor = |name: &str, dtype: Dtype, width: usize| match tensors.tensor(name) {
        Ok(view) if view.dtype() == dtype && view.shape().last() == Some(&width) => Ok(view),
        Ok(view) => Err(format!(
            "`{name}` is {:?} of shape {:?}",
            view.dtype(),
            view.shape()
        )),
        Err(_absent) => Err(format!("there is no `{name}`")),
    };
    let keys = tensor("keys", Dtype::U8, KEY_BYTES)?;
    let logits = tensor("logits", Dtype::F32, classes)?;
    let numbers = logits
        .data()
        .as_chunks::<4>()
        .0
        .iter()
        .map(|bytes| f32::from_le_bytes(*bytes));
    let numbers: Vec<f32> = numbers.collect();
    let rows = keys
        .data()
        .as_chunks::<KEY_BYTES>()
        .0
        .iter()
        .zip(numbers.chunks_exact(classes.max(1)));
    Ok(rows.map(|(key, logits)| (*key, logits.to_vec())).collect())
}
