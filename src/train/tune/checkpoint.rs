//! Work in progress on disk: the state of each piece under way, and what came of those that are done.
//!
//! Each file ends with the SHA-256 of what comes before it. The folder belongs to one job; processes share its pieces, each of
//! which one of them has at a time.

use std::{
    collections::HashMap,
    fmt,
    fs::{self, File, TryLockError},
    io,
    path::PathBuf,
    process,
    time::Duration,
};

use candle_core::{Device, Tensor, safetensors::load_buffer};
use safetensors::SafeTensors;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest as _, Sha256};

use super::{
    FitReport, TuneError, WORKPLACE,
    model::{Model, Parameter},
    optimiser::{AdamW, Moments},
};
use crate::files::write_whole;

const JOB: &str = "job";
/// Held by the process that puts the pieces together.
const LAST_LOCK: &str = "last.lock";
const DIGEST_BYTES: usize = 32;

/// The key of the metadata under which the job's fingerprint and the notes stand.
const NOTES: &str = "notes";

pub(super) type Tensors = HashMap<String, Tensor>;

/// One of the times that one of the job's fits is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// Which of the job's fits: the folds in order, then the final one.
    pub(super) fit: usize,
    /// Which of those that are averaged.
    pub(super) member: usize,
}

impl fmt::Display for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "fit-{}-{}", self.fit, self.member)
    }
}

impl Piece {
    fn lock_file(self) -> String {
        format!("{self}.lock")
    }

    fn state_file(self) -> String {
        format!("{self}.state.safetensors")
    }

    fn done_file(self) -> String {
        format!("{self}.safetensors")
    }
}

/// The folder of the work in progress.
pub(super) struct Workplace {
    dir: PathBuf,
    /// The job's fingerprint.
    job: String,
    /// How often a state is worth keeping.
    pub(super) interval: Duration,
}

/// Keeps other processes off. The system drops it with the process that held it, so none is ever stale.
pub(super) struct Claim {
    _lock: File,
}

/// What is to be done where another process has what is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Others {
    /// Something else.
    LeaveThem,
    /// To wait until it is done, or was killed.
    AwaitThem,
}

/// Where a fit is.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Place {
    /// Batches done.
    pub(super) step: usize,
    /// The mean loss of each epoch that is done.
    pub(super) losses: Vec<f64>,
    /// The sum of the losses of this epoch's batches.
    pub(super) loss_sum: f64,
    /// What the fit has taken so far.
    pub(super) seconds: f64,
}

impl Workplace {
    /// Opens the folder for the job with this fingerprint.
    ///
    /// # Errors
    /// It cannot be made, or it holds another job's work.
    pub(super) fn open(dir: PathBuf, job: &str, interval: Duration) -> Result<Self, TuneError> {
        fs::create_dir_all(&dir).map_err(TuneError::io(&dir))?;
        let path = dir.join(JOB);
        match fs::read_to_string(&path) {
            Ok(other) if other != job => return Err(TuneError::OtherWork { path: dir }),
            Ok(_) => {}
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(TuneError::io(&path)(error));
            }
            Err(_absent) => write_whole(&path, job.as_bytes()).map_err(TuneError::io(&path))?,
        }
        Ok(Self {
            dir,
            job: job.to_owned(),
            interval,
        })
    }

    /// Whether the job is still under way: the process that ends it removes the folder.
    fn is_there(&self) -> bool {
        self.dir.join(JOB).exists()
    }

    /// Takes a piece for this process, and waits for one that has it where `others` are to be waited for; none where it is done, or
    /// taken, or where the job has ended.
    pub(super) fn claim(&self, piece: Piece, others: Others) -> Result<Option<Claim>, TuneError> {
        if self.is_done(piece) {
            return Ok(None);
        }
        let claim = self.lock(&piece.lock_file(), others)?;
        // It may have been done meanwhile.
        Ok(claim.filter(|_| !self.is_done(piece)))
    }

    /// Takes the right to end the job, waiting for a process that has it; none where that one has ended it.
    pub(super) fn claim_last(&self) -> Result<Option<Claim>, TuneError> {
        self.lock(LAST_LOCK, Others::AwaitThem)
    }

    fn lock(&self, name: &str, others: Others) -> Result<Option<Claim>, TuneError> {
        let path = self.dir.join(name);
        let mut open = File::options();
        let file = match open.create(true).append(true).open(&path) {
            Err(_gone) if !self.is_there() => return Ok(None),
            other => other.map_err(TuneError::io(&path))?,
        };
        match others {
            Others::AwaitThem => file.lock().map_err(TuneError::io(&path))?,
            Others::LeaveThem => match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(source)) => return Err(TuneError::Io { path, source }),
            },
        }
        Ok(self.is_there().then_some(Claim { _lock: file }))
    }

    /// Writes down where the fit of a piece is.
    pub(super) fn keep_state(
        &self,
        piece: Piece,
        place: &Place,
        (model, optimiser): (&Model, &AdamW),
    ) -> Result<(), TuneError> {
        let mut tensors = values(model, "value.");
        let Moments { mean, square } = &optimiser.moments;
        tensors.push(("mean".into(), mean.clone()));
        tensors.push(("square".into(), square.clone()));
        self.keep(&piece.state_file(), tensors, place)
    }

    /// Takes the fit of a piece back to where it was written down; without that, leaves it at its beginning.
    pub(super) fn restore(
        &self,
        piece: Piece,
        model: &Model,
        optimiser: &mut AdamW,
    ) -> Result<Place, TuneError> {
        let state = piece.state_file();
        let Some((tensors, place)) = self.kept::<Place>(&state)? else {
            return Ok(Place::default());
        };
        let device = optimiser.moments.mean.device().clone();
        let take = |name: &str| -> Result<Tensor, TuneError> {
            let tensor = tensors
                .get(name)
                .ok_or_else(|| self.damaged(&state, format!("there is no {name}")))?;
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

    /// Writes down what a piece gave; its state is of no more use.
    pub(super) fn keep_done(
        &self,
        piece: Piece,
        model: &Model,
        report: &FitReport,
    ) -> Result<(), TuneError> {
        self.keep(&piece.done_file(), values(model, ""), report)?;
        let state = self.dir.join(piece.state_file());
        match fs::remove_file(&state) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(TuneError::io(&state)(error))
            }
            _ => Ok(()),
        }
    }

    /// Whether what a piece gave is there.
    pub(super) fn is_done(&self, piece: Piece) -> bool {
        self.dir.join(piece.done_file()).exists()
    }

    /// Whether a piece is still to be done.
    pub(super) fn is_left(&self, piece: Piece) -> bool {
        self.is_there() && !self.is_done(piece)
    }

    /// What a piece that is done gave: its parameters by their names, on the CPU.
    pub(super) fn done(&self, piece: Piece) -> Result<(Tensors, FitReport), TuneError> {
        let name = piece.done_file();
        self.kept(&name)?
            .ok_or_else(|| self.damaged(&name, "it is gone".into()))
    }

    /// Removes the folder: the work is done.
    ///
    /// Under another name first: whoever comes now finds all of it or nothing. What could not be removed is in nobody's way.
    pub(super) fn clear(&self) -> Result<(), TuneError> {
        let ended = format!("{WORKPLACE}.{}.ended", process::id());
        let ended = self.dir.with_file_name(ended);
        fs::rename(&self.dir, &ended).map_err(TuneError::io(&self.dir))?;
        fs::remove_dir_all(&ended).ok();
        Ok(())
    }

    fn keep(
        &self,
        name: &str,
        tensors: Vec<(String, Tensor)>,
        notes: &impl Serialize,
    ) -> Result<(), TuneError> {
        let path = self.dir.join(name);
        let notes = serde_json::to_string(&(&self.job, notes)).map_err(|error| TuneError::Io {
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
        let (job, notes): (String, N) = metadata
            .and_then(|metadata| serde_json::from_str(metadata.get(NOTES)?).ok())
            .ok_or_else(|| damaged("its notes cannot be read"))?;
        if job != self.job {
            return Err(TuneError::OtherWork {
                path: self.dir.clone(),
            });
        }
        Ok(Some((tensors, notes)))
    }

    fn damaged(&self, name: &str, detail: String) -> TuneError {
        TuneError::Damaged {
            path: self.dir.join(name),
            detail,
        }
    }
}

/// What is trained, with its names.
fn values(model: &Model, prefix: &str) -> Vec<(String, Tensor)> {
    let named = |Parameter { name, variable, .. }: &Parameter| {
        (format!("{prefix}{name}"), variable.as_tensor().clone())
    };
    model.parameters.iter().map(named).collect()
}
