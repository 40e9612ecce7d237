//! Carries outcomes to the store: a bounded queue whose slots are taken before the expert is asked, and one writer.

use std::time::Instant;

use crate::{
    decision::Decision,
    outcome::{Ask, Ticket},
};

/// The way to the writer.
#[derive(Clone)]
pub struct Recorder;

/// No slot of the queue came free in time: the question must not be answered.
#[derive(Debug, thiserror::Error)]
#[error("the record of outcomes is full; try again later")]
pub struct NoSlot;

impl Recorder {
    /// Takes a slot, so that from here on exactly one outcome is certain.
    pub async fn open(
        &self,
        ask: Ask,
        decision: Decision,
        asked: Instant,
    ) -> Result<Ticket, NoSlot> {
        todo!("{ask:?} {decision:?} {asked:?}")
    }
}
