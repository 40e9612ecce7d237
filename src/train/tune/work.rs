//! What the processes that tune together have to do: the fits, each by one of them, and at the end the files, by one.

use std::path::Path;

use candle_core::{Device, Tensor};

use super::{
    FitReport, Observer, Options, Report, TuneError,
    checkpoint::{Others, Piece, Tensors, Workplace},
    fit::Fit,
    output::Outputs,
    scorer::Scorer,
};
use crate::train::seed::Seed;

/// The rows of one fold, scored by a model that has not seen them.
pub(super) struct HeldBack {
    /// Numbers of the rows.
    pub(super) rows: Vec<usize>,
    /// Their logits, one after the other.
    pub(super) logits: Vec<f32>,
    pub(super) report: FitReport,
}

/// What all fits share.
pub(super) struct Work<'a> {
    pub(super) outputs: Outputs<'a>,
    /// The fold of each row.
    pub(super) fold_of: &'a [usize],
    pub(super) device: &'a Device,
    pub(super) workplace: &'a Workplace,
}

impl Work<'_> {
    /// Makes all fits that no other process is at; then waits for one of the others, and makes what it did not end.
    pub(super) fn make_fits(&self, observer: Observer<'_>) -> Result<(), TuneError> {
        while let Some(piece) = self.make_what_is_free(observer)? {
            if let Some(_claim) = self.workplace.claim(piece, Others::AwaitThem)? {
                self.fit(piece).run(self.workplace, observer)?;
            }
        }
        Ok(())
    }

    /// Makes all fits that no other process is at; what comes back is the first that one is at.
    fn make_what_is_free(&self, observer: Observer<'_>) -> Result<Option<Piece>, TuneError> {
        for piece in self.pieces() {
            if let Some(_claim) = self.workplace.claim(piece, Others::LeaveThem)? {
                self.fit(piece).run(self.workplace, observer)?;
            }
        }
        Ok(self.pieces().find(|piece| self.workplace.is_left(*piece)))
    }

    /// Whether other processes have done all the rest, files and all.
    pub(super) fn is_ended(&self) -> bool {
        !self.pieces().all(|piece| self.workplace.is_done(piece))
    }

    fn pieces(&self) -> impl Iterator<Item = Piece> {
        let Options { folds, average, .. } = *self.outputs.options;
        (0..=folds).flat_map(move |fit| (0..average).map(move |member| Piece { fit, member }))
    }

    fn fit(&self, Piece { fit, member }: Piece) -> Fit<'_> {
        let Outputs {
            base,
            dataset,
            options,
        } = self.outputs;
        let seed = Seed::new(options.seed).stream("fit", fit as u64);
        Fit {
            base,
            dataset,
            options,
            device: self.device,
            piece: Piece { fit, member },
            // The final fit is no fold: no row is held back from it.
            rows: (0..dataset.rows.len())
                .filter(|row| self.fold_of.get(*row) != Some(&fit))
                .collect(),
            seed: seed.stream("member", member as u64),
        }
    }

    /// Makes the files of the fits that are all done.
    pub(super) fn put_together(&self, out: &Path) -> Result<Report, TuneError> {
        let folds = (0..self.outputs.options.folds).map(|fold| self.held_back(fold));
        let folds = folds.collect::<Result<Vec<_>, _>>()?;
        let (parameters, report) = self.averaged(self.outputs.options.folds)?;
        let written = self.outputs.written(&parameters)?;
        self.outputs.write(out, (&written, report), &folds)
    }

    fn held_back(&self, fold: usize) -> Result<HeldBack, TuneError> {
        let rows = (0..self.fold_of.len()).filter(|row| self.fold_of[*row] == fold);
        let rows: Vec<usize> = rows.collect();
        let (parameters, mut report) = self.averaged(fold)?;
        let written = self.outputs.written(&parameters)?;
        let scorer = Scorer::new(&written.tuned, written.adapter.head(), self.device)?;
        let logits = scorer.logits(self.outputs.dataset, &rows)?;
        report.held_back_accuracy = self.outputs.dataset.accuracy(&rows, &logits);
        Ok(HeldBack {
            rows,
            logits,
            report,
        })
    }

    /// The parameters of a fit: of each the mean over the fits that are averaged.
    #[expect(clippy::cast_precision_loss, reason = "a handful of fits")]
    fn averaged(&self, fit: usize) -> Result<(Tensors, FitReport), TuneError> {
        let (mut sums, mut report) = self.workplace.done(Piece { fit, member: 0 })?;
        let members = self.outputs.options.average;
        for member in 1..members {
            let (parameters, other) = self.workplace.done(Piece { fit, member })?;
            for (name, sum) in &mut sums {
                let missing = || candle_core::Error::msg(format!("{name} is not in every fit"));
                *sum = (&*sum + parameters.get(name).ok_or_else(missing)?)?;
            }
            report.seconds += other.seconds;
            for (sum, loss) in report.losses.iter_mut().zip(other.losses) {
                *sum += loss;
            }
        }
        let share = 1.0 / members as f64;
        let mean = |(name, sum): (String, Tensor)| Ok((name, sum.affine(share, 0.0)?));
        report.losses.iter_mut().for_each(|sum| *sum *= share);
        let means = sums.into_iter().map(mean);
        Ok((means.collect::<Result<_, TuneError>>()?, report))
    }
}
