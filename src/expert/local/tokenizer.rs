//! Text ↔ tokens: byte-level BPE, built from the vocabulary and the merges in a GGUF file.
//!
//! The file names the way in which text is split before merging (`tokenizer.ggml.pre`); the splits here are those of
//! the models' own tokenizers. Source of byte-level BPE: GPT-2 (Radford et al., 2019).

use std::collections::{HashMap, HashSet};

use tokenizers::{
    AddedToken, ModelWrapper, PreTokenizerWrapper, SplitDelimiterBehavior, Tokenizer as Bpe,
    models::bpe::{BPE, Vocab},
    normalizers::NFC,
    pre_tokenizers::{
        byte_level::ByteLevel,
        digits::Digits,
        sequence::Sequence,
        split::{Split, SplitPattern},
    },
};

use super::{error::LoadFault, gguf::Gguf};

/// Kinds of token in `tokenizer.ggml.token_type`.
const NORMAL: usize = 1;
const CONTROL: usize = 3;
const USER_DEFINED: usize = 4;

/// Tokens that end an answer wherever a vocabulary has them, beside those that the metadata name.
const END_TEXTS: [&str; 4] = [
    "<|im_end|>",
    "<|endoftext|>",
    "<|eot_id|>",
    "<|end_of_text|>",
];

/// Text ↔ tokens for one model.
pub(super) struct Tokenizer {
    bpe: Bpe,
    /// What each token reads as; nothing for control tokens.
    bytes: Vec<Box<[u8]>>,
    ends: HashSet<u32>,
}

/// How text is cut into the pieces inside which merging happens.
#[derive(Clone, Copy)]
enum Splitting {
    /// GPT-2's pattern.
    Gpt2,
    /// Each digit alone, then GPT-2's pattern.
    SmolLm,
    Qwen2,
    Llama3,
}

/// The text could not be read.
#[derive(Debug, thiserror::Error)]
#[error("the text cannot be cut into tokens: {0}")]
pub(super) struct NotTokens(String);

impl Tokenizer {
    /// Builds the tokenizer that a file describes.
    pub(super) fn load(gguf: &Gguf) -> Result<Self, LoadFault> {
        let splitting = Splitting::of(gguf)?;
        let texts = gguf.texts("tokenizer.ggml.tokens")?;
        let kinds = gguf.counts("tokenizer.ggml.token_type")?;
        let mut bpe = Bpe::new(merges(gguf, &texts, splitting)?);
        if let Splitting::Qwen2 = splitting {
            bpe.with_normalizer(Some(NFC)).map_err(unbuildable)?;
        }
        bpe.with_pre_tokenizer(Some(splitting.pre_tokenizer()?));
        let added = texts.iter().zip(&kinds).filter_map(|(text, &kind)| {
            let is_added = matches!(kind, CONTROL | USER_DEFINED);
            is_added.then(|| AddedToken::from(*text, true))
        });
        bpe.add_special_tokens(added).map_err(unbuildable)?;
        Ok(Self {
            ends: end_tokens(gguf, &bpe),
            bytes: token_bytes(&texts, &kinds),
            bpe,
        })
    }

    /// The tokens of a rendered prompt; control tokens written out in it are read as such.
    pub(super) fn encode(&self, text: &str) -> Result<Vec<u32>, NotTokens> {
        let encoding = self
            .bpe
            .encode_fast(text, false)
            .map_err(|error| NotTokens(error.to_string()))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// What a token adds to the text: any number of bytes, not always whole characters.
    pub(super) fn bytes(&self, token: u32) -> &[u8] {
        self.bytes.get(token as usize).map_or(&[], |bytes| bytes)
    }

    /// A token that ends an answer, where the model has one.
    pub(super) fn end(&self) -> Option<u32> {
        self.ends.iter().min().copied()
    }

    /// Whether a token ends the answer.
    pub(super) fn ends_answer(&self, token: u32) -> bool {
        self.ends.contains(&token)
    }
}

impl Splitting {
    /// The names under which GGUF files ask for a way of splitting.
    const NAMES: [(&'static str, Self); 7] = [
        ("smollm", Self::SmolLm),
        ("starcoder", Self::SmolLm),
        ("qwen2", Self::Qwen2),
        ("deepseek-r1-qwen", Self::Qwen2),
        ("llama-bpe", Self::Llama3),
        ("llama3", Self::Llama3),
        ("gpt-2", Self::Gpt2),
    ];

    const QWEN2_PATTERN: &'static str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
    const LLAMA3_PATTERN: &'static str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

    /// A wrong split gives a worse model without any error, so an unknown name is refused.
    fn of(gguf: &Gguf) -> Result<Self, LoadFault> {
        const MODEL: &str = "tokenizer.ggml.model";
        const PRE: &str = "tokenizer.ggml.pre";
        let unsupported = |key, kind: &str, supported: String| LoadFault::Tokenizer {
            key,
            kind: kind.into(),
            supported,
        };
        let model = gguf.text(MODEL)?;
        if model != "gpt2" {
            return Err(unsupported(MODEL, model, "`gpt2` (byte-level BPE)".into()));
        }
        let pre = gguf.text(PRE)?;
        let known = Self::NAMES.iter().find(|(name, _)| *name == pre);
        known.map(|(_, splitting)| *splitting).ok_or_else(|| {
            let names = Self::NAMES.map(|(name, _)| name);
            unsupported(PRE, pre, names.join(", "))
        })
    }

    fn pre_tokenizer(self) -> Result<PreTokenizerWrapper, LoadFault> {
        let to_bytes = |splits| ByteLevel::new(false, true, splits).into();
        let by_pattern = |pattern: &str| {
            let pattern = SplitPattern::Regex(pattern.into());
            Split::new(pattern, SplitDelimiterBehavior::Isolated, false).map_err(unbuildable)
        };
        let steps: Vec<PreTokenizerWrapper> = match self {
            Self::Gpt2 => vec![to_bytes(true)],
            Self::SmolLm => vec![Digits::new(true).into(), to_bytes(true)],
            Self::Qwen2 => vec![by_pattern(Self::QWEN2_PATTERN)?.into(), to_bytes(false)],
            Self::Llama3 => vec![by_pattern(Self::LLAMA3_PATTERN)?.into(), to_bytes(false)],
        };
        Ok(Sequence::new(steps).into())
    }
}

fn merges(gguf: &Gguf, texts: &[&str], splitting: Splitting) -> Result<ModelWrapper, LoadFault> {
    const MERGES: &str = "tokenizer.ggml.merges";
    let vocabulary: Vocab = (0..)
        .zip(texts)
        .map(|(id, text)| ((*text).into(), id))
        .collect();
    let merges = gguf
        .texts(MERGES)?
        .into_iter()
        .map(|pair| {
            let (left, right) = pair.split_once(' ')?;
            Some((left.into(), right.into()))
        })
        .collect::<Option<Vec<(String, String)>>>()
        .ok_or_else(|| LoadFault::Metadata { key: MERGES.into() })?;
    let bpe = BPE::builder()
        .vocab_and_merges(vocabulary, merges)
        .ignore_merges(matches!(splitting, Splitting::Llama3))
        .build()
        .map_err(unbuildable)?;
    Ok(bpe.into())
}

fn end_tokens(gguf: &Gguf, bpe: &Bpe) -> HashSet<u32> {
    let named = ["tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"]
        .into_iter()
        .filter_map(|key| u32::try_from(gguf.count(key).ok()?).ok());
    let usual = END_TEXTS
        .into_iter()
        .filter_map(|text| bpe.token_to_id(text));
    named.chain(usual).collect()
}

fn token_bytes(texts: &[&str], kinds: &[usize]) -> Vec<Box<[u8]>> {
    let bytes = byte_alphabet();
    texts
        .iter()
        .zip(kinds)
        .map(|(text, &kind)| match kind {
            NORMAL => text
                .chars()
                .filter_map(|c| bytes.get(&c).copied())
                .collect(),
            USER_DEFINED => text.as_bytes().into(),
            _ => Box::default(),
        })
        .collect()
}

/// The characters that byte-level BPE writes bytes as: printable Latin-1 stands for itself, the other bytes in order
/// for the characters from U+0100 on.
fn byte_alphabet() -> HashMap<char, u8> {
    let stands_for_itself = |byte: &u8| matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
    let plain = (0..=u8::MAX)
        .filter(stands_for_itself)
        .map(|byte| (char::from(byte), byte));
    let shifted = (0..=u8::MAX).filter(|byte| !stands_for_itself(byte));
    plain.chain(('\u{100}'..).zip(shifted)).collect()
}

fn unbuildable(error: tokenizers::Error) -> LoadFault {
    LoadFault::Variant {
        detail: format!("its tokenizer cannot be built ({error})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_one_character() {
        let alphabet = byte_alphabet();
        assert_eq!(alphabet.len(), 256);
        assert_eq!(alphabet.values().collect::<HashSet<_>>().len(), 256);
        assert_eq!(alphabet[&'Ġ'], b' ');
        assert_eq!(alphabet[&'Ċ'], b'\n');
        assert_eq!(alphabet[&'A'], b'A');
    }
}
