//! One fit: epochs over some of the rows.

use std::{ops::ControlFlow, time::Instant};

use candle_core::{Device, Tensor};

use super::{
    FitReport, Observer, Options, Progress, TuneError, batches,
    checkpoint::{Piece, Place, Workplace},
    dataset::Dataset,
    model::Model,
    optimiser::AdamW,
};
use crate::train::{
    base::Base,
    seed::Seed,
    transformer::{Batch, Noise},
};

/// The share of numbers that dropout takes: of the embeddings, the attention, the hidden outputs and the head's input.
const DROPOUT: f32 = 0.1;

/// Losses that are left on a GPU before they are read together: whoever reads one waits for the GPU, which then waits
/// in turn. Few enough that a fit which diverged ends within seconds.
const UNREAD_LOSSES_MAX: usize = 50;

/// A fit to be made.
pub(super) struct Fit<'a> {
    pub(super) base: &'a Base,
    pub(super) dataset: &'a Dataset,
    pub(super) options: &'a Options,
    pub(super) device: &'a Device,
    pub(super) piece: Piece,
    /// Numbers of the rows that are tuned on.
    pub(super) rows: Vec<usize>,
    pub(super) seed: Seed,
}

/// A fit under way.
struct Course {
    model: Model,
    optimiser: AdamW,
    place: Place,
    /// Losses that are still on the device.
    unread: Vec<Tensor>,
    /// The last loss that was read.
    loss: f32,
}

impl Fit<'_> {
    /// Makes the fit, from where the workplace says that it was, and leaves there what it gave.
    pub(super) fn run(
        &self,
        workplace: &Workplace,
        observer: Observer<'_>,
    ) -> Result<(), TuneError> {
        let mut course = self.begin(workplace)?;
        let mut kept_at = Instant::now();
        while course.place.losses.len() < self.options.epochs {
            let epoch = course.place.losses.len();
            let batches = self.batches(epoch);
            for batch in &batches[course.place.step - epoch * batches.len()..] {
                let started = Instant::now();
                let pieces = self.step(&mut course, batch)?;
                course.place.seconds += started.elapsed().as_secs_f64();
                let wanted = observer(self.progress(&course, pieces));
                if wanted.is_break() || kept_at.elapsed() >= workplace.interval {
                    course.read_losses()?;
                    let state = (&course.model, &course.optimiser);
                    workplace.keep_state(self.piece, &course.place, state)?;
                    kept_at = Instant::now();
                }
                if wanted == ControlFlow::Break(()) {
                    return Err(TuneError::Interrupted);
                }
            }
            course.read_losses()?;
            course.place.end_epoch(batches.len());
        }
        let Course { model, place, .. } = course;
        let report = FitReport {
            rows: self.rows.len(),
            losses: place.losses,
            held_back_accuracy: None,
            seconds: place.seconds,
        };
        workplace.keep_done(self.piece, &model, &report)
    }

    fn begin(&self, workplace: &Workplace) -> Result<Course, TuneError> {
        let shape = (self.options.change(), self.dataset.categories.len());
        let model = Model::new(self.base, shape, self.seed, self.device)?;
        let mut optimiser = AdamW::new(&model.parameters)?;
        let place = workplace.restore(self.piece, &model, &mut optimiser)?;
        if !self.device.is_cpu() {
            // A GPU draws the dropout from a generator of its own; to make one for every step would take too long.
            self.device
                .set_seed(self.dropout_seed(place.step).value())?;
        }
        Ok(Course {
            model,
            optimiser,
            place,
            unread: Vec::new(),
            loss: f32::NAN,
        })
    }

    fn batches(&self, epoch: usize) -> Vec<Vec<usize>> {
        let length = |row: usize| self.dataset.rows[row].trained_pieces.len();
        let seed = self.seed.stream("epoch", epoch as u64);
        batches::of_epoch(&self.rows, length, seed)
    }

    /// Learns from one batch; what comes back is how many word pieces it had.
    fn step(&self, course: &mut Course, batch: &[usize]) -> Result<usize, TuneError> {
        let rows = || batch.iter().map(|row| &self.dataset.rows[*row]);
        let mut texts: Vec<&[u32]> = rows().map(|row| &row.trained_pieces[..]).collect();
        if self.options.twice {
            texts.extend_from_within(..);
        }
        let classes: Vec<u32> = rows().map(|row| row.class).collect();
        let texts = Batch::new(&texts);
        let step = course.place.step;
        let mut noise = Noise::dropout(DROPOUT, self.dropout_seed(step));
        let Course {
            model, optimiser, ..
        } = course;
        let (loss, gradients) = model.gradients(&texts, &classes, &mut noise)?;
        optimiser.step(&model.parameters, &gradients, (step, self.steps()))?;
        course.unread.push(loss);
        course.place.step += 1;
        if self.device.is_cpu() || course.unread.len() >= UNREAD_LOSSES_MAX {
            course.read_losses()?;
        }
        Ok(texts.pieces())
    }

    fn dropout_seed(&self, step: usize) -> Seed {
        self.seed.stream("dropout", step as u64)
    }

    /// Batches in all.
    fn steps(&self) -> usize {
        batches::count(self.rows.len()) * self.options.epochs
    }

    fn progress(&self, course: &Course, pieces: usize) -> Progress {
        Progress {
            fit: self.piece.fit,
            fits: self.options.folds + 1,
            member: self.piece.member,
            members: self.options.average,
            step: course.place.step,
            steps: self.steps(),
            pieces,
            loss: course.loss,
        }
    }
}

impl Course {
    /// Takes the losses off the device, which has to do all that was asked of it first.
    fn read_losses(&mut self) -> Result<(), TuneError> {
        if self.unread.is_empty() {
            return Ok(());
        }
        let first = self.place.step - self.unread.len();
        let losses: Vec<f32> = Tensor::stack(&self.unread, 0)?.to_vec1()?;
        self.unread.clear();
        for (step, loss) in (first..).zip(losses) {
            if !loss.is_finite() {
                return Err(TuneError::Diverged { step, loss });
            }
            self.place.loss_sum += f64::from(loss);
            self.loss = loss;
        }
        Ok(())
    }
}

impl Place {
    #[expect(clippy::cast_precision_loss, reason = "some hundred batches")]
    fn end_epoch(&mut self, batches: usize) {
        self.losses.push(self.loss_sum / batches.max(1) as f64);
        self.loss_sum = 0.0;
    }
}
