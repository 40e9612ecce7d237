//! The router that is built in: trained on public labelled questions and on the shipped routes, so that the first start
//! routes well. Its manifest names the sets and their licences.

use std::{
    error::Error,
    io,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use tracing::warn;

use crate::router::artefact::{self, Artefact, ArtefactError};

macro_rules! files {
    ($($name:literal),+ $(,)?) => {
        /// Its files.
        const FILES: &[(&str, &[u8])] = &[
            $(($name, include_bytes!(concat!("../../config/router/", $name)))),+
        ];
    };
}

files!(
    "manifest.json",
    "router.safetensors",
    "table.safetensors",
    "tokenizer.json",
    "adapter.safetensors",
);

/// Puts the files among the artefacts, unless they are there, and opens them; what is damaged there is put there anew.
///
/// # Errors
/// The folder cannot be written, or not read.
pub fn open(artefacts: &Path) -> Result<Artefact, ArtefactError> {
    let unwritten = |source| ArtefactError::Io {
        path: artefacts.to_owned(),
        source,
    };
    let folder = unpack(artefacts).map_err(unwritten)?;
    Artefact::read(&folder).or_else(|error| {
        warn!(
            error = &error as &dyn Error,
            "the router that is built in was damaged, and is put there again"
        );
        artefact::write_whole(&folder, FILES).map_err(unwritten)?;
        Artefact::read(&folder)
    })
}

/// Puts the files among the artefacts, unless they are there; returns their folder.
///
/// # Errors
/// The folder cannot be written.
pub fn unpack(artefacts: &Path) -> io::Result<PathBuf> {
    #[derive(Deserialize)]
    struct Named {
        id: String,
    }
    let (_, manifest) = FILES[0];
    let Named { id } = serde_json::from_slice(manifest)?;
    let folder = artefacts.join(id);
    if !folder.join(artefact::MANIFEST_FILE).exists() {
        artefact::write_whole(&folder, FILES)?;
    }
    Ok(folder)
}
