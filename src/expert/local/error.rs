//! Why a model file cannot be used.

use std::{
    error::Error,
    fmt, io,
    path::{Path, PathBuf},
};

/// A model file that cannot be used, and why.
#[derive(Debug)]
pub struct LoadError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub fault: LoadFault,
}

/// What is wrong with a model file, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum LoadFault {
    /// It is not there, or may not be read.
    #[error("it cannot be opened ({source}); fetch it with `coterie models pull`")]
    Unreadable {
        /// The system's own words.
        source: io::Error,
    },
    /// Its header is no GGUF header, or breaks off.
    #[error("it is not a whole GGUF file ({detail}); fetch it again with `coterie models pull`")]
    NotGguf {
        /// Where reading failed.
        detail: String,
    },
    /// It holds a model of another family.
    #[error("its architecture is `{architecture}`; supported are {supported}")]
    Architecture {
        /// The value of `general.architecture`.
        architecture: String,
        /// The families that can be run.
        supported: String,
    },
    /// Its tokenizer is of a kind that would be read wrongly.
    #[error("its `{key}` is `{kind}`; supported are {supported}")]
    Tokenizer {
        /// The metadata key that names the kind.
        key: &'static str,
        /// Its value.
        kind: String,
        /// The kinds that can be read.
        supported: String,
    },
    /// A metadata key that the model cannot be run without.
    #[error(
        "its metadata key `{key}` is missing or of the wrong type; use another conversion of the model"
    )]
    Metadata {
        /// The key.
        key: String,
    },
    /// The metadata contradict one another or ask for a variant that is not built.
    #[error("{detail}; use another model")]
    Variant {
        /// What is out of the ordinary.
        detail: String,
    },
    /// It cannot answer conversations.
    #[error("it has no chat template (`tokenizer.chat_template`); use an instruct or chat model")]
    NoChatTemplate,
    /// Its chat template cannot be read.
    #[error("its chat template cannot be read ({source}); use another conversion of the model")]
    ChatTemplate {
        /// The template engine's own words.
        source: minijinja::Error,
    },
    /// A tensor is absent, cut off, or of another shape than the metadata say.
    #[error("its tensor `{name}` cannot be used ({detail}); fetch the file again")]
    Tensor {
        /// The tensor.
        name: String,
        /// What is wrong.
        detail: String,
    },
    /// The thread that runs the model could not be started.
    #[error("no thread can be started for it ({source})")]
    Thread {
        /// The system's own words.
        source: io::Error,
    },
}

/// What candle says went wrong. Its own text carries a stack trace where `RUST_BACKTRACE` is set, which is not for
/// clients or for people who run models.
pub(super) fn in_words(error: &candle_core::Error) -> String {
    use candle_core::Error as E;
    match error {
        E::WithBacktrace { inner, .. } => in_words(inner),
        E::Context { inner, context } => format!("{context}: {}", in_words(inner)),
        E::WithPath { inner, path } => format!("{}: {}", path.display(), in_words(inner)),
        E::WrappedContext { wrapped, context } => {
            let cause = wrapped.downcast_ref::<E>();
            let cause = cause.map_or_else(|| wrapped.to_string(), in_words);
            format!("{context}: {cause}")
        }
        other => other.to_string(),
    }
}

impl LoadFault {
    /// Adds the file.
    pub(super) fn of(self, path: &Path) -> LoadError {
        LoadError {
            path: path.to_owned(),
            fault: self,
        }
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "model file {}: {}", self.path.display(), self.fault)
    }
}

impl Error for LoadError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.fault.source()
    }
}

#[cfg(test)]
mod tests {
    use std::backtrace::Backtrace;

    use super::*;

    #[test]
    fn no_stack_trace_is_told() {
        let traced = |inner| candle_core::Error::WithBacktrace {
            inner: Box::new(inner),
            backtrace: Box::new(Backtrace::force_capture()),
        };
        let fault = traced(candle_core::Error::Msg("shape mismatch".into()));
        let outer = traced(fault.context("layer 3").with_path("model.gguf"));
        assert_eq!(in_words(&outer), "model.gguf: layer 3: shape mismatch");
        let wrapped = candle_core::Error::WrappedContext {
            wrapped: Box::new(traced(candle_core::Error::Msg("cut off".into()))),
            context: "header".into(),
        };
        assert_eq!(in_words(&traced(wrapped)), "header: cut off");
    }
}
