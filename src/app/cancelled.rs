//! Answers under way end with the server.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use futures_util::{Stream, StreamExt};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::{
    chat::Chunk,
    expert::{AnswerStream, ExpertError},
};

/// The pieces of an answer, or an error in their place once answers under way must end.
pub(super) struct UntilCancelled {
    /// None once it has ended.
    pieces: Option<AnswerStream>,
    cancelled: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl UntilCancelled {
    pub(super) fn new(pieces: AnswerStream, cancel: CancellationToken) -> Self {
        Self {
            pieces: Some(pieces),
            cancelled: Box::pin(cancel.cancelled_owned()),
        }
    }
}

impl Stream for UntilCancelled {
    type Item = Result<Chunk, ExpertError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.pieces.is_some() && self.cancelled.as_mut().poll(cx).is_ready() {
            self.pieces = None;
            return Poll::Ready(Some(Err(ExpertError::ShuttingDown)));
        }
        match &mut self.pieces {
            Some(pieces) => pieces.poll_next_unpin(cx),
            None => Poll::Ready(None),
        }
    }
}
