//! Pieces of an answer that are there at once, so that they go out in one write: each write costs more than what is in it.

use std::task::Poll;

use axum::body::Bytes;
use futures_util::{Stream, StreamExt, poll};

/// Most bytes that are gathered for one write: a reader must not wait for more than a network packet or ten.
const BATCH_BYTES_MAX: usize = 16 << 10;

/// What the next piece that says anything is written as, with the pieces that are there at once, and whether others follow.
/// `write` appends what a piece, or the end, brings, and says whether more may follow.
pub(super) async fn next_batch<S: Stream + Unpin>(
    pieces: &mut S,
    mut write: impl FnMut(Option<S::Item>, &mut Vec<u8>) -> bool,
) -> (Bytes, bool) {
    let mut bytes = Vec::new();
    let mut piece = pieces.next().await;
    while write(piece, &mut bytes) {
        piece = if bytes.is_empty() {
            pieces.next().await
        } else if bytes.len() >= BATCH_BYTES_MAX {
            return (bytes.into(), true);
        } else {
            match at_once(pieces).await {
                Some(piece) => piece,
                None => return (bytes.into(), true),
            }
        };
    }
    (bytes.into(), false)
}

/// What comes next without waiting; none where it would have to be waited for.
async fn at_once<S: Stream + Unpin>(pieces: &mut S) -> Option<Option<S::Item>> {
    match poll!(pieces.next()) {
        Poll::Ready(piece) => Some(piece),
        Poll::Pending => None,
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    #[tokio::test]
    async fn what_is_there_comes_and_what_is_not_is_not_waited_for() {
        let mut ended = stream::iter([1]);
        assert_eq!(at_once(&mut ended).await, Some(Some(1)));
        assert_eq!(at_once(&mut ended).await, Some(None));
        let mut never = stream::pending::<i32>();
        assert_eq!(at_once(&mut never).await, None);
    }

    #[tokio::test]
    async fn a_batch_is_bounded_and_tells_whether_more_follows() {
        let piece = vec![b'x'; BATCH_BYTES_MAX / 2];
        let mut pieces = stream::iter(vec![piece; 5]);
        let mut write = |piece: Option<Vec<u8>>, bytes: &mut Vec<u8>| {
            bytes.extend(piece.iter().flatten());
            piece.is_some()
        };
        let mut batches = Vec::new();
        loop {
            let (bytes, goes_on) = next_batch(&mut pieces, &mut write).await;
            batches.push(bytes.len() / (BATCH_BYTES_MAX / 2));
            if !goes_on {
                break;
            }
        }
        assert_eq!(batches, [2, 2, 1]);
    }
}
