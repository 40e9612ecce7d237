//! Text → vector: all-MiniLM-L6-v2 and its like, through ONNX Runtime.
//!
//! The model runs on a thread of its own behind a bounded queue; [`places`] says who gets in, [`worker`] how it shares
//! its time. Knows nothing of categories.

pub mod adapter;
mod places;
mod runtime;
pub mod table;
pub mod wordpiece;
mod worker;

use std::{
    fs,
    path::{Path, PathBuf},
    thread::{self, JoinHandle},
};

use fastembed::{
    InitOptionsUserDefined, Pooling, TextEmbedding, TokenizerFiles, UserDefinedEmbeddingModel,
};
use sha2::{Digest as _, Sha256};
use tokio::sync::{mpsc, oneshot};

use self::{
    places::{PLACES, Places},
    worker::{Job, Reading, Reply},
};
use crate::config::EncoderConfig;

/// Texts that one call may carry: more is a job for several calls, so that no single caller can fill the memory.
pub const TEXTS_MAX: usize = 256;

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

/// The encoder of this process; dropping it ends its thread.
pub struct Encoder {
    /// Taken only by `drop`.
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    places: Places,
    name: String,
    fingerprint: String,
    dimensions: usize,
}

/// What texts were turned into.
#[derive(Clone, Debug, PartialEq)]
pub struct Embedded {
    /// A vector of length 1 for each text, in the order of the texts.
    pub vectors: Vec<Vec<f32>>,
    /// Word pieces that were read, over all texts, with the two marks that frame each text.
    pub tokens: usize,
}

/// Why texts could not be turned into vectors.
#[derive(Debug, thiserror::Error)]
pub enum EncoderError {
    /// No library at the configured place.
    #[error(
        "the ONNX Runtime library {} does not exist; run scripts/models, or point ORT_DYLIB_PATH or router.encoder.runtime at libonnxruntime",
        path.display()
    )]
    RuntimeMissing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// A file that is no ONNX Runtime library, or one that is too old.
    #[error(
        "{} cannot be used as ONNX Runtime (at least 1.{} is needed): {detail}; run scripts/models, or point ORT_DYLIB_PATH or router.encoder.runtime at another libonnxruntime",
        path.display(), runtime::MINOR_VERSION_MIN
    )]
    RuntimeUnusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// Another library is in use already; a process can load but one.
    #[error(
        "ONNX Runtime was loaded from {} in this process and cannot be loaded from {} as well; use one path for all encoders",
        loaded.display(), path.display()
    )]
    RuntimeAlreadyLoaded {
        /// The library that was asked for.
        path: PathBuf,
        /// The library in use.
        loaded: PathBuf,
    },
    /// A file of the model cannot be read.
    #[error(
        "cannot read {}; run scripts/models, or point router.encoder.model at a folder with model.onnx and the tokenizer's files",
        path.display()
    )]
    ModelFile {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The files are there, but they are no model.
    #[error("{} holds no encoder that ONNX Runtime can run; fetch the model again with scripts/models", dir.display())]
    Model {
        /// The model's folder.
        dir: PathBuf,
        /// What is wrong with it.
        source: Box<fastembed::Error>,
    },
    /// The operating system gave no thread.
    #[error("the operating system gave no thread for the encoder")]
    Thread {
        /// Why not.
        source: std::io::Error,
    },
    /// All places are taken.
    #[error("the encoder is busy: as many calls as it takes are waiting; try again")]
    Busy,
    /// More texts than one call may carry.
    #[error("{texts} texts in one call; at most {TEXTS_MAX} are allowed")]
    TooManyTexts {
        /// Texts given.
        texts: usize,
    },
    /// The model failed on these texts.
    #[error("the encoder failed: {detail}")]
    Failed {
        /// What it said.
        detail: String,
    },
    /// The encoder's thread is gone.
    #[error("the encoder has stopped")]
    Stopped,
}

impl Encoder {
    /// Loads the runtime and the model and starts the encoder's thread. Blocks for some hundred milliseconds.
    ///
    /// # Errors
    /// Whatever is missing or unusable, with its path and what to do.
    pub fn open(config: &EncoderConfig) -> Result<Self, EncoderError> {
        let environment = runtime::environment(&config.runtime)?;
        let files = ModelFiles::read(&config.model_dir)?;
        let fingerprint = files.fingerprint();
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let options = InitOptionsUserDefined::new()
            .with_environment(environment)
            .with_max_length(PIECES_MAX)
            .with_intra_threads(threads.min(THREADS_MAX))
            .with_session_config(ALLOW_SPINNING, "0");
        let failed = |source: fastembed::Error| EncoderError::Model {
            dir: config.model_dir.clone(),
            source: Box::new(source),
        };
        let mut model = TextEmbedding::try_new_from_user_defined(files.into_model(), options)
            .map_err(failed)?;
        let probe = model.embed(["probe"], None).map_err(failed)?;
        let dimensions = probe.first().map_or(0, Vec::len);
        let (jobs, waiting) = mpsc::channel(PLACES);
        let thread = thread::Builder::new()
            .name("encoder".into())
            .spawn(move || worker::run(waiting, |texts| read(&mut model, texts)))
            .map_err(|source| EncoderError::Thread { source })?;
        Ok(Self {
            jobs: Some(jobs),
            thread: Some(thread),
            places: Places::new(),
            name: config.name.clone(),
            fingerprint,
            dimensions,
        })
    }

    /// Turns at most [`TEXTS_MAX`] texts into vectors. Dropping the future takes the texts out of the queue.
    ///
    /// # Errors
    /// `Busy` where too many calls are waiting, at once; `Failed` where the model failed on these texts.
    pub async fn embed(&self, texts: Vec<String>) -> Result<Embedded, EncoderError> {
        if texts.len() > TEXTS_MAX {
            return Err(EncoderError::TooManyTexts { texts: texts.len() });
        }
        if texts.is_empty() {
            return Ok(Embedded {
                vectors: Vec::new(),
                tokens: 0,
            });
        }
        let place = self.places.call()?;
        self.read(|reply| Job::new(texts, reply, place)).await
    }

    /// Turns a question that is to be routed into a vector, ahead of all that [`Self::embed`] is asked for.
    ///
    /// # Errors
    /// `Busy` where questions alone are more than the encoder takes, after a short wait; `Failed` where the model failed.
    pub async fn embed_question(&self, text: String) -> Result<Vec<f32>, EncoderError> {
        let place = self.places.question().await?;
        let embedded = self.read(|reply| Job::question(text, reply, place)).await?;
        let vector = embedded.vectors.into_iter().next();
        vector.ok_or(EncoderError::Stopped)
    }

    async fn read(&self, job: impl FnOnce(Reply) -> Job) -> Result<Embedded, EncoderError> {
        let (reply, answer) = oneshot::channel();
        let jobs = self.jobs.as_ref().ok_or(EncoderError::Stopped)?;
        jobs.try_send(job(reply)).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => EncoderError::Busy,
            mpsc::error::TrySendError::Closed(_) => EncoderError::Stopped,
        })?;
        // The thread ended before it answered: its end of the channel went with it.
        answer.await.unwrap_or(Err(EncoderError::Stopped))
    }

    /// The name that `/v1/embeddings` knows it by.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A digest of the files that decide what its vectors are.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// How long its vectors are.
    pub fn dimensions(&self) -> usize {
        self.dimensions
    }
}

impl Drop for Encoder {
    /// Waits for the thread, at most for one batch: ONNX Runtime must not be torn down under it when the process ends.
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            // A panic was answered where it happened; nothing is left to say.
            drop(thread.join());
        }
    }
}

/// The files of a model, whole.
struct ModelFiles {
    onnx: Vec<u8>,
    tokenizer: TokenizerFiles,
}

impl ModelFiles {
    fn read(dir: &Path) -> Result<Self, EncoderError> {
        let file = |name| {
            let path = dir.join(name);
            fs::read(&path).map_err(|source| EncoderError::ModelFile { path, source })
        };
        Ok(Self {
            onnx: file("model.onnx")?,
            tokenizer: TokenizerFiles {
                tokenizer_file: file("tokenizer.json")?,
                config_file: file("config.json")?,
                special_tokens_map_file: file("special_tokens_map.json")?,
                tokenizer_config_file: file("tokenizer_config.json")?,
            },
        })
    }

    fn fingerprint(&self) -> String {
        let mut digest = Sha256::new();
        for file in [&self.onnx, &self.tokenizer.tokenizer_file] {
            digest.update(file.len().to_le_bytes());
            digest.update(file);
        }
        digest.update(PIECES_MAX.to_le_bytes());
        hex::encode(digest.finalize())
    }

    /// fastembed replaces whatever padding and truncation the tokenizer's file asks for by its own.
    fn into_model(self) -> UserDefinedEmbeddingModel {
        UserDefinedEmbeddingModel::new(self.onnx, self.tokenizer).with_pooling(Pooling::Mean)
    }
}

/// Turns one batch into vectors, in order, and counts the pieces of each text.
fn read(model: &mut TextEmbedding, texts: &[&str]) -> Result<Vec<Reading>, String> {
    let texts: Vec<&str> = texts
        .iter()
        .map(|text| &text[..text.floor_char_boundary(TEXT_BYTES_MAX)])
        .collect();
    let vectors = model
        .embed(&texts, Some(texts.len()))
        .map_err(|error| error.to_string())?;
    let pieces = texts.iter().map(|text| {
        // Alone a text is not padded: the length is its own.
        model
            .tokenizer
            .encode_fast(*text, true)
            .map_or(0, |encoding| encoding.len())
    });
    Ok(vectors
        .into_iter()
        .zip(pieces)
        .map(|(vector, pieces)| Reading { vector, pieces })
        .collect())
}
