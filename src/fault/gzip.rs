//! Bytes as a gzip member (RFC 1952) of stored blocks (RFC 1951, 3.2.4): every reader of gzip takes it, and each piece of a
//! stream can be unpacked as soon as it is there. Nothing becomes smaller; that is not what it is for.

use super::body::Body;

/// Magic, deflate, no flags, no time, no extra flags, an unknown system.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

/// A last block without content.
const LAST_BLOCK: [u8; 5] = [1, 0, 0, 0xff, 0xff];

/// The body as a gzip member, taken apart at the same places.
pub(super) fn gzipped(body: Body) -> Body {
    let mut packer = Packer::default();
    let opening = [HEADER.as_slice(), &packer.stored(&body.opening)].concat();
    let tokens = body.tokens.iter().map(|token| packer.stored(token));
    let tokens = tokens.collect();
    let mut closing = packer.stored(&body.closing);
    closing.extend(packer.trailer());
    Body {
        opening,
        tokens,
        closing,
    }
}

/// What the trailer tells of the bytes so far.
#[derive(Default)]
struct Packer {
    checksum: crc32fast::Hasher,
    /// Modulo 2³², as the format has it.
    length: u32,
}

impl Packer {
    /// The bytes in stored blocks, none of them the last.
    fn stored(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes.len() + 5);
        for block in bytes.chunks(usize::from(u16::MAX)) {
            let length = u16::try_from(block.len()).unwrap_or(u16::MAX);
            out.push(0);
            out.extend(length.to_le_bytes());
            out.extend((!length).to_le_bytes());
            out.extend(block);
            self.checksum.update(block);
            self.length = self.length.wrapping_add(u32::from(length));
        }
        out
    }

    fn trailer(self) -> Vec<u8> {
        let checksum = self.checksum.finalize().to_le_bytes();
        [&LAST_BLOCK[..], &checksum, &self.length.to_le_bytes()].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The content of a member of stored blocks.
    fn unpacked(member: &[u8]) -> Vec<u8> {
        let mut rest = member.strip_prefix(&HEADER[..]).unwrap();
        let mut content = Vec::new();
        loop {
            let length = usize::from(u16::from_le_bytes([rest[1], rest[2]]));
            assert_eq!(rest[3], !rest[1]);
            assert_eq!(rest[4], !rest[2]);
            content.extend(&rest[5..5 + length]);
            let last = rest[0] == 1;
            rest = &rest[5 + length..];
            if last {
                break;
            }
        }
        let length = u32::try_from(content.len()).unwrap();
        assert_eq!(rest[..4], crc32fast::hash(&content).to_le_bytes());
        assert_eq!(rest[4..], length.to_le_bytes());
        content
    }

    fn packed(body: Body) -> Vec<u8> {
        let packed = gzipped(body);
        [packed.opening, packed.tokens.concat(), packed.closing].concat()
    }

    #[test]
    fn what_is_packed_can_be_unpacked() {
        let body = Body {
            opening: b"a".to_vec(),
            tokens: [b"bc".to_vec(), Vec::new()].into(),
            closing: b"d".to_vec(),
        };
        assert_eq!(unpacked(&packed(body)), b"abcd");
    }

    #[test]
    fn what_is_longer_than_a_block_takes_several() {
        let long = vec![b'x'; 200_000];
        let body = Body {
            opening: Vec::new(),
            tokens: [long.clone()].into(),
            closing: Vec::new(),
        };
        assert_eq!(unpacked(&packed(body)), long);
    }
}
