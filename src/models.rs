//! The model store: files outside the clone, each known by its SHA-256. Says what is there, and downloads what is
//! missing from a model hub. Knows nothing of what the models are for.
//!
//! A store is one folder with one subfolder a model. Two files are its own: `verified.json`, the sums that were taken,
//! and `.lock`, held while a process fills the store.

mod error;
mod hub;
mod lock;
mod manifest;
mod place;
mod store;
mod sums;

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
};

pub use error::ModelError;
pub use hub::{Hub, Retry};
pub use manifest::{Edition, HubRepo, Manifest, Model, ModelFile};
pub use place::{FileState, FileStatus};
pub use store::{ModelStatus, ModelStore, Step, Trust};
pub use sums::Sha256;

/// The prefix of references into the model store.
const STORE_PREFIX: &str = "models";

/// The path inside the model store that a reference of the configuration names (`models/…`); none for other paths.
pub fn inside_store(reference: &str) -> Option<&Path> {
    Path::new(reference).strip_prefix(STORE_PREFIX).ok()
}

/// Where a reference points: inside the model store `dir`, or as it stands, relative to the working directory.
pub fn resolve(dir: &Path, reference: &str) -> PathBuf {
    inside_store(reference).map_or_else(|| reference.into(), |inside| dir.join(inside))
}

/// The GGUF file that `path` is, or the only one in the folder that `path` is.
///
/// # Errors
/// There is none ([`ModelError::NoGguf`]) or there are several ([`ModelError::ManyGguf`]).
pub fn gguf_in(path: &Path) -> Result<PathBuf, ModelError> {
    if path.is_file() {
        return Ok(path.to_owned());
    }
    let no_gguf = || ModelError::NoGguf { path: path.into() };
    let entries = match path.read_dir() {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(no_gguf()),
        Err(error) => return Err(ModelError::io("read", path)(error)),
    };
    let mut found: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| is_gguf(path))
        .collect();
    found.sort();
    let first = found.pop().ok_or_else(no_gguf)?;
    if found.is_empty() {
        return Ok(first);
    }
    found.push(first);
    Err(ModelError::ManyGguf {
        path: path.into(),
        found,
    })
}

fn is_gguf(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("gguf"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_under_models_are_inside_the_store() {
        let dir = Path::new("/cache/models");
        assert_eq!(resolve(dir, "models/smol"), Path::new("/cache/models/smol"));
        assert_eq!(resolve(dir, "modelsmith/x"), Path::new("modelsmith/x"));
        assert_eq!(resolve(dir, "/own/x.gguf"), Path::new("/own/x.gguf"));
        assert_eq!(resolve(dir, "own/models/x"), Path::new("own/models/x"));
    }

    #[test]
    fn the_only_gguf_of_a_folder_is_found_beside_other_files() {
        let dir = tempfile::tempdir().unwrap();
        let model = dir.path().join("model.GGUF");
        std::fs::write(&model, "x").unwrap();
        std::fs::write(dir.path().join("model.gguf.part"), "x").unwrap();
        assert_eq!(gguf_in(dir.path()).unwrap(), model);
        assert_eq!(gguf_in(&model).unwrap(), model);
    }

    #[test]
    fn no_gguf_and_several_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(
            gguf_in(dir.path()),
            Err(ModelError::NoGguf { .. })
        ));
        assert!(matches!(
            gguf_in(&dir.path().join("absent")),
            Err(ModelError::NoGguf { .. })
        ));
        std::fs::write(dir.path().join("a.gguf"), "x").unwrap();
        std::fs::write(dir.path().join("b.gguf"), "x").unwrap();
        let Err(ModelError::ManyGguf { found, .. }) = gguf_in(dir.path()) else {
            panic!("two files were accepted");
        };
        assert_eq!(
            found,
            [dir.path().join("a.gguf"), dir.path().join("b.gguf")]
        );
    }
}
