//! The static encoder's table: a vector for each word piece, mapped into memory.
//!
//! A text's vector is the mean of its pieces' (`Model2Vec`; Minish Lab 2024): no transformer and no library at run time,
//! and a few microseconds.
//!
//! A safetensors file: `table` (pieces × dimensions, I8), `scale` (one F32 a piece, what its numbers are multiplied
//! by), and metadata that name the transformer it was distilled from and hold a checksum of both tensors.

use std::{
    fs::File,
    io,
    ops::Range,
    path::{Path, PathBuf},
};

use memmap2::Mmap;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::metadata;

/// Raised whenever an older reader would misread the file.
pub const FORMAT: u32 = 1;

/// A table, open.
pub struct Table {
    /// The file, whole; checked when it was opened.
    file: Mmap,
    /// Where in the file the numbers are.
    numbers: Range<usize>,
    scales: Vec<f32>,
    dimensions: usize,
    about: About,
    fingerprint: String,
}

/// What a table says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// The format of the file.
    pub format: u32,
    /// SHA-256 of the transformer's `model.safetensors`, hexadecimal.
    pub base_sha256: String,
    /// SHA-256 of the `tokenizer.json` whose pieces these are, hexadecimal.
    pub tokenizer_sha256: String,
    /// SHA-256 of the table's bytes and then the scales', hexadecimal.
    pub content_sha256: String,
}

/// Why a table cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// The file cannot be read.
    #[error("the token table {} cannot be read; make one with `coterie encoder distill`", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Not what distilling writes: cut off, edited, or of another format.
    #[error("the token table {} cannot be used: {detail}; make it again with `coterie encoder distill`", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
}

impl Table {
    /// Maps the file at `path` into memory and checks it: its shape, and its checksum, which takes some milliseconds.
    ///
    /// # Errors
    /// `Io` if it cannot be read, `Corrupt` if it is not what was written.
    pub fn open(path: &Path) -> Result<Self, TableError> {
        let map = File::open(path).and_then(|file| map(&file));
        let map = map.map_err(|source| TableError::Io {
            path: path.to_owned(),
            source,
        })?;
        Self::check(map).map_err(|detail| TableError::Corrupt {
            path: path.to_owned(),
            detail,
        })
    }

    fn check(file: Mmap) -> Result<Self, String> {
        let about: About = metadata::read(&file, FORMAT)?;
        let tensors = SafeTensors::deserialize(&file).map_err(|error| error.to_string())?;
        let tensor = |name: &str, dtype: Dtype| match tensors.tensor(name) {
            Ok(view) if view.dtype() == dtype => Ok(view),
            Ok(_) => Err(format!("`{name}` is not {dtype:?}")),
            Err(_absent) => Err(format!("there is no `{name}`")),
        };
        let (table, scale) = (tensor("table", Dtype::I8)?, tensor("scale", Dtype::F32)?);
        let (&[pieces, dimensions], &[scaled]) = (table.shape(), scale.shape()) else {
            return Err("its tensors have the wrong shapes".into());
        };
        if pieces != scaled || pieces == 0 || dimensions == 0 {
            return Err(format!("{pieces} pieces have {scaled} scales"));
        }
        if content_sha256(table.data(), scale.data()) != about.content_sha256 {
            return Err("the checksum does not match the content".into());
        }
        let (scales, _) = scale.data().as_chunks::<4>();
        let scales = scales
            .iter()
            .map(|bytes| f32::from_le_bytes(*bytes))
            .collect();
        let from = table.data().as_ptr().addr() - file.as_ptr().addr();
        let numbers = from..from + pieces * dimensions;
        Ok(Self {
            fingerprint: about.fingerprint(),
            file,
            numbers,
            scales,
            dimensions,
            about,
        })
    }

    /// Word pieces it has a vector for: ids from 0 on.
    pub fn pieces(&self) -> usize {
        self.scales.len()
    }

    /// How long its vectors are.
    pub fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// A digest of everything that decides what its vectors are.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Where it comes from.
    pub fn about(&self) -> &About {
        &self.about
    }

    /// Writes the mean of the pieces' vectors into `out` ([`Self::dimensions`] numbers), at length 1; zeros where no
    /// piece says anything. Ids that the table does not have are passed over.
    pub fn embed(&self, ids: &[u32], out: &mut [f32]) {
        out.fill(0.0);
        for id in ids {
            let id = *id as usize;
            let from = self.numbers.start + id * self.dimensions;
            let row = self
                .scales
                .get(id)
                .zip(self.file.get(from..from + self.dimensions));
            let Some((scale, row)) = row else {
                continue;
            };
            for (sum, number) in out.iter_mut().zip(row) {
                *sum += scale * f32::from(number.cast_signed());
            }
        }
        let length = out.iter().map(|x| x * x).sum::<f32>().sqrt();
        if length > 0.0 {
            out.iter_mut().for_each(|x| *x /= length);
        }
    }
}

/// The bytes of a table: `rows` of `dimensions` numbers, one a piece, rounded to 8 bits.
///
/// # Errors
/// The rows are not of that length.
pub fn to_bytes(
    rows: &[f32],
    dimensions: usize,
    about: impl FnOnce(String) -> About,
) -> Result<Vec<u8>, safetensors::SafeTensorError> {
    let scales: Vec<f32> = rows.chunks(dimensions).map(scale).collect();
    let numbers: Vec<u8> = rows
        .chunks(dimensions)
        .zip(&scales)
        .flat_map(|(row, scale)| row.iter().map(move |x| rounded(*x, *scale).cast_unsigned()))
        .collect();
    let pieces = scales.len();
    let scales: Vec<u8> = scales.into_iter().flat_map(f32::to_le_bytes).collect();
    let about = about(content_sha256(&numbers, &scales));
    let views = [
        (
            "table",
            TensorView::new(Dtype::I8, vec![pieces, dimensions], &numbers)?,
        ),
        ("scale", TensorView::new(Dtype::F32, vec![pieces], &scales)?),
    ];
    // Texts and a number: there is nothing that JSON could not hold.
    safetensors::serialize(views, metadata::of(&about).ok())
}

impl About {
    fn fingerprint(&self) -> String {
        let parts = [
            &self.base_sha256,
            &self.tokenizer_sha256,
            &self.content_sha256,
        ];
        let mut digest = Sha256::new();
        for part in parts {
            digest.update(part.len().to_le_bytes());
            digest.update(part);
        }
        hex::encode(digest.finalize())
    }
}

/// What one step of a row's 8-bit numbers is worth.
fn scale(row: &[f32]) -> f32 {
    row.iter().fold(0.0_f32, |most, x| most.max(x.abs())) / 127.0
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the scale brings every number to between -127 and 127"
)]
fn rounded(x: f32, scale: f32) -> i8 {
    if scale > 0.0 {
        (x / scale).round() as i8
    } else {
        0
    }
}

fn content_sha256(numbers: &[u8], scales: &[u8]) -> String {
    let mut digest = Sha256::new();
    digest.update(numbers);
    digest.update(scales);
    hex::encode(digest.finalize())
}

#[expect(
    unsafe_code,
    reason = "the file is written whole and renamed into place: nobody changes it while it is mapped"
)]
fn map(file: &File) -> io::Result<Mmap> {
    // SAFETY: tables are never written in place. Whoever did that anyway could change the numbers under us; they are
    // read as plain bytes, any of which is a valid number, and the file's length is not read again.
    unsafe { Mmap::map(file) }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn about(content_sha256: String) -> About {
        About {
            format: FORMAT,
            base_sha256: "b".into(),
            tokenizer_sha256: "t".into(),
            content_sha256,
        }
    }

    fn opened(bytes: &[u8]) -> Result<Table, TableError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("table.safetensors");
        fs::write(&path, bytes).unwrap();
        Table::open(&path)
    }

    const ROWS: [f32; 8] = [0.0, 0.0, 3.0, 4.0, -1.0, 0.0, 0.0, 0.01];

    #[test]
    fn a_text_is_the_mean_of_its_pieces_at_length_one() {
        let table = opened(&to_bytes(&ROWS, 2, about).unwrap()).unwrap();
        assert_eq!((table.pieces(), table.dimensions()), (4, 2));
        let embed = |ids: &[u32]| {
            let mut out = [9.0; 2];
            table.embed(ids, &mut out);
            out
        };
        let near = |out: [f32; 2], expected: [f32; 2]| {
            let gaps = out.iter().zip(&expected).map(|(a, b)| (a - b).abs());
            assert!(gaps.fold(0.0, f32::max) < 0.01, "{out:?} {expected:?}");
        };
        near(embed(&[1]), [0.6, 0.8]);
        near(embed(&[1, 2, 0]), [0.447, 0.894]);
        // A small row keeps its digits.
        near(embed(&[3]), [0.0, 1.0]);
        assert_eq!(embed(&[]), [0.0; 2]);
        assert_eq!(embed(&[0, 4, u32::MAX]), [0.0; 2]);
    }

    #[test]
    fn the_fingerprint_is_that_of_content_and_origin() {
        let fingerprint = |rows: &[f32], base: &str| {
            let bytes = to_bytes(rows, 2, |content| About {
                base_sha256: base.into(),
                ..about(content)
            });
            opened(&bytes.unwrap()).unwrap().fingerprint().to_owned()
        };
        assert_eq!(fingerprint(&ROWS, "b"), fingerprint(&ROWS, "b"));
        assert_ne!(fingerprint(&ROWS, "b"), fingerprint(&ROWS, "c"));
        assert_ne!(fingerprint(&ROWS, "b"), fingerprint(&ROWS[2..], "b"));
    }

    #[test]
    fn every_kind_of_damage_is_noticed() {
        let whole = to_bytes(&ROWS, 2, about).unwrap();
        let newer = to_bytes(&ROWS, 2, |content| About {
            format: 2,
            ..about(content)
        });
        let mut flipped = whole.clone();
        *flipped.last_mut().unwrap() ^= 1;
        let cases = [
            (newer.unwrap(), "format 2"),
            (flipped, "checksum"),
            (whole[..whole.len() - 1].to_vec(), ""),
            (whole[..4].to_vec(), ""),
            (
                safetensors::serialize(Vec::<(&str, TensorView<'_>)>::new(), None).unwrap(),
                "metadata",
            ),
        ];
        for (bytes, complaint) in cases {
            let error = opened(&bytes).err().unwrap();
            assert!(matches!(error, TableError::Corrupt { .. }), "{error}");
            assert!(error.to_string().contains(complaint), "{error}");
        }
        assert!(matches!(
            Table::open(Path::new("absent")),
            Err(TableError::Io { .. })
        ));
    }
}
