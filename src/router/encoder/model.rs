//! The model of one folder: its files → a session of ONNX Runtime and a tokenizer; texts → readings.

use std::{
    fs, io,
    path::{Path, PathBuf},
    thread,
};

use fastembed::{
    InitOptionsUserDefined, OutputKey, Pooling, SingleBatchOutput, TextEmbedding, TokenizerFiles,
    UserDefinedEmbeddingModel,
};
use ndarray::Array2;
use ort::environment::Environment;
use sha2::{Digest as _, Sha256 as Hasher};

use super::{EncoderError, Reading, adapter::Adapter};
use crate::{
    models::Sha256,
    onnx::{self, Form, Output, Weights, WeightsError},
};

/// Word pieces of a text that are read; the rest is cut off. The model was trained on no more.
const PIECES_MAX: usize = 256;

/// Bytes of a text that are tokenised: far more than [`PIECES_MAX`] pieces of any writing, and a bound on the time that
/// a hostile text can take.
const TEXT_BYTES_MAX: usize = 16 * 1024;

/// Threads that work on one batch. The model is too small for more to help.
const THREADS_MAX: usize = 4;

/// Whether ONNX Runtime's threads spin while they wait for one another. Off: the cores are shared with the local experts,
/// and where those are at work a spinning thread keeps the one that it waits for from running (a decision took three
/// times as long).
const ALLOW_SPINNING: &str = "session.intra_op.allow_spinning";

/// What graphs by others call the output that is to be pooled, the likeliest first.
const LAST_LAYER: &[OutputKey] = &[
    OutputKey::OnlyOne,
    OutputKey::ByName("text_embeds"),
    OutputKey::ByName("last_hidden_state"),
    OutputKey::ByName("sentence_embedding"),
];

/// What can be known of a model without loading it.
pub(super) struct Sketch {
    pub(super) fingerprint: String,
    pub(super) dimensions: usize,
}

impl Sketch {
    /// Reads the files in `dir`, the weights for their sum alone; none where only the graph itself could tell, or where it
    /// has no such layers.
    pub(super) fn read(dir: &Path, layers: &[usize]) -> Result<Option<Self>, EncoderError> {
        let source = Source::in_folder(dir);
        if matches!(source, Source::Onnx(_)) {
            return Ok(None);
        }
        let form = Form::read(dir).map_err(weights_error)?;
        if layers.iter().any(|layer| *layer > form.layers) {
            return Ok(None);
        }
        let digest = fingerprint(&tokenizer_files(dir)?, layers);
        let sum = Sha256::of_file(source.path()).map_err(unreadable(source.path()))?;
        Ok(Some(Self {
            fingerprint: hex::encode(digest.chain_update(sum.to_string()).finalize()),
            dimensions: form.hidden_size,
        }))
    }
}

/// A model that is ready to read.
pub(super) struct Model {
    session: TextEmbedding,
    /// The outputs of the layers that were asked for, in that order.
    layers: Vec<String>,
    fingerprint: String,
}

impl Model {
    /// Loads the model in `dir`: from `model.safetensors`, or from `model.onnx` where that is all there is.
    pub(super) fn open(
        dir: &Path,
        layers: &[usize],
        adapter: Option<&Adapter>,
        environment: Environment,
    ) -> Result<Self, EncoderError> {
        let source = Source::in_folder(dir);
        let tokenizer = tokenizer_files(dir)?;
        let digest = fingerprint(&tokenizer, layers);
        // Taking the sum of the weights is as slow as building the graph from them.
        let (sum, session) = rayon::join(
            || Sha256::of_file(source.path()).map_err(unreadable(source.path())),
            || {
                session(
                    dir,
                    source.graph(dir, layers, adapter)?,
                    tokenizer,
                    environment,
                )
            },
        );
        let sum = sum?.to_string();
        if let Some(adapter) = adapter {
            adapter.check_base(&sum)?;
        }
        Ok(Self {
            session: session?,
            layers: layers
                .iter()
                .map(|n| Output::HiddenState(*n).to_string())
                .collect(),
            fingerprint: hex::encode(digest.chain_update(sum).finalize()),
        })
    }

    /// A digest of everything that decides what is read out of a text.
    pub(super) fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Reads one batch; the readings are in the order of the texts.
    pub(super) fn read(&mut self, texts: &[&str]) -> Result<Vec<Reading>, fastembed::Error> {
        let texts: Vec<&str> = texts
            .iter()
            .map(|text| &text[..text.floor_char_boundary(TEXT_BYTES_MAX)])
            .collect();
        let outputs = self.session.transform(&texts, Some(texts.len()))?;
        let mut readings = Vec::with_capacity(texts.len());
        for batch in outputs.into_raw() {
            readings.extend(self.readings(&batch)?);
        }
        Ok(readings)
    }

    fn readings(&self, batch: &SingleBatchOutput) -> Result<Vec<Reading>, fastembed::Error> {
        let last = batch.select_and_pool_output(&LAST_LAYER, Some(Pooling::Mean))?;
        let layers = self
            .layers
            .iter()
            .map(|name| pooled(batch, name))
            .collect::<Result<Vec<_>, _>>()?;
        let pieces = batch.attention_mask_array.rows().into_iter();
        Ok(pieces
            .zip(last.rows())
            .enumerate()
            .map(|(text, (mask, vector))| Reading {
                vector: of_length_one(vector.to_vec()),
                layers: layers
                    .iter()
                    .map(|layer| layer.row(text).to_vec())
                    .collect(),
                pieces: mask.iter().filter(|seen| **seen != 0).count(),
            })
            .collect())
    }
}

/// The mean over each text's pieces of the output called `name`.
fn pooled(batch: &SingleBatchOutput, name: &str) -> Result<Array2<f32>, fastembed::Error> {
    let at = batch.outputs.iter().position(|(output, _)| output == name);
    // An output that is not there is an error of fastembed's, which lists those that are.
    let key = OutputKey::ByOrder(at.unwrap_or(usize::MAX));
    batch.select_and_pool_output(&&key, Some(Pooling::Mean))
}

fn of_length_one(mut vector: Vec<f32>) -> Vec<f32> {
    let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    if length > 0.0 {
        vector.iter_mut().for_each(|x| *x /= length);
    }
    vector
}

/// What the graph is made from.
enum Source {
    Weights(PathBuf),
    /// A graph by someone else, perhaps quantised.
    Onnx(PathBuf),
}

/// A graph, and how many pieces it reads of a text.
struct Graph {
    onnx: Vec<u8>,
    pieces_max: usize,
}

impl Source {
    fn in_folder(dir: &Path) -> Self {
        let (weights, onnx) = (dir.join("model.safetensors"), dir.join("model.onnx"));
        if onnx.is_file() && !weights.is_file() {
            Self::Onnx(onnx)
        } else {
            Self::Weights(weights)
        }
    }

    fn path(&self) -> &Path {
        match self {
            Self::Weights(path) | Self::Onnx(path) => path,
        }
    }

    fn graph(
        &self,
        dir: &Path,
        layers: &[usize],
        adapter: Option<&Adapter>,
    ) -> Result<Graph, EncoderError> {
        match self {
            Self::Weights(_) => built(dir, layers, adapter),
            Self::Onnx(path) if layers.is_empty() && adapter.is_none() => Ok(Graph {
                onnx: fs::read(path).map_err(unreadable(path))?,
                pieces_max: PIECES_MAX,
            }),
            Self::Onnx(path) => Err(EncoderError::OnlyLastLayer {
                path: path.clone(),
                layers: layers.to_vec(),
            }),
        }
    }
}

/// The graph of the weights in `dir`, changed by the adapter, with an output for each of the layers.
fn built(dir: &Path, layers: &[usize], adapter: Option<&Adapter>) -> Result<Graph, EncoderError> {
    let mut weights = Weights::read(dir).map_err(weights_error)?;
    if let Some(adapter) = adapter {
        for (name, shape, values) in weights.tensors_mut() {
            adapter.apply(name, shape, values)?;
        }
    }
    let mut outputs = vec![Output::LastHiddenState];
    outputs.extend(layers.iter().map(|layer| Output::HiddenState(*layer)));
    let onnx = onnx::bert(&weights, &outputs).map_err(|source| EncoderError::NoSuchLayer {
        dir: dir.to_owned(),
        source,
    })?;
    Ok(Graph {
        onnx,
        pieces_max: PIECES_MAX.min(weights.positions()),
    })
}

fn weights_error(error: WeightsError) -> EncoderError {
    match error {
        WeightsError::Io { path, source } => EncoderError::ModelFile { path, source },
        source => EncoderError::Weights { source },
    }
}

/// fastembed replaces whatever padding and truncation the tokenizer's file asks for by its own.
fn session(
    dir: &Path,
    graph: Graph,
    tokenizer: TokenizerFiles,
    environment: Environment,
) -> Result<TextEmbedding, EncoderError> {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let options = InitOptionsUserDefined::new()
        .with_environment(environment)
        .with_max_length(graph.pieces_max)
        .with_intra_threads(threads.min(THREADS_MAX))
        .with_session_config(ALLOW_SPINNING, "0");
    let model = UserDefinedEmbeddingModel::new(graph.onnx, tokenizer);
    TextEmbedding::try_new_from_user_defined(model, options).map_err(EncoderError::model(dir))
}

fn tokenizer_files(dir: &Path) -> Result<TokenizerFiles, EncoderError> {
    let file = |name| {
        let path = dir.join(name);
        fs::read(&path).map_err(unreadable(&path))
    };
    Ok(TokenizerFiles {
        tokenizer_file: file("tokenizer.json")?,
        config_file: file("config.json")?,
        special_tokens_map_file: file("special_tokens_map.json")?,
        tokenizer_config_file: file("tokenizer_config.json")?,
    })
}

/// The digest of all but the weights. Every part is preceded by its length, so that no two inputs look alike.
fn fingerprint(tokenizer: &TokenizerFiles, layers: &[usize]) -> Hasher {
    let files = [
        &tokenizer.tokenizer_file,
        &tokenizer.config_file,
        &tokenizer.special_tokens_map_file,
        &tokenizer.tokenizer_config_file,
    ];
    let numbers = [PIECES_MAX, layers.len()];
    let numbers = numbers
        .iter()
        .chain(layers)
        .map(|n| (*n as u64).to_le_bytes());
    let mut digest = Hasher::new();
    for file in files {
        digest.update((file.len() as u64).to_le_bytes());
        digest.update(file);
    }
    numbers.for_each(|number| digest.update(number));
    digest
}

fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> EncoderError {
    let path = path.to_owned();
    |source| EncoderError::ModelFile { path, source }
}
