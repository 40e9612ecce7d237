//! Protocol buffers, as far as writing an ONNX file needs them (<https://protobuf.dev/programming-guides/encoding/>).
//!
//! A message refers to its large arrays instead of copying them: however deep they lie, they are written once.

use std::mem::size_of_val;

/// A message in the making.
#[derive(Default)]
pub(super) struct Message<'a> {
    parts: Vec<Part<'a>>,
}

enum Part<'a> {
    Bytes(Vec<u8>),
    Floats(&'a [f32]),
    Transposed { values: &'a [f32], columns: usize },
}

/// How a field's value is laid out: the low bits of its key.
#[derive(Clone, Copy)]
enum Wire {
    Varint = 0,
    LengthDelimited = 2,
    FourBytes = 5,
}

impl<'a> Message<'a> {
    pub(super) fn new() -> Self {
        Self::default()
    }

    pub(super) fn int(mut self, field: u64, value: i64) -> Self {
        self.key(field, Wire::Varint);
        self.varint(value.cast_unsigned());
        self
    }

    pub(super) fn float(mut self, field: u64, value: f32) -> Self {
        self.key(field, Wire::FourBytes);
        self.raw(&value.to_le_bytes());
        self
    }

    pub(super) fn text(self, field: u64, value: &str) -> Self {
        self.bytes(field, value.as_bytes())
    }

    pub(super) fn bytes(mut self, field: u64, value: &[u8]) -> Self {
        self.length_delimited(field, value.len());
        self.raw(value);
        self
    }

    pub(super) fn message(mut self, field: u64, value: Message<'a>) -> Self {
        self.push(field, value);
        self
    }

    /// [`Self::message`] for one that grows in place.
    pub(super) fn push(&mut self, field: u64, value: Message<'a>) {
        self.length_delimited(field, value.len());
        for part in value.parts {
            match part {
                Part::Bytes(bytes) => self.raw(&bytes),
                array => self.parts.push(array),
            }
        }
    }

    /// The numbers as little-endian bytes.
    pub(super) fn floats(mut self, field: u64, values: &'a [f32]) -> Self {
        self.length_delimited(field, size_of_val(values));
        self.parts.push(Part::Floats(values));
        self
    }

    /// The transpose of a matrix with rows of `columns` numbers, as little-endian bytes.
    pub(super) fn transposed(mut self, field: u64, values: &'a [f32], columns: usize) -> Self {
        self.length_delimited(field, size_of_val(values));
        self.parts.push(Part::Transposed { values, columns });
        self
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        let mut bytes = vec![0; self.len()];
        let mut rest = bytes.as_mut_slice();
        for part in &self.parts {
            let (target, behind) = rest.split_at_mut(part.len());
            part.write(target);
            rest = behind;
        }
        bytes
    }

    fn len(&self) -> usize {
        self.parts.iter().map(Part::len).sum()
    }

    fn key(&mut self, field: u64, wire: Wire) {
        self.varint(field << 3 | wire as u64);
    }

    fn length_delimited(&mut self, field: u64, bytes: usize) {
        self.key(field, Wire::LengthDelimited);
        self.varint(bytes as u64);
    }

    /// Seven bits a byte, the lowest first; the top bit says that more follow.
    fn varint(&mut self, mut value: u64) {
        while value > 0x7F {
            self.raw(&[low_byte(value) | 0x80]);
            value >>= 7;
        }
        self.raw(&[low_byte(value)]);
    }

    fn raw(&mut self, bytes: &[u8]) {
        if let Some(Part::Bytes(last)) = self.parts.last_mut() {
            last.extend_from_slice(bytes);
        } else {
            self.parts.push(Part::Bytes(bytes.to_vec()));
        }
    }
}

impl Part<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Floats(values) | Self::Transposed { values, .. } => size_of_val(*values),
        }
    }

    /// Fills `target`, which is as long as this part.
    fn write(&self, target: &mut [u8]) {
        match self {
            Self::Bytes(bytes) => target.copy_from_slice(bytes),
            Self::Floats(values) => {
                let (target, _) = target.as_chunks_mut();
                for (target, value) in target.iter_mut().zip(*values) {
                    *target = value.to_le_bytes();
                }
            }
            Self::Transposed { values, columns } => {
                transpose(values, *columns, target.as_chunks_mut().0);
            }
        }
    }
}

/// Writes a matrix with rows of `columns` numbers column by column. Blocks would gain little: a column of an encoder's
/// matrix touches no more lines than the cache holds.
fn transpose(values: &[f32], columns: usize, target: &mut [[u8; 4]]) {
    let columns = columns.max(1);
    let rows = (values.len() / columns).max(1);
    for (column, target) in target.chunks_exact_mut(rows).enumerate() {
        let values = values.iter().skip(column).step_by(columns);
        for (target, value) in target.iter_mut().zip(values) {
            *target = value.to_le_bytes();
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the low byte is what is wanted"
)]
fn low_byte(value: u64) -> u8 {
    value as u8
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn fields_are_encoded_as_the_specification_shows() {
        let bytes = |message: Message<'_>| message.into_bytes();
        assert_eq!(bytes(Message::new().int(1, 150)), [0x08, 0x96, 0x01]);
        let testing = [0x12, 0x07, b't', b'e', b's', b't', b'i', b'n', b'g'];
        assert_eq!(bytes(Message::new().text(2, "testing")), testing);
        let nested = Message::new().message(3, Message::new().int(1, 150));
        assert_eq!(bytes(nested), [0x1A, 0x03, 0x08, 0x96, 0x01]);
        let two = [&[0x08][..], &[0xFE], &[0xFF; 8], &[0x01]].concat();
        assert_eq!(bytes(Message::new().int(1, -2)), two);
        let half = [0x25, 0x00, 0x00, 0x00, 0x3F];
        assert_eq!(bytes(Message::new().float(4, 0.5)), half);
    }

    #[test]
    fn an_array_lies_where_its_bytes_would() {
        let values = [1.0, -2.5];
        let bytes: Vec<u8> = values.iter().flat_map(|v: &f32| v.to_le_bytes()).collect();
        let outer = |inner| Message::new().int(1, 1).message(2, inner).int(3, 3);
        assert_eq!(
            outer(Message::new().floats(7, &values).int(8, 8)).into_bytes(),
            outer(Message::new().bytes(7, &bytes).int(8, 8)).into_bytes()
        );
    }

    proptest! {
        #[test]
        fn a_transpose_is_written_column_by_column(rows in 0..80_usize, columns in 0..80_usize) {
            let value = |row: usize, column: usize| (row * 100 + column) as f32;
            let matrix: Vec<f32> = (0..rows).flat_map(|r| (0..columns).map(move |c| value(r, c))).collect();
            let expected: Vec<f32> = (0..columns).flat_map(|c| (0..rows).map(move |r| value(r, c))).collect();
            prop_assert_eq!(
                Message::new().transposed(1, &matrix, columns).into_bytes(),
                Message::new().floats(1, &expected).into_bytes()
            );
        }
    }
}
