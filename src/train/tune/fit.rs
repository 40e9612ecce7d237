//! One fit: epochs over some of the rows.

use std::{ops::ControlFlow, time::Instant};

use candle_core::Device;

use super::{
    FitReport, Observer, Options, Progress, TuneError, batches,
    checkpoint::{Place, Workplace},
    dataset::Dataset,
    model::{Addition, Model},
    optimiser::AdamW,
};
use crate::train::{
    base::Base,
    seed::Seed,
    transformer::{Batch, Noise},
};

/// The share of numbers that dropout takes: of the embeddings, the attention, the hidden outputs and the head's input.
const DROPOUT: f32 = 0.1;

/// A fit to be made.
pub(super) struct Fit<'a> {
    pub(super) base: &'a Base,
    pub(super) dataset: &'a Dataset,
    pub(super) options: &'a Options,
    pub(super) device: &'a Device,
    /// Which of the job's fits.
    pub(super) number: usize,
    /// Numbers of the rows that are tuned on.
    pub(super) rows: Vec<usize>,
    pub(super) seed: Seed,
}

/// A fit that is done.
pub(super) struct Fitted {
    pub(super) model: Model,
    pub(super) report: FitReport,
}

impl Fit<'_> {
    /// Makes the fit, from where the workplace says that it was.
    pub(super) fn run(
        &self,
        workplace: &Workplace,
        observer: Observer<'_>,
    ) -> Result<Fitted, TuneError> {
        let addition = Addition {
            rank: self.options.rank,
            classes: self.dataset.categories.len(),
        };
        let mut model = Model::new(self.base, addition, self.seed, self.device)?;
        let mut optimiser = AdamW::new(&model.parameters)?;
        let mut place = workplace.restore(self.number, &model, &mut optimiser)?;
        let mut kept_at = Instant::now();
        while place.losses.len() < self.options.epochs {
            let epoch = place.losses.len();
            let batches = self.batches(epoch);
            for batch in &batches[place.step - epoch * batches.len()..] {
                let started = Instant::now();
                let progress = self.step(&mut model, &mut optimiser, batch, &mut place)?;
                place.seconds += started.elapsed().as_secs_f64();
                let wanted = observer(progress);
                if wanted.is_break() || kept_at.elapsed() >= workplace.interval {
                    workplace.keep_state(&place, &model, &optimiser)?;
                    kept_at = Instant::now();
                }
                if wanted == ControlFlow::Break(()) {
                    return Err(TuneError::Interrupted);
                }
            }
            place.end_epoch(batches.len());
        }
        Ok(Fitted {
            model,
            report: FitReport {
                rows: self.rows.len(),
                losses: place.losses,
                held_back_accuracy: None,
                seconds: place.seconds,
            },
        })
    }

    fn batches(&self, epoch: usize) -> Vec<Vec<usize>> {
        let length = |row: usize| self.dataset.rows[row].trained_pieces.len();
        let seed = self.seed.stream("epoch", epoch as u64);
        batches::of_epoch(&self.rows, length, seed)
    }

    /// Learns from one batch.
    fn step(
        &self,
        model: &mut Model,
        optimiser: &mut AdamW,
        batch: &[usize],
        place: &mut Place,
    ) -> Result<Progress, TuneError> {
        let steps = batches::count(self.rows.len()) * self.options.epochs;
        let rows = || batch.iter().map(|row| &self.dataset.rows[*row]);
        let texts: Vec<&[u32]> = rows().map(|row| &row.trained_pieces[..]).collect();
        let classes: Vec<u32> = rows().map(|row| row.class).collect();
        let texts = Batch::new(&texts);
        let mut noise = self.noise(place.step)?;
        let (loss, gradients) = model.gradients(&texts, &classes, &mut noise)?;
        if !loss.is_finite() {
            return Err(TuneError::Diverged {
                step: place.step,
                loss,
            });
        }
        optimiser.step(&model.parameters, &gradients, (place.step, steps))?;
        place.step += 1;
        place.loss_sum += f64::from(loss);
        Ok(Progress {
            fit: self.number,
            fits: self.options.folds + 1,
            step: place.step,
            steps,
            pieces: texts.pieces(),
            loss,
        })
    }

    /// The dropout of one step; a GPU draws it from its own generator.
    fn noise(&self, step: usize) -> Result<Noise, TuneError> {
        let seed = self.seed.stream("dropout", step as u64);
        if !self.device.is_cpu() {
            self.device.set_seed(seed.value())?;
        }
        Ok(Noise::dropout(DROPOUT, seed))
    }
}

impl Place {
    #[expect(clippy::cast_precision_loss, reason = "some hundred batches")]
    fn end_epoch(&mut self, batches: usize) {
        self.losses.push(self.loss_sum / batches.max(1) as f64);
        self.loss_sum = 0.0;
    }
}
