//! Bytes as a gzip member, each piece of which can be unpacked as soon as it is there.

use std::{io::Write, mem};

use flate2::{Compression, write::GzEncoder};

use super::body::Body;

/// The body as a gzip member, taken apart at the same places.
pub(super) fn gzipped(body: Body) -> Body {
    let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
    let opening = packed(&mut packer, &body.opening);
    let tokens = body.tokens.iter().map(|token| packed(&mut packer, token));
    let tokens = tokens.collect();
    let mut closing = packed(&mut packer, &body.closing);
    // Writing into memory does not fail.
    closing.extend(packer.finish().unwrap_or_default());
    Body {
        opening,
        tokens,
        closing,
    }
}

/// What `piece` adds to the member.
fn packed(packer: &mut GzEncoder<Vec<u8>>, piece: &[u8]) -> Vec<u8> {
    if !piece.is_empty() {
        // Writing into memory does not fail.
        let _written = packer.write_all(piece).and_then(|()| packer.flush());
    }
    mem::take(packer.get_mut())
}

#[cfg(test)]
mod tests {
    use flate2::write::MultiGzDecoder;

    use super::*;

    fn unpacked(decoder: &mut MultiGzDecoder<Vec<u8>>, packed: &[u8]) -> Vec<u8> {
        decoder.write_all(packed).unwrap();
        decoder.flush().unwrap();
        mem::take(decoder.get_mut())
    }

    #[test]
    fn every_piece_can_be_unpacked_at_once() {
        let body = Body {
            opening: b"data: a\n\n".to_vec(),
            tokens: vec![b"data: b\n\n".to_vec(), Vec::new(), vec![b'x'; 200_000]],
            closing: Vec::new(),
        };
        let packed = gzipped(body.clone());
        let mut decoder = MultiGzDecoder::new(Vec::new());
        assert_eq!(unpacked(&mut decoder, &packed.opening), body.opening);
        for (packed, plain) in packed.tokens.iter().zip(&body.tokens) {
            assert_eq!(unpacked(&mut decoder, packed), *plain);
        }
        assert_eq!(unpacked(&mut decoder, &packed.closing), body.closing);
        decoder.try_finish().unwrap();
    }
}
