//! Bodies that come compressed although nobody asked for it.

use std::{io::Write, mem};

use flate2::write::MultiGzDecoder;
use hyper::body::{Buf, Bytes};

/// Compressed bytes that are read at once: a thousand times as many may come of them.
const STEP_BYTES: usize = 4 << 10;

/// A body is not compressed as its head says.
#[derive(Debug, thiserror::Error)]
#[error("the body is no gzip")]
pub(in super::super) struct BadGzip(#[from] std::io::Error);

/// Takes compressed bytes in with [`feed`](Self::feed), and gives plain ones out with [`next`](Self::next).
pub(super) struct Gunzip {
    decoder: MultiGzDecoder<Vec<u8>>,
    unread: Bytes,
}

impl Default for Gunzip {
    fn default() -> Self {
        Self {
            decoder: MultiGzDecoder::new(Vec::new()),
            unread: Bytes::new(),
        }
    }
}

impl Gunzip {
    /// Takes in a piece, once what came before is given out.
    pub(super) fn feed(&mut self, piece: Bytes) {
        self.unread = piece;
    }

    /// What comes of the next few bytes; none until more is fed.
    pub(super) fn next(&mut self) -> Result<Option<Bytes>, BadGzip> {
        while self.unread.has_remaining() {
            let step = self.unread.split_to(STEP_BYTES.min(self.unread.len()));
            self.decoder.write_all(&step)?;
            self.decoder.flush()?;
            let plain = mem::take(self.decoder.get_mut());
            if !plain.is_empty() {
                return Ok(Some(plain.into()));
            }
        }
        Ok(None)
    }

    /// The body has ended: whether it was whole.
    pub(super) fn end(&mut self) -> Result<(), BadGzip> {
        Ok(self.decoder.try_finish()?)
    }
}
