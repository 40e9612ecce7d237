//! One sitting of a person: which question is asked, and what becomes of it. Every label is in the store before the next
//! question is shown.

use super::view::Progress;
use crate::{
    clock,
    learning::{Candidate, Label, Origin, informative::Queue},
    outcome::Spending,
    store::{Store, StoreError},
};

/// Labels and skips that can be taken back.
const UNDO_MAX: usize = 1000;

/// A sitting.
pub(super) struct Session<'s> {
    store: &'s Store,
    by: &'s str,
    candidates: Vec<Candidate>,
    queue: Queue,
    current: Option<usize>,
    done: Vec<Done>,
    labelled: usize,
    gone: usize,
    today: u64,
}

/// What became of a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Given {
    /// It is in the store.
    Kept,
    /// Its outcome is not in the store any more.
    Gone,
}

/// What became of a question.
struct Done {
    at: usize,
    /// The label's number; none: it was skipped, or its outcome was gone.
    label: Option<i64>,
}

impl<'s> Session<'s> {
    /// Begins with the most informative of the candidates, which the queue holds in the same order.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(super) async fn begin(
        store: &'s Store,
        by: &'s str,
        candidates: Vec<Candidate>,
        queue: Queue,
    ) -> Result<Self, StoreError> {
        let midnight_ms = Spending::midnight_ms(clock::now_ms());
        Ok(Self {
            today: store.labelled_since(by, midnight_ms).await?,
            store,
            by,
            candidates,
            current: queue.next(),
            queue,
            done: Vec::new(),
            labelled: 0,
            gone: 0,
        })
    }

    /// The question that is asked; none where none is left.
    pub(super) fn current(&self) -> Option<&Candidate> {
        self.current.map(|at| &self.candidates[at])
    }

    /// How far it has come.
    pub(super) fn progress(&self) -> Progress<'_> {
        Progress {
            by: self.by,
            today: self.today,
            left: self.queue.left(),
        }
    }

    /// Labels given in this sitting, those that were taken back aside.
    pub(super) fn labelled(&self) -> usize {
        self.labelled
    }

    /// Questions that were labelled, but whose outcome was gone by then.
    pub(super) fn gone(&self) -> usize {
        self.gone
    }

    /// Gives the question its category, and turns to the next.
    ///
    /// # Errors
    /// The label is not in the store.
    pub(super) async fn label(&mut self, category: &str) -> Result<Given, StoreError> {
        let Some(at) = self.current else {
            return Ok(Given::Gone);
        };
        let label = Label {
            outcome_id: self.candidates[at].outcome_id.clone(),
            given_at_ms: clock::now_ms(),
            category: category.to_owned(),
            origin: Origin::Person,
            given_by: self.by.to_owned(),
        };
        let numbers = self.store.add_labels(&[label]).await?;
        let number = numbers.first().copied().flatten();
        self.turn(at, number);
        if number.is_none() {
            self.gone += 1;
            return Ok(Given::Gone);
        }
        self.today += 1;
        self.labelled += 1;
        Ok(Given::Kept)
    }

    /// Turns to the next question; this one comes again at the next sitting.
    pub(super) fn skip(&mut self) {
        if let Some(at) = self.current {
            self.turn(at, None);
        }
    }

    fn turn(&mut self, at: usize, label: Option<i64>) {
        if self.done.len() == UNDO_MAX {
            self.done.remove(0);
        }
        self.done.push(Done { at, label });
        self.queue.take(at);
        self.current = self.queue.next();
    }

    /// Takes the last label or skip back and asks that question again; whether there was one.
    ///
    /// # Errors
    /// The label is still in the store.
    pub(super) async fn undo(&mut self) -> Result<bool, StoreError> {
        let Some(Done { at, label }) = self.done.last() else {
            return Ok(false);
        };
        let at = *at;
        if let Some(number) = label {
            self.store.remove_label(*number).await?;
            self.today = self.today.saturating_sub(1);
            self.labelled = self.labelled.saturating_sub(1);
        }
        self.done.pop();
        self.queue.put_back(at);
        self.current = Some(at);
        Ok(true)
    }
}
