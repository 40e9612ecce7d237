//! Text → vector without a transformer: the mean of its word pieces' vectors in a table.

use std::path::Path;

use super::encoder::{
    table::{Table, TableError},
    wordpiece::{WordPiece, WordPieceError},
};

/// Word pieces that are read of a text: more than a query keeps, and a bound on the work.
const PIECES_MAX: usize = 1024;

/// The file of the table in a folder that `coterie encoder distill` wrote.
pub const TABLE_FILE: &str = "table.safetensors";

/// The file of the word pieces beside it.
pub const PIECES_FILE: &str = "tokenizer.json";

/// A table and what cuts a text into its pieces.
pub struct StaticEncoder {
    pieces: WordPiece,
    table: Table,
}

/// Why there is no static encoder.
#[derive(Debug, thiserror::Error)]
pub enum StaticEncoderError {
    /// The table cannot be used.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The word pieces cannot be used.
    #[error(transparent)]
    Pieces(#[from] WordPieceError),
    /// The two do not belong together.
    #[error(
        "{PIECES_FILE} has {pieces} word pieces, but {TABLE_FILE} beside it has {rows}; make both again with `coterie encoder distill`"
    )]
    Mismatch {
        /// Of the vocabulary.
        pieces: usize,
        /// Of the table.
        rows: usize,
    },
}

impl StaticEncoder {
    /// Opens the table and the word pieces in `folder`.
    ///
    /// # Errors
    /// The file that is missing, damaged, or does not fit the other.
    pub fn open(folder: &Path) -> Result<Self, StaticEncoderError> {
        let table = Table::open(&folder.join(TABLE_FILE))?;
        let pieces = WordPiece::read(&folder.join(PIECES_FILE))?;
        if pieces.pieces() != table.pieces() {
            return Err(StaticEncoderError::Mismatch {
                pieces: pieces.pieces(),
                rows: table.pieces(),
            });
        }
        Ok(Self { pieces, table })
    }

    /// A text's vector, of length 1.
    pub fn vector(&self, text: &str) -> Vec<f32> {
        let mut ids = Vec::with_capacity(text.len() / 4 + 1);
        self.pieces.encode(text, &mut ids);
        ids.truncate(PIECES_MAX);
        let mut vector = vec![0.0; self.table.dimensions()];
        self.table.embed(&ids, &mut vector);
        vector
    }

    /// How long its vectors are.
    pub fn dimensions(&self) -> usize {
        self.table.dimensions()
    }

    /// A digest of everything that decides what its vectors are.
    pub fn fingerprint(&self) -> &str {
        self.table.fingerprint()
    }
}
