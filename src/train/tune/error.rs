//! Why an encoder could not be tuned.

use std::{error::Error, io, path::PathBuf};

use crate::{ids::CategoryId, router::encoder::adapter::AdapterError, train::BaseError};

/// Why an encoder could not be tuned.
#[derive(Debug, thiserror::Error)]
pub enum TuneError {
    /// The tuned weights cannot be made into a graph.
    #[error("the tuned weights cannot be made into an ONNX graph")]
    Graph {
        /// Why not.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The model to start from.
    #[error(transparent)]
    Base(#[from] BaseError),
    /// There is nothing to tell apart.
    #[error("every row is of the category {category}; rows of two categories at least are needed")]
    OneCategory {
        /// The only category.
        category: CategoryId,
    },
    /// An option that makes no sense.
    #[error("{detail}")]
    Options {
        /// What is wrong and what to give instead.
        detail: String,
    },
    /// A GPU was asked for.
    #[error(
        "this coterie was built without CUDA; build it with `--features cuda`, or tune with `--device cpu`"
    )]
    NoCuda,
    /// A file of the output or of the work in progress.
    #[error("{} could not be read or written", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// The work in progress is of other rows, options or weights.
    #[error(
        "{} holds unfinished work on other rows, with other options or from another model; remove that folder to start over, or give another --out",
        path.display()
    )]
    OtherWork {
        /// The folder of the work in progress.
        path: PathBuf,
    },
    /// The work in progress cannot be gone on with.
    #[error("{} is damaged ({detail}); remove the file to do its part of the work again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// The numbers left the range of numbers.
    #[error(
        "the loss is {loss} at step {step}: the training diverged; check the rows, or tune with another --seed"
    )]
    Diverged {
        /// The batch, from 0.
        step: usize,
        /// What its loss was.
        loss: f32,
    },
    /// The observer ended the work.
    #[error("tuning was interrupted; the same call goes on from where it was")]
    Interrupted,
    /// The tokenizer failed on a text.
    #[error("the tokenizer failed on row {row}: {detail}")]
    Tokenizer {
        /// The row, from 0.
        row: usize,
        /// What it said.
        detail: String,
    },
    /// What was tuned does not go with the base: a fault of this program.
    #[error(transparent)]
    Adapter(#[from] AdapterError),
    /// The device failed.
    #[error("the computation failed")]
    Compute {
        /// What it said.
        source: Box<candle_core::Error>,
    },
}

impl From<candle_core::Error> for TuneError {
    fn from(source: candle_core::Error) -> Self {
        Self::Compute {
            source: Box::new(source),
        }
    }
}

impl TuneError {
    /// Whether the call is wrong, rather than the work.
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::Options { .. } | Self::NoCuda | Self::OneCategory { .. } | Self::OtherWork { .. }
        )
    }

    pub(super) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}
