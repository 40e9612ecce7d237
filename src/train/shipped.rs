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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    /// The labelled questions that figures of the router are given for.
    const LABELLED: &str = "categories.jsonl";

    /// A few megabytes, with the encoder's changes and the static table.
    const BYTES_MAX: usize = 12 << 20;

    /// Whoever trains it anew sees what it has to reach.
    #[test]
    fn the_router_that_is_built_in_keeps_to_what_is_promised_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let artefact = open(folder.path()).unwrap();
        let training = &artefact.manifest.training;
        let figures = &training.by_file[LABELLED];
        assert!(figures.rows >= 5_000, "{figures:?}");
        assert!(figures.cascade.accuracy >= 0.945, "{figures:?}");
        assert!(figures.cascade.in_domain_accuracy >= 0.945, "{figures:?}");
        assert!(figures.cascade.ece <= 0.02, "{figures:?}");
        assert!(figures.cheap.unwrap().accuracy >= 0.92, "{figures:?}");
        assert!(figures.cheap_share >= 0.7, "{figures:?}");
        assert!(artefact.manifest.cascade.cheap_share >= 0.7);
        assert_eq!(artefact.manifest.sha256.len(), 64);
        let thresholds = &artefact.manifest.thresholds;
        assert!(
            thresholds
                .iter()
                .any(|it| it.misroute_max <= 0.05 && it.coverage > 0.75)
        );
        assert!(!training.sources.is_empty());
        assert!(
            training
                .sources
                .iter()
                .all(|source| !source.licence.is_empty())
        );
        let bytes: usize = FILES.iter().map(|(_, file)| file.len()).sum();
        assert!(bytes <= BYTES_MAX, "{bytes}");
    }

    #[test]
    fn it_tells_the_categories_of_the_shipped_routes() {
        let folder = tempfile::tempdir().unwrap();
        let artefact = open(folder.path()).unwrap();
        for route in config::embedded_routes().routes {
            assert!(artefact.manifest.categories.contains(&route.category));
        }
    }
}
