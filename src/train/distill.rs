//! A static encoder out of a transformer: a vector for each word piece (`Model2Vec`; Minish Lab 2024).
//!
//! Every piece goes through the transformer once, alone between the two marks that frame a text. Of the vectors, what
//! all have in common is taken off, the directions in which they differ most are kept, and each is weighted by how rare
//! its piece is. A text's vector is then the mean of its pieces' ([`Table`]).
//!
//! By itself the vector is a little better where all pieces count alike. Beside lexical features, which is where it is read,
//! it is better so, and the more the fewer rows there are (`docs/benchmarks.md` has the figures).

mod pca;

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Instant,
};

use candle_core::Device;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use self::pca::Components;
use super::{
    base::{Base, BaseError},
    transformer::{Batch, Noise, Transformer},
};
use crate::{
    files::{make_room, write_whole},
    router::encoder::table::{self, About, Table, TableError},
};

/// Pieces that go through the transformer at once.
const PIECES_AT_ONCE: usize = 256;

const TABLE: &str = "table.safetensors";
const TOKENIZER: &str = "tokenizer.json";

/// What is to be distilled.
#[derive(Clone, Debug)]
pub struct Job {
    /// The folder of the transformer.
    pub model: PathBuf,
    /// The folder to write to.
    pub out: PathBuf,
    /// How long the vectors are to be; as long as the transformer's at most.
    pub dimensions: usize,
}

/// What was made.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// SHA-256 of the transformer's weights, hexadecimal.
    pub base_sha256: String,
    /// Of the table ([`Table::fingerprint`]).
    pub fingerprint: String,
    /// Word pieces in the table.
    pub pieces: usize,
    /// Of each vector.
    pub dimensions: usize,
    /// The share of the vectors' variance that these dimensions hold.
    pub variance_kept: f64,
    /// Of the table's file.
    pub bytes: usize,
    /// What it took.
    pub seconds: f64,
}

/// Why a transformer could not be distilled.
#[derive(Debug, thiserror::Error)]
pub enum DistillError {
    /// The transformer.
    #[error(transparent)]
    Base(#[from] BaseError),
    /// More dimensions than there are, or none.
    #[error(
        "--dimensions is {asked}; give 1 to {most}, as the transformer's vectors are {most} long"
    )]
    Dimensions {
        /// The number asked for.
        asked: usize,
        /// The transformer's.
        most: usize,
    },
    /// The tokenizer is not BERT's.
    #[error("the tokenizer has no piece `{piece}`; a BERT vocabulary is needed")]
    Vocabulary {
        /// What is missing.
        piece: &'static str,
    },
    /// A file cannot be read or written.
    #[error("{} could not be read or written", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The table that was written cannot be read: a fault of this program or of the disk.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The computation failed.
    #[error("the computation failed")]
    Compute {
        /// What it said.
        source: Box<candle_core::Error>,
    },
}

impl From<candle_core::Error> for DistillError {
    fn from(source: candle_core::Error) -> Self {
        Self::Compute {
            source: Box::new(source),
        }
    }
}

/// Is told how many pieces are done, and of how many.
pub type Observer<'o> = &'o mut dyn FnMut(usize, usize);

/// Does the job. Blocks for about a minute.
///
/// # Errors
/// Whatever is wrong with the job or the transformer; what was in the folder before stays.
pub fn distill(job: &Job, observer: Observer<'_>) -> Result<Report, DistillError> {
    let started = Instant::now();
    let base = Base::read(&job.model)?;
    let most = base.config.hidden_size;
    if !(1..=most).contains(&job.dimensions) {
        return Err(DistillError::Dimensions {
            asked: job.dimensions,
            most,
        });
    }
    make_room(&job.out).map_err(|source| DistillError::Io {
        path: job.out.clone(),
        source,
    })?;
    let vectors = vectors(&base, observer)?;
    let words = words(&base, vectors.len() / most);
    let components = Components::of(words.iter().map(|id| &vectors[id * most..][..most]));
    let mut rows = vec![0.0; vectors.len() / most * job.dimensions];
    for (rank, id) in words.iter().enumerate() {
        let row = &mut rows[id * job.dimensions..][..job.dimensions];
        components.project(&vectors[id * most..][..most], row);
        let counts_for = weight(rank, words.len());
        row.iter_mut().for_each(|x| *x *= counts_for);
    }
    let tokenizer = read(&job.model.join(TOKENIZER))?;
    let about = |content_sha256| About {
        format: table::FORMAT,
        base_sha256: base.sha256.clone(),
        tokenizer_sha256: hex::encode(Sha256::digest(&tokenizer)),
        content_sha256,
    };
    let bytes = table::to_bytes(&rows, job.dimensions, about)
        .map_err(|error| DistillError::from(candle_core::Error::from(error)))?;
    write(&job.out.join(TOKENIZER), &tokenizer)?;
    write(&job.out.join(TABLE), &bytes)?;
    let table = Table::open(&job.out.join(TABLE))?;
    Ok(Report {
        base_sha256: base.sha256,
        fingerprint: table.fingerprint().to_owned(),
        pieces: table.pieces(),
        dimensions: table.dimensions(),
        variance_kept: components.share(job.dimensions),
        bytes: bytes.len(),
        seconds: started.elapsed().as_secs_f64(),
    })
}

/// The transformer's vector of every piece alone, by id: pieces × hidden.
fn vectors(base: &Base, observer: Observer<'_>) -> Result<Vec<f32>, DistillError> {
    let mark = |piece: &'static str| {
        let id = base.tokenizer.token_to_id(piece);
        id.ok_or(DistillError::Vocabulary { piece })
    };
    let (begin, end) = (mark("[CLS]")?, mark("[SEP]")?);
    let transformer = Transformer::load(base, &Device::Cpu)?;
    let pieces = transformer.pieces()?;
    let mut vectors = Vec::with_capacity(pieces * base.config.hidden_size);
    let ids: Vec<[u32; 3]> = (0..)
        .take(pieces)
        .map(|piece| [begin, piece, end])
        .collect();
    for texts in ids.chunks(PIECES_AT_ONCE) {
        let texts: Vec<&[u32]> = texts.iter().map(|text| &text[..]).collect();
        let batch = transformer.forward(&Batch::new(&texts), &mut Noise::none())?;
        vectors.extend(batch.flatten_all()?.to_vec1::<f32>()?);
        observer(vectors.len() / base.config.hidden_size, pieces);
    }
    Ok(vectors)
}

/// The ids of the pieces that texts are made of, in the vocabulary's order. The marks, and the places that a vocabulary keeps
/// free (`[unused7]`), are not: their vectors stay zero, and say nothing of what the others have in common.
fn words(base: &Base, pieces: usize) -> Vec<usize> {
    let is_word = |id: &usize| {
        let piece = u32::try_from(*id).ok();
        let piece = piece.and_then(|id| base.tokenizer.id_to_token(id));
        piece.is_some_and(|piece| {
            !(piece.starts_with('[') && piece.ends_with(']') && piece.len() > 2)
        })
    };
    (0..pieces).filter(is_word).collect()
}

/// What the piece of this rank, from 0, counts for: its smooth inverse frequency (Arora, Liang and Ma, "A simple but
/// tough-to-beat baseline for sentence embeddings", ICLR 2017), where the frequencies are Zipf's.
///
/// As `Model2Vec` does, a piece's place in the vocabulary is taken for its rank: BERT's begin with a thousand single characters and
/// go by frequency from there.
#[expect(
    clippy::cast_precision_loss,
    reason = "vocabularies have some ten thousand pieces"
)]
fn weight(rank: usize, words: usize) -> f32 {
    /// The frequency of a piece that counts for a half.
    const SMOOTHING: f32 = 1e-4;
    let frequency = 1.0 / ((rank + 2) as f32 * (words as f32).ln());
    SMOOTHING / (SMOOTHING + frequency)
}

fn read(path: &Path) -> Result<Vec<u8>, DistillError> {
    fs::read(path).map_err(|source| DistillError::Io {
        path: path.to_owned(),
        source,
    })
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), DistillError> {
    write_whole(path, bytes).map_err(|source| DistillError::Io {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{router::encoder::wordpiece::WordPiece, train::tune::tiny};

    fn distilled(dimensions: usize) -> (tempfile::TempDir, Result<Report, DistillError>) {
        let folder = tempfile::tempdir().unwrap();
        let job = Job {
            model: folder.path().join("base"),
            out: folder.path().join("out"),
            dimensions,
        };
        tiny::write(&job.model);
        let report = distill(&job, &mut |_, _| {});
        (folder, report)
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_told_before_anything_is_computed() {
        let folder = tempfile::tempdir().unwrap();
        let job = Job {
            model: folder.path().join("base"),
            out: folder.path().join("plain/out"),
            dimensions: 8,
        };
        tiny::write(&job.model);
        fs::write(folder.path().join("plain"), "").unwrap();
        let mut computed = 0;
        let refused = distill(&job, &mut |done, _| computed = done).unwrap_err();
        assert!(matches!(refused, DistillError::Io { path, .. } if path == job.out));
        assert_eq!(computed, 0);
    }

    #[test]
    fn a_word_alone_is_as_near_to_the_others_as_the_transformer_has_it() {
        let (folder, report) = distilled(tiny::HIDDEN);
        let report = report.unwrap();
        assert_eq!(report.pieces, tiny::WORDS.len() + 4);
        assert!((report.variance_kept - 1.0).abs() < 1e-6);
        let base = Base::read(&folder.path().join("base")).unwrap();
        let mut vectors = vectors(&base, &mut |_, _| {}).unwrap();
        // Without the mean of the words, which is taken off; all dimensions are kept, so that angles are, too.
        let words = words(&base, report.pieces);
        assert_eq!(words.len(), tiny::WORDS.len());
        for at in 0..tiny::HIDDEN {
            let mean = words
                .iter()
                .map(|id| vectors[id * tiny::HIDDEN + at])
                .sum::<f32>()
                / 16.0;
            words
                .iter()
                .for_each(|id| vectors[id * tiny::HIDDEN + at] -= mean);
        }
        let cosine = |a: &[f32], b: &[f32]| {
            let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
            dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
        };
        let table = Table::open(&folder.path().join("out/table.safetensors")).unwrap();
        let tokenizer = WordPiece::read(&folder.path().join("out/tokenizer.json")).unwrap();
        let embed = |word: &str| {
            let (mut ids, mut out) = (Vec::new(), vec![0.0; tiny::HIDDEN]);
            tokenizer.encode(word, &mut ids);
            table.embed(&ids, &mut out);
            (ids[0] as usize, out)
        };
        let (bread, ours) = embed("Bread");
        for word in ["rust", "soup", "the"] {
            let (other, others) = embed(word);
            let row = |id: usize| &vectors[id * tiny::HIDDEN..][..tiny::HIDDEN];
            let expected = cosine(row(bread), row(other));
            let found = cosine(&ours, &others);
            assert!(
                (found - expected).abs() < 0.03,
                "{word}: {found} {expected}"
            );
        }
        let (_, marks) = embed("[CLS]");
        assert!(marks.iter().all(|x| *x == 0.0));
    }

    #[test]
    fn fewer_dimensions_keep_the_most_of_the_variance() {
        let kept = [1, 4, 12].map(|dimensions| distilled(dimensions).1.unwrap().variance_kept);
        assert!(
            kept.is_sorted() && kept[0] > 1.0 / 16.0 && kept[2] < 1.0,
            "{kept:?}"
        );
    }

    #[test]
    fn the_same_transformer_gives_the_same_bytes() {
        let [one, other] = [(); 2].map(|()| {
            let (folder, report) = distilled(8);
            report.unwrap();
            fs::read(folder.path().join("out/table.safetensors")).unwrap()
        });
        assert!(one == other);
    }

    #[test]
    fn rare_pieces_count_for_more() {
        let weights = [0, 10, 1000, 29_000].map(|rank| weight(rank, 30_000));
        assert!(
            weights.is_sorted() && weights[0] < 0.01 && weights[3] > 0.9,
            "{weights:?}"
        );
    }

    #[test]
    fn more_dimensions_than_there_are_is_refused() {
        for dimensions in [0, tiny::HIDDEN + 1] {
            let error = distilled(dimensions).1.unwrap_err().to_string();
            assert!(error.contains("1 to 16"), "{error}");
        }
    }
}
