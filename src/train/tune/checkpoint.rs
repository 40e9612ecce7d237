//! Work in progress on disk: the state of the fit under way, and the folds that are done.
//!
//! Each file ends with the SHA-256 of what comes before it. The folder belongs to one job and to one process at a time.

use std::{
    collections::HashMap,
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
    time::Duration,
};

use candle_core::{Device, Tensor, safetensors::load_buffer};
use safetensors::SafeTensors;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest as _, Sha256};

use super::{
    FitReport, TuneError,
    model::{Model, Parameter},
    optimiser::{AdamW, Moments},
};
use crate::files::write_whole;

const STATE: &str = "state.safetensors";
const JOB: &str = "job";
const LOCK: &str = ".lock";
const DIGEST_BYTES: usize = 32;

/// The key of the metadata under which the notes stand.
const NOTES: &str = "notes";

type Tensors = HashMap<String, Tensor>;

/// The folder of the work in progress.
pub(super) struct Workplace {
    dir: PathBuf,
    /// How often a state is worth keeping.
    pub(super) interval: Duration,
    /// Held until the work ends, however it does.
    _lock: File,
}

/// Where a fit is.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Place {
    /// Which fit.
    pub(super) fit: usize,
    /// Batches done.
    pub(super) step: usize,
    /// The mean loss of each epoch that is done.
    pub(super) losses: Vec<f64>,
    /// The sum of the losses of this epoch's batches.
    pub(super) loss_sum: f64,
    /// What the fit has taken so far.
    pub(super) seconds: f64,
}

/// A fold that is done.
pub(super) struct Scored {
    pub(super) logits: Vec<f32>,
    pub(super) report: FitReport,
}

impl Workplace {
    /// Opens the folder for the job with this fingerprint.
    ///
    /// # Errors
    /// It cannot be made, another process works in it, or it holds another job's work.
    pub(super) fn open(dir: PathBuf, job: &str, interval: Duration) -> Result<Self, TuneError> {
        fs::create_dir_all(&dir).map_err(TuneError::io(&dir))?;
        let lock = lock(&dir)?;
        let path = dir.join(JOB);
        match fs::read_to_string(&path) {
            Ok(other) if other != job => return Err(TuneError::OtherWork { path: dir }),
            Ok(_) => {}
            Err(_absent) => write_whole(&path, job.as_bytes()).map_err(TuneError::io(&path))?,
        }
        Ok(Self {
            dir,
            interval,
            _lock: lock,
        })
    }

    /// Writes down where a fit is.
    pub(super) fn keep_state(
        &self,
        place: &Place,
        model: &Model,
        optimiser: &AdamW,
    ) -> Result<(), TuneError> {
        let mut tensors = Vec::new();
        for Parameter { name, variable, .. } in &model.parameters {
            tensors.push((format!("value.{name}"), variable.as_tensor().clone()));
        }
        let Moments { mean, square } = &optimiser.moments;
        tensors.push(("mean".into(), mean.clone()));
        tensors.push(("square".into(), square.clone()));
        self.keep(STATE, tensors, place)
    }

    /// Takes fit number `fit` back to where it was written down; without that, leaves it at its beginning.
    pub(super) fn restore(
        &self,
        fit: usize,
        model: &Model,
        optimiser: &mut AdamW,
    ) -> Result<Place, TuneError> {
        let beginning = Place {
            fit,
            ..Place::default()
        };
        let Some((tensors, place)) = self.kept::<Place>(STATE)? else {
            return Ok(beginning);
        };
        if place.fit != fit {
            return Ok(beginning);
        }
        let device = optimiser.moments.mean.device().clone();
        let take = |name: &str| -> Result<Tensor, TuneError> {
            let tensor = tensors
                .get(name)
                .ok_or_else(|| self.damaged(STATE, format!("there is no {name}")))?;
            Ok(tensor.to_device(&device)?)
        };
        for Parameter { name, variable, .. } in &model.parameters {
            variable.set(&take(&format!("value.{name}"))?)?;
        }
        optimiser.moments = Moments {
            mean: take("mean")?,
            square: take("square")?,
        };
        Ok(place)
    }

    /// Writes down what a fold gave.
    pub(super) fn keep_scored(
        &self,
        fold: usize,
        logits: &[f32],
        report: &FitReport,
    ) -> Result<(), TuneError> {
        let logits = Tensor::from_slice(logits, logits.len(), &Device::Cpu)?;
        self.keep(&fold_file(fold), vec![("logits".into(), logits)], report)
    }

    /// What a fold gave, if it is done.
    pub(super) fn scored(&self, fold: usize) -> Result<Option<Scored>, TuneError> {
        let name = fold_file(fold);
        let Some((tensors, report)) = self.kept(&name)? else {
            return Ok(None);
        };
        let logits = tensors
            .get("logits")
            .ok_or_else(|| self.damaged(&name, "there are no logits".into()))?;
        Ok(Some(Scored {
            logits: logits.to_vec1()?,
            report,
        }))
    }

    /// Removes the folder: the work is done.
    pub(super) fn clear(self) -> Result<(), TuneError> {
        fs::remove_dir_all(&self.dir).map_err(TuneError::io(&self.dir))
    }

    fn keep(
        &self,
        name: &str,
        tensors: Vec<(String, Tensor)>,
        notes: &impl Serialize,
    ) -> Result<(), TuneError> {
        let path = self.dir.join(name);
        let notes = serde_json::to_string(notes).map_err(|error| TuneError::Io {
            path: path.clone(),
            source: error.into(),
        })?;
        let metadata = HashMap::from([(NOTES.to_owned(), notes)]);
        let mut bytes = safetensors::serialize(tensors, Some(metadata))
            .map_err(|error| TuneError::from(candle_core::Error::from(error)))?;
        let digest = Sha256::digest(&bytes);
        bytes.extend_from_slice(&digest);
        write_whole(&path, &bytes).map_err(TuneError::io(&path))
    }

    fn kept<N: DeserializeOwned>(&self, name: &str) -> Result<Option<(Tensors, N)>, TuneError> {
        let path = self.dir.join(name);
        let Ok(bytes) = fs::read(&path) else {
            return Ok(None);
        };
        let damaged = |detail: &str| self.damaged(name, detail.to_owned());
        let Some((content, digest)) = bytes.split_last_chunk::<DIGEST_BYTES>() else {
            return Err(damaged("it is too short"));
        };
        if Sha256::digest(content).as_slice() != digest {
            return Err(damaged("the checksum does not match the content"));
        }
        let tensors = load_buffer(content, &Device::Cpu)?;
        let (_, metadata) =
            SafeTensors::read_metadata(content).map_err(|error| damaged(&error.to_string()))?;
        let metadata = metadata.metadata().as_ref();
        let notes = metadata
            .and_then(|metadata| serde_json::from_str(metadata.get(NOTES)?).ok())
            .ok_or_else(|| damaged("its notes cannot be read"))?;
        Ok(Some((tensors, notes)))
    }

    fn damaged(&self, name: &str, detail: String) -> TuneError {
        TuneError::Damaged {
            path: self.dir.join(name),
            detail,
        }
    }
}

fn fold_file(fold: usize) -> String {
    format!("fold-{fold}.safetensors")
}

/// The system drops the lock with the process that held it, so none is ever stale.
fn lock(dir: &Path) -> Result<File, TuneError> {
    let path = dir.join(LOCK);
    let file = File::options()
        .create(true)
        .append(true)
        .open(&path)
        .map_err(TuneError::io(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(TuneError::Busy {
            path: dir.to_owned(),
        }),
        Err(TryLockError::Error(source)) => Err(TuneError::Io { path, source }),
    }
}
