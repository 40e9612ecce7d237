//! The router that is built in: trained on public labelled questions and on the shipped routes, so that the first start
//! routes well. Its manifest names the sets and their licences.

use std::{
    io,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use crate::router::artefact;

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
