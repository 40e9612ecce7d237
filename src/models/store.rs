//! A store as a whole: what it holds of each model, and filling it from a hub.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Serialize;

use super::{
    Edition, FileState, FileStatus, Hub, Manifest, Model, ModelError, ModelFile,
    hub::{Download, Report},
    lock, manifest,
    place::Place,
    sums::Sums,
};

/// A folder of models.
#[derive(Clone, Debug)]
pub struct ModelStore {
    dir: PathBuf,
    manifest: Manifest,
}

/// Whether sums that were taken earlier are believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// As long as a file's size and time of change are the same.
    SumsTaken,
    /// Every file is read again.
    Nothing,
}

/// What the store holds of one model.
#[derive(Debug, Serialize)]
pub struct ModelStatus {
    /// The model.
    pub name: String,
    /// What it is, in one line.
    pub about: String,
    /// Whether the default configuration needs it.
    pub default: bool,
    /// Its files; empty if it is not packaged for this platform.
    pub files: Vec<FileStatus>,
}

/// What a pull does.
#[derive(Debug)]
pub enum Step<'a> {
    /// Another process fills the store; this one waits for it.
    Waiting,
    /// The file is there and right.
    Present {
        /// `model/file`.
        file: &'a str,
    },
    /// The file is asked for.
    Started {
        /// `model/file`.
        file: &'a str,
        /// Its whole size.
        bytes: u64,
    },
    /// So much of the file has come, earlier pulls included.
    Received {
        /// From the file's beginning.
        bytes: u64,
    },
    /// An attempt failed and another will be made.
    Retrying {
        /// Why.
        error: &'a ModelError,
        /// After how long.
        pause: Duration,
    },
    /// The file is complete, verified and in its place.
    Stored {
        /// `model/file`.
        file: &'a str,
        /// Its size.
        bytes: u64,
    },
}

impl ModelStore {
    /// The store at `dir`, which need not exist yet.
    pub fn new(dir: PathBuf, manifest: Manifest) -> Self {
        Self { dir, manifest }
    }

    /// What is there of every model, in the order of the manifest.
    ///
    /// # Errors
    /// [`ModelError::Io`]
    pub async fn list(&self, trust: Trust) -> Result<Vec<ModelStatus>, ModelError> {
        let store = self.clone();
        blocking(move || store.list_blocking(trust)).await
    }

    /// Downloads what is missing or wrong of these models; without names, of those that the default configuration needs.
    ///
    /// # Errors
    /// Any [`ModelError`]; files that were stored before it stay.
    pub async fn pull(
        &self,
        names: &[String],
        hub: &Hub,
        report: Report<'_>,
    ) -> Result<(), ModelError> {
        let models = self.manifest.choose(names)?;
        create_dir(&self.dir)?;
        let _lock = lock::acquire(&self.dir, || report(Step::Waiting)).await?;
        for model in models {
            if model.files.is_empty() {
                return Err(ModelError::NotForPlatform {
                    model: model.name.clone(),
                    platform: manifest::this_platform(),
                });
            }
            for file in &model.files {
                self.pull_file(model, file, hub, report).await?;
            }
        }
        Ok(())
    }

    async fn pull_file(
        &self,
        model: &Model,
        file: &ModelFile,
        hub: &Hub,
        report: Report<'_>,
    ) -> Result<(), ModelError> {
        let place = Place::new(&self.dir, &model.name, &file.name);
        if state(&place, file).await? == FileState::Ok {
            report(Step::Present { file: &place.name });
            return Ok(());
        }
        let (Some(repo), Some((edition, path))) = (&model.hub, file.on_hub()) else {
            return Err(ModelError::NotOnHub {
                model: model.name.clone(),
                file: place.name,
            });
        };
        report(Step::Started {
            file: &place.name,
            bytes: edition.bytes,
        });
        create_dir(&self.dir.join(&model.name))?;
        let download = Download {
            url: hub.url(repo, path),
            part: place.part(),
            bytes: edition.bytes,
        };
        hub.download(&download, report).await?;
        accept(&place, edition).await?;
        report(Step::Stored {
            file: &place.name,
            bytes: edition.bytes,
        });
        Ok(())
    }

    fn list_blocking(&self, trust: Trust) -> Result<Vec<ModelStatus>, ModelError> {
        let mut sums = Sums::load(&self.dir);
        if trust == Trust::Nothing {
            sums.forget();
        }
        let status = |model: &Model| {
            let files = model.files.iter().map(|file| {
                let place = Place::new(&self.dir, &model.name, &file.name);
                place.status(file, &mut sums)
            });
            Ok(ModelStatus {
                name: model.name.clone(),
                about: model.about.clone(),
                default: model.default,
                files: files.collect::<Result<_, _>>()?,
            })
        };
        self.manifest.models.iter().map(status).collect()
    }
}

async fn state(place: &Place, file: &ModelFile) -> Result<FileState, ModelError> {
    let (place, file) = (place.clone(), file.clone());
    blocking(move || place.state(&file, &mut Sums::load(&place.dir))).await
}

async fn accept(place: &Place, edition: &Edition) -> Result<(), ModelError> {
    let (place, expected) = (place.clone(), edition.sha256);
    blocking(move || place.accept(expected)).await
}

fn create_dir(dir: &Path) -> Result<(), ModelError> {
    fs::create_dir_all(dir).map_err(ModelError::io("create", dir))
}

/// Runs work that reads whole files beside the asynchronous runtime.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ModelError> + Send + 'static,
) -> Result<T, ModelError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
