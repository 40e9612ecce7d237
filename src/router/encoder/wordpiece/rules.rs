//! What becomes of a character before words are cut into pieces.
//!
//! The normaliser and the pre-tokenizer of `tokenizers` are the rule; each character is put to them alone, once. That is
//! the same as putting whole texts to them but for one thing: two marks in a row that are not accents and stand in the
//! wrong order (in musical notation, say) would be swapped there.

use std::sync::OnceLock;

use tokenizers::{
    NormalizedString, Normalizer as _, OffsetReferential, OffsetType, PreTokenizedString,
    PreTokenizer as _, normalizers::BertNormalizer, pre_tokenizers::bert::BertPreTokenizer,
};

/// What to do with the word under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// It goes on with this ASCII character.
    Add(u8),
    /// It goes on with this character.
    AddChar(char),
    /// It has ended, and this character is a word by itself.
    Alone(char),
    /// It has ended.
    End,
    /// Nothing.
    Drop,
}

/// Characters of one block: they are asked for together.
const BLOCK: usize = 256;

/// The rules of all characters.
pub(super) struct Rules {
    ascii: [Rule; 128],
    blocks: Box<[OnceLock<Block>]>,
}

/// For each character of a block what is done, in order.
type Block = Vec<Box<[Rule]>>;

impl Rules {
    pub(super) fn new() -> Self {
        let mut ascii = [Rule::Drop; 128];
        for (code, rule) in (0_u8..).zip(&mut ascii) {
            // An ASCII character stays one, or goes.
            *rule = of(code.into()).first().copied().unwrap_or(Rule::Drop);
        }
        let blocks = char::MAX as usize / BLOCK + 1;
        Self {
            ascii,
            blocks: (0..blocks).map(|_| OnceLock::new()).collect(),
        }
    }

    /// `byte` is an ASCII character.
    #[inline]
    pub(super) fn ascii(&self, byte: u8) -> Rule {
        self.ascii[usize::from(byte & 0x7f)]
    }

    pub(super) fn other(&self, char: char) -> &[Rule] {
        let (block, at) = (char as usize / BLOCK, char as usize % BLOCK);
        let rules = self.blocks[block].get_or_init(|| {
            let codes = (block * BLOCK..(block + 1) * BLOCK).map(|code| u32::try_from(code).ok());
            codes
                .map(|code| code.and_then(char::from_u32).map_or(Box::default(), of))
                .collect()
        });
        &rules[at]
    }
}

/// The rules of one character.
fn of(char: char) -> Box<[Rule]> {
    let mut normalised = NormalizedString::from(char.to_string());
    // It is told to change the text and cannot fail at that.
    BertNormalizer::default().normalize(&mut normalised).ok();
    let rules = normalised.get().chars().map(|char| {
        if char.is_whitespace() {
            Rule::End
        } else if is_punctuation(char) {
            Rule::Alone(char)
        } else if char.is_ascii() {
            Rule::Add(char as u8)
        } else {
            Rule::AddChar(char)
        }
    });
    rules.collect()
}

/// Whether the character is cut off from letters on both sides.
fn is_punctuation(char: char) -> bool {
    let mut text = PreTokenizedString::from(format!("a{char}a"));
    BertPreTokenizer.pre_tokenize(&mut text).is_ok()
        && text
            .get_splits(OffsetReferential::Normalized, OffsetType::None)
            .len()
            == 3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_become_what_bert_makes_of_them() {
        let rules = Rules::new();
        assert_eq!(rules.ascii(b'Q'), Rule::Add(b'q'));
        assert_eq!(rules.ascii(b'?'), Rule::Alone('?'));
        assert_eq!(rules.ascii(b'\n'), Rule::End);
        assert_eq!(rules.ascii(7), Rule::Drop);
        assert_eq!(*rules.other('É'), [Rule::Add(b'e')]);
        assert_eq!(*rules.other('\u{301}'), []);
        assert_eq!(*rules.other('。'), [Rule::Alone('。')]);
        let alone = [Rule::End, Rule::AddChar('中'), Rule::End];
        assert_eq!(*rules.other('中'), alone);
        assert_eq!(*rules.other('\u{a0}'), [Rule::End]);
        assert_eq!(rules.other('한').len(), 3);
    }
}
