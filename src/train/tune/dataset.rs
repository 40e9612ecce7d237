//! The labelled questions as the model reads them.

use std::collections::BTreeSet;

use sha2::{Digest as _, Sha256};

use super::TuneError;
use crate::{
    ids::CategoryId,
    train::{base::Base, labels::Labelled, stem},
};

/// Word pieces of a text that are learnt from: nearly every question has fewer, and the rare long one would cost as
/// much as all the others of its batch.
const TRAINED_PIECES_MAX: usize = 160;

/// Word pieces of a text that are scored: what the encoder reads at run time.
const SCORED_PIECES_MAX: usize = 256;

/// The questions, tokenised.
pub(super) struct Dataset {
    /// In the order of the classes: sorted by name.
    pub(super) categories: Vec<CategoryId>,
    pub(super) rows: Vec<Row>,
    /// A digest of all texts and categories in their order.
    pub(super) sha256: String,
}

/// One question.
pub(super) struct Row {
    /// What tells its text from others: the beginning of its SHA-256.
    pub(super) key: Key,
    /// The same of what it asks, whatever its options.
    pub(super) question: Key,
    pub(super) class: u32,
    /// For scoring.
    pub(super) pieces: Vec<u32>,
    /// For training; mostly the same.
    pub(super) trained_pieces: Vec<u32>,
}

/// The first bytes of a SHA-256.
pub(super) type Key = [u8; 16];

impl Dataset {
    /// # Errors
    /// There is but one category, or the tokenizer failed.
    pub(super) fn new(base: &Base, labelled: &[Labelled]) -> Result<Self, TuneError> {
        let categories: BTreeSet<&CategoryId> = labelled.iter().map(|row| &row.category).collect();
        let categories: Vec<CategoryId> = categories.into_iter().cloned().collect();
        if let [category] = &categories[..] {
            return Err(TuneError::OneCategory {
                category: category.clone(),
            });
        }
        let positions = base.config.max_position_embeddings;
        let read = |pieces_max: usize| base.tokenizer_cut_at(pieces_max.min(positions));
        let (scored, trained) = (read(SCORED_PIECES_MAX)?, read(TRAINED_PIECES_MAX)?);
        let mut digest = Sha256::new();
        let mut rows = Vec::with_capacity(labelled.len());
        for (number, row) in labelled.iter().enumerate() {
            let (text, category) = (row.query.likelier_reading(), &row.category);
            for part in [text, category.as_str()] {
                digest.update(part.len().to_le_bytes());
                digest.update(part);
            }
            let tokenise =
                |tokenizer: &tokenizers::Tokenizer| match tokenizer.encode_fast(text, true) {
                    Ok(encoding) => Ok(encoding.get_ids().to_vec()),
                    Err(error) => Err(TuneError::Tokenizer {
                        row: number,
                        detail: error.to_string(),
                    }),
                };
            rows.push(Row {
                key: key(text),
                question: key(&stem::stem(text)),
                class: class(&categories, category),
                pieces: tokenise(&scored)?,
                trained_pieces: tokenise(&trained)?,
            });
        }
        Ok(Self {
            categories,
            rows,
            sha256: hex::encode(digest.finalize()),
        })
    }

    /// The share of `rows` whose largest logit is that of their class; none without rows.
    #[expect(
        clippy::cast_precision_loss,
        reason = "some thousand rows, far below 2⁵²"
    )]
    pub(super) fn accuracy(&self, rows: &[usize], logits: &[f32]) -> Option<f64> {
        let right = rows.iter().zip(logits.chunks(self.categories.len()));
        let right = right.filter(|(row, logits)| {
            let largest = (0..logits.len()).max_by(|a, b| logits[*a].total_cmp(&logits[*b]));
            largest == Some(self.rows[**row].class as usize)
        });
        (!rows.is_empty()).then(|| right.count() as f64 / rows.len() as f64)
    }
}

fn key(text: &str) -> Key {
    let digest = Sha256::digest(text);
    let mut key = Key::default();
    key.copy_from_slice(&digest[..size_of::<Key>()]);
    key
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "there are as many categories as rows at most"
)]
fn class(categories: &[CategoryId], category: &CategoryId) -> u32 {
    categories.partition_point(|other| other < category) as u32
}
