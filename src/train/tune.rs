//! Fine-tunes the transformer on labelled questions, offline.
//!
//! Low-rank changes of every linear map (`LoRA`; Hu et al. 2021) or all their weights, the biases and the norms are trained
//! beside a linear head, on cross-entropy and a supervised contrastive term; where each batch is read twice, both readings are
//! held to one answer as well (R-Drop; Liang et al. 2021). Weights may be the average of several fits from different random
//! numbers (model soups; Wortsman et al. 2022). Before the final fit each of `folds` parts of the rows is scored by a model that
//! was tuned on the others: logits from which a cheaper tier can be taught.
//!
//! All randomness comes from one seed: on the CPU the same rows give the same bytes. The work may be cut at any moment
//! and goes on from its last checkpoint when it is started again. Several processes that were started alike share it.

mod batches;
mod checkpoint;
mod dataset;
mod error;
mod fit;
mod folds;
mod loss;
mod model;
mod optimiser;
mod output;
mod scorer;
mod work;

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) mod tiny;

use std::{
    fs,
    ops::ControlFlow,
    path::{Path, PathBuf},
    time::Duration,
};

use candle_core::Device;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use self::{
    checkpoint::Workplace,
    dataset::Dataset,
    model::Change,
    output::{Outputs, REPORT},
    work::Work,
};
use super::{base::Base, labels::Labelled, seed::Seed};
use crate::{ids::CategoryId, router::encoder::adapter::Bits};

pub use error::TuneError;

/// Raised whenever a reader of `tuned.json` would misread it.
pub const FORMAT: u32 = 1;

/// How often the state is written down: what a cut costs at most.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(60);

/// Where the work in progress is kept, inside the output folder.
const WORKPLACE: &str = ".tuning";

/// What is to be tuned.
#[derive(Clone, Debug)]
pub struct Job {
    /// The folder of the transformer to start from.
    pub model: PathBuf,
    /// The labelled questions.
    pub rows: Vec<Labelled>,
    /// The folder to write to.
    pub out: PathBuf,
    /// How.
    pub options: Options,
    /// Where the work is done.
    pub processor: Processor,
}

/// How to tune.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    /// Passes over the rows.
    pub epochs: usize,
    /// Of the change of each linear map.
    pub rank: usize,
    /// Parts of the rows that are each scored by a model tuned on the others; 0 for none.
    pub folds: usize,
    /// Where all randomness comes from.
    pub seed: u64,
    /// Whether each batch is read twice, with other dropout, and both readings are held to one answer.
    #[serde(default)]
    pub twice: bool,
    /// Whether the weights of the linear maps are tuned themselves; `rank` means nothing then.
    #[serde(default)]
    pub all_weights: bool,
    /// Fits from different random numbers whose weights are averaged; more than one with `all_weights` alone.
    #[serde(default = "one")]
    pub average: usize,
    /// What a number of a weight's change takes where it is written; with `all_weights` alone.
    #[serde(default = "four")]
    pub bits: Bits,
}

/// What is averaged where nothing says more.
fn one() -> usize {
    1
}

/// With four bits nothing is lost that could be measured.
fn four() -> Bits {
    Bits::Four
}

impl Default for Options {
    fn default() -> Self {
        Self {
            epochs: 5,
            rank: 16,
            folds: 3,
            seed: 0,
            twice: false,
            all_weights: false,
            average: one(),
            bits: four(),
        }
    }
}

/// What computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Processor {
    /// The processor, all its cores.
    Cpu,
    /// The first NVIDIA GPU; needs a build with the feature `cuda`.
    Cuda,
}

/// How far the work is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// The fit that is under way, from 0; the last is the one that is kept.
    pub fit: usize,
    /// Fits in all: the folds and the final one.
    pub fits: usize,
    /// Which of the fits that are averaged it is, from 0.
    pub member: usize,
    /// How many those are.
    pub members: usize,
    /// Batches of this fit that are done.
    pub step: usize,
    /// Batches of this fit in all.
    pub steps: usize,
    /// Word pieces in the last batch.
    pub pieces: usize,
    /// The loss of the last batch whose loss is known: on a GPU one of the last few dozen.
    pub loss: f32,
}

/// What was made, as `tuned.json` says it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// The format of this document.
    pub format: u32,
    /// SHA-256 of the base's weights, hexadecimal.
    pub base_sha256: String,
    /// SHA-256 of the tuned weights, hexadecimal.
    pub model_sha256: String,
    /// SHA-256 of the rows, hexadecimal.
    pub data_sha256: String,
    /// Rows tuned on.
    pub rows: usize,
    /// In the order of the head's classes.
    pub categories: Vec<CategoryId>,
    /// As the call gave them.
    pub options: Options,
    /// The folds in order, then the final fit.
    pub fits: Vec<FitReport>,
    /// The share of all rows that the models which had not seen them put in the right category.
    pub held_back_accuracy: Option<f64>,
    /// What all fits took, whichever process made them.
    pub seconds: f64,
}

/// How one fit went, or those that it is averaged from.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FitReport {
    /// Rows tuned on.
    pub rows: usize,
    /// The mean loss of each epoch.
    pub losses: Vec<f64>,
    /// The share of the held-back rows that came out right.
    pub held_back_accuracy: Option<f64>,
    /// What it took.
    pub seconds: f64,
}

/// Is told after each batch how far the work is, and may end it; the state is then written down first.
pub type Observer<'o> = &'o mut dyn FnMut(Progress) -> ControlFlow<()>;

/// Does the job, from where an earlier call with the same job was cut. Blocks for as long as it takes.
///
/// # Errors
/// Whatever is wrong with the job, the base or the work in progress; what was written before stays.
pub fn tune(job: &Job, observer: Observer<'_>) -> Result<Report, TuneError> {
    tune_with(job, CHECKPOINT_INTERVAL, observer)
}

fn tune_with(
    job: &Job,
    checkpoint_interval: Duration,
    observer: Observer<'_>,
) -> Result<Report, TuneError> {
    job.options.check()?;
    let device = job.processor.device()?;
    let base = Base::read(&job.model)?;
    let dataset = Dataset::new(&base, &job.rows)?;
    let workplace = Workplace::open(
        job.out.join(WORKPLACE),
        &job.fingerprint(&base, &dataset),
        checkpoint_interval,
    )?;
    let fold_of = folds::assign(
        &dataset.rows,
        job.options.folds,
        Seed::new(job.options.seed),
    );
    let work = Work {
        outputs: Outputs {
            base: &base,
            dataset: &dataset,
            options: &job.options,
        },
        fold_of: &fold_of,
        device: &device,
        workplace: &workplace,
    };
    work.make_fits(observer)?;
    let last = workplace.claim_last()?;
    // Where another process has ended the job, its pieces are gone.
    if last.is_none() || work.is_ended() {
        return Report::read(&job.out);
    }
    let report = work.put_together(&job.out)?;
    workplace.clear()?;
    Ok(report)
}

impl Job {
    /// A digest of everything that decides what comes out.
    fn fingerprint(&self, base: &Base, dataset: &Dataset) -> String {
        let Options {
            epochs,
            rank,
            folds,
            seed,
            twice,
            all_weights,
            average,
            bits,
        } = &self.options;
        let (base, data) = (&base.sha256, &dataset.sha256);
        let job = format!(
            "{FORMAT} {base} {data} {epochs} {rank} {folds} {seed} {twice} {all_weights} {average} {}",
            u8::from(*bits)
        );
        hex::encode(Sha256::digest(job))
    }
}

impl Options {
    fn check(&self) -> Result<(), TuneError> {
        let wrong = |detail: &str| {
            Err(TuneError::Options {
                detail: detail.to_owned(),
            })
        };
        if self.epochs == 0 {
            return wrong("without an epoch nothing is tuned; give one at least");
        }
        if self.rank == 0 {
            return wrong("a change of rank 0 is no change; give 1 at least");
        }
        if self.average == 0 {
            return wrong("an average of no fits is nothing; give 1 at least");
        }
        if self.average > 1 && !self.all_weights {
            return wrong(
                "changes of low rank are not averaged; give --all-weights as well, or --average 1",
            );
        }
        if self.folds == 1 {
            return wrong("one fold leaves no rows to tune on; give 0 for none, or 2 at least");
        }
        Ok(())
    }

    fn change(&self) -> Change {
        if self.all_weights {
            Change::AllWeights
        } else {
            Change::LowRank(self.rank)
        }
    }
}

impl Report {
    /// What another process wrote.
    fn read(out: &Path) -> Result<Self, TuneError> {
        let path = out.join(REPORT);
        let json = fs::read(&path).map_err(TuneError::io(&path))?;
        serde_json::from_slice(&json).map_err(|error| TuneError::io(&path)(error.into()))
    }
}

impl Processor {
    fn device(self) -> Result<Device, TuneError> {
        match self {
            Self::Cpu => Ok(Device::Cpu),
            Self::Cuda if !cfg!(feature = "cuda") => Err(TuneError::NoCuda),
            Self::Cuda => Device::new_cuda(0).map_err(TuneError::from),
        }
    }
}
