//! Text → word pieces, as `tokenizers` cuts them for BERT's uncased vocabularies.
//!
//! Ten times as fast: a question is cut in a few microseconds, so that the tokenizer is no longer what the cheap tier's
//! time goes into.
//!
//! BERT's basic tokenizer (lower case, accents off, punctuation and Chinese characters alone), then the longest piece
//! that fits, again and again (Wu et al. 2016). ASCII goes through a table of 128 rules; what becomes of any other
//! character is asked of `tokenizers` once and remembered ([`rules`]).

mod rules;
mod vocabulary;

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use serde_json::Value;

use self::{
    rules::{Rule, Rules},
    vocabulary::{Start, Vocabulary},
};

/// A tokenizer of this kind.
pub struct WordPiece {
    vocabulary: Vocabulary,
    rules: Rules,
    unknown: u32,
    /// Of longer words nothing is known, as in `tokenizers`.
    word_chars_max: usize,
    /// Texts that stand for one piece wherever they occur, such as `[SEP]`.
    added: Vec<(String, u32)>,
    pieces: usize,
}

/// Why a tokenizer's file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WordPieceError {
    /// It cannot be read.
    #[error("the tokenizer {} cannot be read", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It is no tokenizer of BERT's uncased kind.
    #[error("the tokenizer {} is not one of BERT's uncased vocabularies: {detail}", path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// What is missing or different.
        detail: String,
    },
}

impl WordPiece {
    /// Reads a `tokenizer.json`; its padding, truncation and frame of special pieces are passed over.
    ///
    /// # Errors
    /// The file cannot be read, or its tokenizer cuts texts in another way.
    pub fn read(path: &Path) -> Result<Self, WordPieceError> {
        let json = fs::read(path).map_err(|source| WordPieceError::Io {
            path: path.to_owned(),
            source,
        })?;
        Self::from_json(&json).map_err(|detail| WordPieceError::Unsupported {
            path: path.to_owned(),
            detail,
        })
    }

    /// Reads the content of a `tokenizer.json`.
    ///
    /// # Errors
    /// What is missing or different.
    pub fn from_json(json: &[u8]) -> Result<Self, String> {
        let file: File = serde_json::from_slice(json).map_err(|error| error.to_string())?;
        file.check()?;
        let model = file.model;
        let unknown = model.vocab.get(&model.unk_token).copied();
        let added: Vec<(String, u32)> = file
            .added_tokens
            .into_iter()
            .map(|added| (added.content, added.id))
            .collect();
        let ids = model.vocab.values().chain(added.iter().map(|(_, id)| id));
        Ok(Self {
            unknown: unknown.ok_or("the piece for what is unknown is not in the vocabulary")?,
            word_chars_max: model.max_input_chars_per_word,
            pieces: ids.max().map_or(0, |id| *id as usize + 1),
            vocabulary: Vocabulary::new(&model.vocab, &model.continuing_subword_prefix),
            rules: Rules::new(),
            added,
        })
    }

    /// One more than the largest id.
    pub fn pieces(&self) -> usize {
        self.pieces
    }

    /// The pieces of `text` in order, without the frame of special pieces, behind what `ids` holds already.
    pub fn encode(&self, text: &str, ids: &mut Vec<u32>) {
        let mut word = Word {
            pieces: self,
            text: Vec::with_capacity(WORD_BYTES),
            ids,
        };
        let bytes = text.as_bytes();
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            if let Some((length, id)) = self.added_at(&text[at..], byte) {
                word.end();
                word.ids.push(id);
                at += length;
            } else if byte.is_ascii() {
                word.apply(self.rules.ascii(byte));
                at += 1;
            } else {
                let Some(char) = text[at..].chars().next() else {
                    break;
                };
                for rule in self.rules.other(char) {
                    word.apply(*rule);
                }
                at += char.len_utf8();
            }
        }
        word.end();
    }

    /// The added text that `rest` begins with; the longest, where one begins with another.
    fn added_at(&self, rest: &str, first: u8) -> Option<(usize, u32)> {
        // All that are known begin so: `check` sees to it.
        if first != ADDED_START {
            return None;
        }
        let here = self
            .added
            .iter()
            .filter(|(added, _)| rest.starts_with(added.as_str()));
        here.map(|(added, id)| (added.len(), *id)).max()
    }
}

/// Room for nearly every word.
const WORD_BYTES: usize = 64;

/// What an added text begins with.
const ADDED_START: u8 = b'[';

/// The word under way, normalised.
struct Word<'a> {
    pieces: &'a WordPiece,
    text: Vec<u8>,
    ids: &'a mut Vec<u32>,
}

impl Word<'_> {
    #[inline]
    fn apply(&mut self, rule: Rule) {
        match rule {
            Rule::Add(byte) => self.text.push(byte),
            Rule::AddChar(char) => {
                let mut bytes = [0; 4];
                let bytes = char.encode_utf8(&mut bytes).as_bytes();
                self.text.extend_from_slice(bytes);
            }
            Rule::Alone(char) => {
                self.end();
                self.apply(Rule::AddChar(char));
                self.end();
            }
            Rule::End => self.end(),
            Rule::Drop => {}
        }
    }

    /// Cuts the word into pieces and begins the next one.
    fn end(&mut self) {
        if self.text.is_empty() {
            return;
        }
        if !self.cut() {
            self.ids.push(self.pieces.unknown);
        }
        self.text.clear();
    }

    /// Appends the word's pieces; nothing if a part of it is none.
    fn cut(&mut self) -> bool {
        let word = &self.text[..];
        if word.len() > self.pieces.word_chars_max && chars(word) > self.pieces.word_chars_max {
            return false;
        }
        let before = self.ids.len();
        let (mut at, mut start) = (0, Start::Word);
        while at < word.len() {
            let Some((length, id)) = self.pieces.vocabulary.longest(&word[at..], start) else {
                self.ids.truncate(before);
                return false;
            };
            self.ids.push(id);
            at += length;
            start = Start::Inside;
        }
        true
    }
}

/// Characters of UTF-8.
fn chars(text: &[u8]) -> usize {
    // Bytes that go on with a character are of the form 10xxxxxx.
    text.iter().filter(|byte| **byte & 0xc0 != 0x80).count()
}

/// What is needed of a `tokenizer.json`.
#[derive(Deserialize)]
struct File {
    #[serde(default)]
    added_tokens: Vec<AddedToken>,
    normalizer: Option<Normalizer>,
    pre_tokenizer: Option<Kind>,
    model: Model,
}

#[derive(Deserialize)]
struct AddedToken {
    id: u32,
    content: String,
    /// How it is looked for in a text; only the plain way is known here.
    #[serde(flatten)]
    flags: HashMap<String, Value>,
}

#[derive(Deserialize)]
struct Normalizer {
    #[serde(rename = "type")]
    kind: String,
    clean_text: Option<bool>,
    handle_chinese_chars: Option<bool>,
    strip_accents: Option<bool>,
    lowercase: Option<bool>,
}

#[derive(Deserialize)]
struct Kind {
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct Model {
    #[serde(rename = "type", default)]
    kind: String,
    unk_token: String,
    continuing_subword_prefix: String,
    max_input_chars_per_word: usize,
    vocab: HashMap<String, u32>,
}

impl File {
    fn check(&self) -> Result<(), String> {
        let normalises = self.normalizer.as_ref().is_some_and(|normalizer| {
            normalizer.kind == "BertNormalizer"
                && normalizer.clean_text == Some(true)
                && normalizer.handle_chinese_chars == Some(true)
                && normalizer.lowercase == Some(true)
                && normalizer.strip_accents != Some(false)
        });
        if !normalises {
            return Err("it does not normalise texts as BERT's uncased ones do".into());
        }
        if self.pre_tokenizer.as_ref().map(|kind| kind.kind.as_str()) != Some("BertPreTokenizer") {
            return Err("it does not cut texts into words as BERT does".into());
        }
        if self.model.kind != "WordPiece" {
            return Err("its pieces are not found by WordPiece".into());
        }
        let strange = self.added_tokens.iter().find(|added| {
            let is_set = |flag: &str| added.flags.get(flag) == Some(&Value::Bool(true));
            added.content.as_bytes().first() != Some(&ADDED_START)
                || ["single_word", "lstrip", "rstrip", "normalized"]
                    .into_iter()
                    .any(is_set)
        });
        match strange {
            Some(added) => Err(format!(
                "its added text `{}` is a special case",
                added.content
            )),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
