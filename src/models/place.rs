//! One file of a store: whether it is right, and how it gets in. It is written to `<file>.part`, verified, flushed and
//! renamed, so that nothing else ever stands under its final name. Everything here blocks.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use serde::Serialize;

use super::{ModelError, ModelFile, Sha256, sums::Sums};

/// What the store holds of one file.
#[derive(Debug, Serialize)]
pub struct FileStatus {
    /// Its name in the model's folder.
    pub name: String,
    /// How large it is, or will be.
    pub bytes: u64,
    /// Whether it is there and right.
    pub state: FileState,
}

/// Whether a file is there and right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FileState {
    /// It is what the manifest says.
    Ok,
    /// It is not there.
    Missing,
    /// A part of it is there; a pull goes on from it.
    Partial,
    /// It is something else.
    WrongChecksum,
}

/// One file's place in the store.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// The store.
    pub(super) dir: PathBuf,
    /// `model/file`.
    pub(super) name: String,
}

impl Place {
    pub(super) fn new(dir: &Path, model: &str, file: &str) -> Self {
        Self {
            dir: dir.to_owned(),
            name: format!("{model}/{file}"),
        }
    }

    fn path(&self) -> PathBuf {
        self.dir.join(&self.name)
    }

    pub(super) fn part(&self) -> PathBuf {
        self.dir.join(format!("{}.part", self.name))
    }

    /// What is there of the file.
    pub(super) fn status(
        &self,
        file: &ModelFile,
        sums: &mut Sums,
    ) -> Result<FileStatus, ModelError> {
        let pinned_bytes = file.editions.first().map_or(0, |edition| edition.bytes);
        Ok(FileStatus {
            name: file.name.clone(),
            bytes: fs::metadata(self.path()).map_or(pinned_bytes, |metadata| metadata.len()),
            state: self.state(file, sums)?,
        })
    }

    /// Whether the file is there and right.
    pub(super) fn state(&self, file: &ModelFile, sums: &mut Sums) -> Result<FileState, ModelError> {
        let editions = &file.editions;
        let path = self.path();
        let Ok(metadata) = fs::metadata(&path) else {
            let partial = self.part().exists();
            return Ok(if partial {
                FileState::Partial
            } else {
                FileState::Missing
            });
        };
        let bytes = metadata.len();
        if !editions.iter().any(|edition| edition.bytes == bytes) {
            return Ok(FileState::WrongChecksum);
        }
        let found = sums
            .of(&self.name, &path)
            .map_err(ModelError::io("read", path))?;
        let right = editions.iter().any(|edition| edition.sha256 == found);
        Ok(if right {
            FileState::Ok
        } else {
            FileState::WrongChecksum
        })
    }

    /// Gives the part its final name if its sum is right, and removes it otherwise.
    pub(super) fn accept(&self, expected: Sha256) -> Result<(), ModelError> {
        let (part, path) = (self.part(), self.path());
        let io = |action| ModelError::io(action, &part);
        let found = Sha256::of_file(&part).map_err(io("read"))?;
        if found != expected {
            fs::remove_file(&part).map_err(io("remove"))?;
            return Err(ModelError::Checksum {
                file: self.name.clone(),
                expected,
                found,
            });
        }
        let file = File::options()
            .write(true)
            .open(&part)
            .map_err(io("open"))?;
        file.sync_all().map_err(io("flush"))?;
        fs::rename(&part, &path).map_err(io("rename"))?;
        flush_folder(&path)?;
        let metadata = fs::metadata(&path).map_err(ModelError::io("read", &path))?;
        Sums::load(&self.dir)
            .note(&self.name, &metadata, found)
            .map_err(ModelError::io("write the sums into", &self.dir))
    }
}

/// Makes a rename last through a power cut.
fn flush_folder(path: &Path) -> Result<(), ModelError> {
    let folder = path.parent().unwrap_or(path);
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(ModelError::io("flush", folder))
}
