//! The same pieces as `tokenizers`, on the model store's vocabulary.

use std::sync::LazyLock;

use proptest::prelude::*;
use tokenizers::Tokenizer;

use super::*;
use crate::config::{self, Environment};

struct Both {
    ours: WordPiece,
    theirs: Tokenizer,
}

static BOTH: LazyLock<Both> = LazyLock::new(|| {
    let models = config::load_models(None, &Environment::from_process()).unwrap();
    let path = models.dir.join("all-MiniLM-L6-v2/tokenizer.json");
    let mut theirs = Tokenizer::from_file(&path).unwrap();
    theirs.with_padding(None);
    theirs.with_truncation(None).unwrap();
    Both {
        ours: WordPiece::read(&path).unwrap(),
        theirs,
    }
});

#[track_caller]
fn assert_same(text: &str) {
    let mut ours = Vec::new();
    BOTH.ours.encode(text, &mut ours);
    let theirs = BOTH.theirs.encode_fast(text, false).unwrap();
    assert_eq!(ours, theirs.get_ids(), "{text:?}");
}

#[test]
fn texts_in_many_scripts_are_cut_as_tokenizers_cuts_them() {
    let texts = [
        "",
        " \t\n",
        "How do I reverse a linked list in Rust?",
        "fn main() { println!(\"{:?}\", vec![1, 2, 3]); } // O(n²)",
        "Was heißt „Übermäßigkeit“ auf Französisch? Ça coûte 12,50 €…",
        "Ποιος έγραψε την Οδύσσεια; ΣΟΦΟΣ",
        "Сколько стоит билет до Санкт-Петербурга?",
        "ما هي عاصمة المغرب؟ كِتَابٌ",
        "מה שלומך? שָׁלוֹם",
        "भारत की राजधानी क्या है? हिन्दी",
        "東京の天気は？ カタカナ ひらがな",
        "今天天气怎么样？我想去北京。𠀀𠀁",
        "서울은 어디에 있나요? 한국어",
        "กรุงเทพมหานครอยู่ที่ไหน",
        "👩‍👩‍👧 emoji 🇫🇷 \u{200b}zero\u{feff}width",
        "İstanbul ǅ ﬁ ﷺ \u{fffd}\u{0}x",
        "[CLS] is [SEP] and [MASK]ed [unused1] [CLS",
        "e\u{301}e\u{323}\u{302} o\u{302}\u{323}",
        "a\u{2028}b\u{85}c\u{a0}d\u{3000}e",
        "don't \"quote\" -- e.g. 3.14 x_y $5 50% `code` ~a^b",
        "supercalifragilisticexpialidocious antidisestablishmentarianism",
    ];
    for text in texts {
        assert_same(text);
        assert_same(&text.to_uppercase());
        assert_same(&text.repeat(5));
    }
}

#[test]
fn words_that_are_too_long_are_unknown() {
    for length in [99, 100, 101, 300] {
        assert_same(&"a".repeat(length));
        assert_same(&"é".repeat(length));
        assert_same(&"ж".repeat(length));
    }
}

#[test]
fn every_character_is_cut_as_tokenizers_cuts_it() {
    // A text for every block: one with all characters would be normalised in quadratic time.
    for block in (0..=u32::from(char::MAX)).step_by(256) {
        // Of the planes after the third, which are empty, the first blocks are enough.
        if block > 0x3_2000 && !(0xe_0000..0xe_0200).contains(&block) {
            continue;
        }
        let chars = (block..block + 256).filter_map(char::from_u32);
        let text: String = chars
            .flat_map(|char| [char, ' ', 'a', char, 'b', ' '])
            .collect();
        assert_same(&text);
    }
}

proptest! {
    #[test]
    fn any_text_is_cut_as_tokenizers_cuts_it(text in "\\PC{0,80}") {
        assert_same(&text);
    }

    #[test]
    fn words_and_marks_are_cut_as_tokenizers_cuts_them(
        words in prop::collection::vec("[a-zA-Z]{1,12}|[0-9]{1,5}|[.,!?'#\\[\\]-]{1,3}|[à-ü]{1,4}|\\[SEP\\]| |\n", 0..40)
    ) {
        assert_same(&words.concat());
    }
}

#[test]
fn the_number_of_pieces_is_that_of_the_vocabulary() {
    assert_eq!(BOTH.ours.pieces(), BOTH.theirs.get_vocab_size(true));
}

#[test]
fn tokenizers_of_other_kinds_are_refused() {
    let right = serde_json::json!({
        "added_tokens": [],
        "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
            "strip_accents": null, "lowercase": true},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": {"[UNK]": 0}},
    });
    assert!(WordPiece::from_json(right.to_string().as_bytes()).is_ok());
    let changes = [
        (
            "/normalizer/lowercase",
            serde_json::json!(false),
            "normalise",
        ),
        ("/normalizer", serde_json::json!(null), "normalise"),
        (
            "/pre_tokenizer/type",
            serde_json::json!("Whitespace"),
            "words",
        ),
        ("/model/type", serde_json::json!("BPE"), "WordPiece"),
        ("/model/vocab", serde_json::json!({}), "unknown"),
        (
            "/added_tokens",
            serde_json::json!([{"id": 1, "content": "<s>", "single_word": false, "lstrip": false,
                "rstrip": false, "normalized": false}]),
            "<s>",
        ),
    ];
    for (place, value, complaint) in changes {
        let mut wrong = right.clone();
        *wrong.pointer_mut(place).unwrap() = value;
        let error = WordPiece::from_json(wrong.to_string().as_bytes())
            .err()
            .unwrap();
        assert!(error.contains(complaint), "{error}");
    }
    assert!(matches!(
        WordPiece::read(Path::new("absent")),
        Err(WordPieceError::Io { .. })
    ));
}
