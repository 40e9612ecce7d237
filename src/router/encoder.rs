//! Text → vector: all-MiniLM-L6-v2 and its like, through ONNX Runtime.
//!
//! The model runs on a thread of its own behind a bounded queue; [`places`] says who gets in, [`worker`] how it shares
//! its time. Knows nothing of categories.

pub mod adapter;
pub(crate) mod metadata;
mod model;
mod places;
mod runtime;
pub mod table;
pub mod wordpiece;
mod worker;

use std::{
    path::{Path, PathBuf},
    thread::{self, JoinHandle},
};

use tokio::sync::{OnceCell, mpsc, oneshot};

use self::{
    adapter::{Adapter, AdapterError},
    model::{Model, Sketch},
    places::{PLACES, Places},
    worker::{Job, Reply},
};
use crate::{
    config::EncoderConfig,
    onnx::{NoSuchLayer, WeightsError},
};

/// Texts that one call may carry: more is a job for several calls, so that no single caller can fill the memory.
pub const TEXTS_MAX: usize = 256;

/// The encoder of this process; dropping it ends its thread.
pub struct Encoder {
    /// Empty until somebody wants something read.
    worker: OnceCell<Worker>,
    places: Places,
    config: EncoderConfig,
    fingerprint: String,
    dimensions: usize,
    layers: Vec<usize>,
}

/// The thread on which a model runs.
struct Worker {
    /// Taken only by `drop`.
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

/// What was read out of one text.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// The last layer's hidden states, their mean over the text's pieces, brought to length 1.
    pub vector: Vec<f32>,
    /// The same mean as it is, for each layer that was asked for, in that order.
    pub layers: Vec<Vec<f32>>,
    /// Word pieces that were read, with the two marks that frame the text.
    pub pieces: usize,
}

impl Reading {
    /// The vectors of the layers that were asked for, or of the last one where none was.
    pub fn vectors(&self) -> Vec<&[f32]> {
        match self.layers.as_slice() {
            [] => vec![&self.vector],
            layers => layers.iter().map(Vec::as_slice).collect(),
        }
    }
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
        "cannot read {}; run scripts/models, or point router.encoder.model at a folder with model.safetensors and the tokenizer's files",
        path.display()
    )]
    ModelFile {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The weights are there, but no graph can be built from them.
    #[error(
        "the encoder cannot be built from its weights; fetch the model again with scripts/models, or leave nothing but model.onnx beside the tokenizer's files"
    )]
    Weights {
        /// What is wrong with them.
        source: WeightsError,
    },
    /// Layers of a graph that was made elsewhere.
    #[error(
        "{} gives out the last layer alone, and the router reads layers {layers:?}; put the model's model.safetensors beside it",
        path.display()
    )]
    OnlyLastLayer {
        /// The graph.
        path: PathBuf,
        /// What was asked for.
        layers: Vec<usize>,
    },
    /// A layer that the model does not have.
    #[error("the router does not fit the encoder in {}; train it again", dir.display())]
    NoSuchLayer {
        /// The model's folder.
        dir: PathBuf,
        /// What was asked for.
        source: NoSuchLayer,
    },
    /// The files are there, but they are no model.
    #[error("{} holds no encoder that ONNX Runtime can run; fetch the model again with scripts/models", dir.display())]
    Model {
        /// The model's folder.
        dir: PathBuf,
        /// What is wrong with it.
        source: Box<fastembed::Error>,
    },
    /// The adapter belongs to other weights.
    #[error(transparent)]
    Adapter(#[from] AdapterError),
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

impl EncoderError {
    fn model(dir: &Path) -> impl Fn(fastembed::Error) -> Self {
        |source| Self::Model {
            dir: dir.to_owned(),
            source: Box::new(source),
        }
    }
}

impl Encoder {
    /// Loads the runtime and the model and starts the encoder's thread. Blocks for some hundred milliseconds.
    ///
    /// Its readings tell of these `layers` besides the last one: 1 is the first layer, 0 the embeddings before it.
    ///
    /// An adapter changes the weights as they are read; the [fingerprint](Self::fingerprint) is that of the model's files,
    /// with or without one.
    ///
    /// # Errors
    /// Whatever is missing or unusable, with its path and what to do.
    pub fn open(
        config: &EncoderConfig,
        layers: &[usize],
        adapter: Option<&Adapter>,
    ) -> Result<Self, EncoderError> {
        let environment = runtime::environment(&config.runtime)?;
        let mut model = Model::open(&config.model_dir, layers, adapter, environment)?;
        let fingerprint = model.fingerprint().to_owned();
        let probe = model
            .read(&["probe"])
            .map_err(EncoderError::model(&config.model_dir))?;
        let dimensions = probe.first().map_or(0, |reading| reading.vector.len());
        Ok(Self {
            worker: OnceCell::new_with(Some(Worker::start(model)?)),
            places: Places::new(),
            config: config.clone(),
            fingerprint,
            dimensions,
            layers: layers.to_vec(),
        })
    }

    /// The same, but for the runtime and the model, which are loaded when something is first read: where nothing ever is,
    /// they take no memory. What their files say wrong is then told there.
    ///
    /// # Errors
    /// A file that cannot be read; where only the graph itself could tell what it gives out, as [`open`](Self::open).
    pub fn lazy(config: &EncoderConfig, layers: &[usize]) -> Result<Self, EncoderError> {
        let Some(sketch) = Sketch::read(&config.model_dir, layers)? else {
            return Self::open(config, layers, None);
        };
        Ok(Self {
            worker: OnceCell::new(),
            places: Places::new(),
            config: config.clone(),
            fingerprint: sketch.fingerprint,
            dimensions: sketch.dimensions,
            layers: layers.to_vec(),
        })
    }

    /// Loads what is not loaded yet.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn start(&self) -> Result<(), EncoderError> {
        self.worker().await.map(|_started| ())
    }

    async fn worker(&self) -> Result<&Worker, EncoderError> {
        let start = || async {
            let (config, layers) = (self.config.clone(), self.layers.clone());
            let started = tokio::task::spawn_blocking(move || {
                let environment = runtime::environment(&config.runtime)?;
                Worker::start(Model::open(&config.model_dir, &layers, None, environment)?)
            });
            started.await.map_err(|_panicked| EncoderError::Stopped)?
        };
        self.worker.get_or_try_init(start).await
    }

    /// The vectors of any number of texts, in their order, each of length 1.
    ///
    /// # Errors
    /// As [`embed`](Self::embed).
    pub async fn vectors(&self, texts: &[String]) -> Result<Vec<Vec<f32>>, EncoderError> {
        let readings = self.embed_all(texts).await?.into_iter();
        Ok(readings.map(|reading| reading.vector).collect())
    }

    /// Reads any number of texts by one call after the other; the readings are in their order. Between the calls, others have
    /// their turn.
    ///
    /// # Errors
    /// As [`embed`](Self::embed).
    pub async fn embed_all(&self, texts: &[String]) -> Result<Vec<Reading>, EncoderError> {
        let mut readings = Vec::with_capacity(texts.len());
        for some in texts.chunks(TEXTS_MAX) {
            readings.extend(self.embed(some.to_vec()).await?);
        }
        Ok(readings)
    }

    /// Reads at most [`TEXTS_MAX`] texts; the readings are in their order. Dropping the future takes the texts out of the queue.
    ///
    /// # Errors
    /// `Busy` where too many calls are waiting, at once; `Failed` where the model failed on these texts.
    pub async fn embed(&self, texts: Vec<String>) -> Result<Vec<Reading>, EncoderError> {
        if texts.len() > TEXTS_MAX {
            return Err(EncoderError::TooManyTexts { texts: texts.len() });
        }
        if texts.is_empty() {
            return Ok(Vec::new());
        }
        let place = self.places.call()?;
        self.read(|reply| Job::new(texts, reply, place)).await
    }

    /// Reads a question that is to be routed, ahead of all that [`Self::embed`] is asked for.
    ///
    /// # Errors
    /// `Busy` where questions alone are more than the encoder takes, after a short wait; `Failed` where the model failed.
    pub async fn embed_question(&self, text: String) -> Result<Reading, EncoderError> {
        let place = self.places.question().await?;
        let readings = self.read(|reply| Job::question(text, reply, place)).await?;
        readings.into_iter().next().ok_or(EncoderError::Stopped)
    }

    async fn read(&self, job: impl FnOnce(Reply) -> Job) -> Result<Vec<Reading>, EncoderError> {
        let (reply, answer) = oneshot::channel();
        let worker = self.worker().await?;
        let jobs = worker.jobs.as_ref().ok_or(EncoderError::Stopped)?;
        jobs.try_send(job(reply)).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => EncoderError::Busy,
            mpsc::error::TrySendError::Closed(_) => EncoderError::Stopped,
        })?;
        // The thread ended before it answered: its end of the channel went with it.
        answer.await.unwrap_or(Err(EncoderError::Stopped))
    }

    /// The name that `/v1/embeddings` knows it by.
    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// A digest of everything that decides what its readings are.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The layers that its readings tell of besides the last one.
    pub fn layers(&self) -> &[usize] {
        &self.layers
    }

    /// How long its vectors are.
    pub fn dimensions(&self) -> usize {
        self.dimensions
    }
}

impl Worker {
    fn start(mut model: Model) -> Result<Self, EncoderError> {
        let (jobs, waiting) = mpsc::channel(PLACES);
        let thread = thread::Builder::new()
            .name("encoder".into())
            .spawn(move || {
                worker::run(waiting, |texts| {
                    model.read(texts).map_err(|error| error.to_string())
                });
            })
            .map_err(|source| EncoderError::Thread { source })?;
        Ok(Self {
            jobs: Some(jobs),
            thread: Some(thread),
        })
    }
}

impl Drop for Worker {
    /// Waits for the thread, at most for one batch: ONNX Runtime must not be torn down under it when the process ends.
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            // A panic was answered where it happened; nothing is left to say.
            drop(thread.join());
        }
    }
}
