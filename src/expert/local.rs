//! GGUF models of the llama and qwen2 families, run in this process through candle.

use std::{path::Path, sync::Arc};

use futures_util::{FutureExt, future::BoxFuture};

use crate::{
    chat::ChatRequest,
    expert::{Answer, Expert, ExpertError},
    ids::ExpertId,
};

/// A stand-in until local experts are there: cannot be made.
pub struct LocalExpert(LoadError);

/// The model cannot be loaded.
#[derive(Clone, Debug, thiserror::Error)]
#[error("local experts are not there yet")]
pub struct LoadError;

impl LocalExpert {
    /// Always fails.
    ///
    /// # Errors
    /// Always.
    pub fn load(
        _id: ExpertId,
        _model_file: &Path,
        _context_tokens_max: Option<u32>,
        _queue_max: usize,
    ) -> Result<Self, LoadError> {
        Err(LoadError)
    }
}

impl Expert for LocalExpert {
    fn answer(&self, _request: Arc<ChatRequest>) -> BoxFuture<'_, Result<Answer, ExpertError>> {
        let detail = self.0.to_string();
        async { Err(ExpertError::Model { detail }) }.boxed()
    }
}
