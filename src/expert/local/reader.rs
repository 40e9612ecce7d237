//! The way from the thread that runs a model to whoever reads the answer.

use tokio::{
    runtime::{Builder, Runtime},
    sync::mpsc,
};
use tokio_util::sync::CancellationToken;

use super::{error::LoadFault, generator::Ending};
use crate::expert::ExpertError;

/// How many pieces the model may run ahead of its reader.
const PIECES_AHEAD_MAX: usize = 8;

/// A piece of an answer. The last one is an end or an error.
#[derive(Debug)]
pub(super) enum Piece {
    Text(String),
    End(Ending),
}

/// The writing end of one answer.
pub(super) type PieceSender = mpsc::Sender<Result<Piece, ExpertError>>;

/// The reading end of one answer.
pub(super) type Pieces = mpsc::Receiver<Result<Piece, ExpertError>>;

/// Both ends of one answer.
pub(super) fn pieces() -> (PieceSender, Pieces) {
    mpsc::channel(PIECES_AHEAD_MAX)
}

/// What a model's thread waits with: a slow reader must not keep it from closing down.
pub(super) struct Waiting {
    runtime: Runtime,
    closing: CancellationToken,
}

/// Whoever reads an answer, as the model's thread sees them.
pub(super) struct Reader<'thread> {
    pieces: PieceSender,
    waiting: &'thread Waiting,
}

/// The reader left, or the expert is closing down: stop paying for tokens.
#[derive(Debug)]
pub(super) struct Gone;

impl Waiting {
    /// Waits until `closing` at the longest.
    pub(super) fn new(closing: CancellationToken) -> Result<Self, LoadFault> {
        let runtime = Builder::new_current_thread()
            .build()
            .map_err(|source| LoadFault::Thread { source })?;
        Ok(Self { runtime, closing })
    }

    /// Whether the expert is closing down.
    pub(super) fn is_closing(&self) -> bool {
        self.closing.is_cancelled()
    }

    /// The reader at the other end of `pieces`.
    pub(super) fn reader(&self, pieces: PieceSender) -> Reader<'_> {
        Reader {
            pieces,
            waiting: self,
        }
    }
}

impl Reader<'_> {
    /// Whether nobody would read another piece.
    pub(super) fn has_left(&self) -> bool {
        self.pieces.is_closed() || self.waiting.is_closing()
    }

    /// Hands text on; waits where the reader is slow.
    pub(super) fn send(&self, text: String) -> Result<(), Gone> {
        if self.has_left() {
            return Err(Gone);
        }
        if text.is_empty() {
            return Ok(());
        }
        self.send_piece(Ok(Piece::Text(text)))
    }

    /// Hands the last piece on. Whether it is still read makes no difference to the model.
    pub(super) fn finish(self, last: Result<Ending, ExpertError>) {
        let _gone = self.send_piece(last.map(Piece::End));
    }

    /// Tells a reader who is still there that the expert closes down.
    pub(super) fn abandon(self) {
        let broken = ExpertError::Broken {
            detail: "the expert is closing down".into(),
        };
        // Where there is no room the answer ends without a last piece, which is read as broken as well.
        let _no_room = self.pieces.try_send(Err(broken));
    }

    fn send_piece(&self, piece: Result<Piece, ExpertError>) -> Result<(), Gone> {
        let Waiting { runtime, closing } = self.waiting;
        let sent = closing.run_until_cancelled(self.pieces.send(piece));
        match runtime.block_on(sent) {
            Some(Ok(())) => Ok(()),
            Some(Err(_)) | None => Err(Gone),
        }
    }
}
