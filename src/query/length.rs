//! How much of a text is classified. Lengths are counted in estimated word pieces, the unit in which an encoder reads.

/// Pieces of a query: a sentence encoder reads 256 with its marks, and the estimate may be a little low.
const PIECES_MAX: usize = 240;

/// Pieces kept from the beginning of a longer text, where most people ask…
const HEAD_PIECES: usize = 160;

/// …and from its end, where the others do, below what they have pasted.
const TAIL_PIECES: usize = PIECES_MAX - HEAD_PIECES;

/// Letters of a piece: a longer word counts as several.
const PIECE_LETTERS: usize = 7;

/// Bytes of a piece and the space before it, at most, in a text that is [`tidy`].
const PIECE_BYTES: usize = PIECE_LETTERS + 1;

/// What stands in the place of a text's middle.
const ELLIPSIS: &str = "\n…\n";

/// `text` with its middle taken out if it is longer than [`PIECES_MAX`].
pub(super) fn cut(text: &str) -> String {
    if piece_starts(text).nth(PIECES_MAX).is_none() {
        return text.to_owned();
    }
    [beginning(text, HEAD_PIECES), ending(text)].join(ELLIPSIS)
}

/// The last [`TAIL_PIECES`] pieces of `text`, which has more. What lies before them is not looked at: it may be megabytes.
fn ending(text: &str) -> &str {
    let window = text.floor_char_boundary(text.len().saturating_sub(TAIL_PIECES * PIECE_BYTES));
    // The pieces of a word are counted from its beginning.
    let word = text[..window].rfind(|c: char| !c.is_ascii_alphanumeric());
    [word.unwrap_or(0), 0]
        .into_iter()
        .find_map(|from| {
            let starts: Vec<usize> = piece_starts(&text[from..]).collect();
            let first = starts.len().checked_sub(TAIL_PIECES)?;
            Some(&text[from + starts[first]..])
        })
        .unwrap_or(text)
}

/// The first `pieces_max` pieces of `text`.
pub(super) fn beginning(text: &str, pieces_max: usize) -> &str {
    match piece_starts(text).nth(pieces_max) {
        Some(end) => text[..end].trim_end(),
        None => text,
    }
}

/// `text` without control and formatting characters, each run of white space reduced to one space, or to one line
/// break if it had any.
pub(super) fn tidy(text: &str) -> String {
    let mut tidy = String::with_capacity(text.len());
    let mut gap = None;
    let mut rest = text;
    while !rest.is_empty() {
        let (run, after) = rest.split_at(tidy_already(rest));
        if !run.is_empty() {
            push(&mut tidy, &mut gap, run);
        }
        let mut chars = after.chars();
        match chars.next() {
            Some(c) if c.is_whitespace() => {
                let breaks = c == '\n' || gap == Some('\n');
                gap = Some(if breaks { '\n' } else { ' ' });
            }
            Some(c) if !c.is_control() && !is_format(c) => {
                push(&mut tidy, &mut gap, c.encode_utf8(&mut [0; 4]));
            }
            _ => {}
        }
        rest = chars.as_str();
    }
    tidy
}

/// Adds what is to be seen, behind the gap before it unless it is the first.
fn push(tidy: &mut String, gap: &mut Option<char>, seen: &str) {
    if let Some(gap) = gap.take().filter(|_| !tidy.is_empty()) {
        tidy.push(gap);
    }
    tidy.push_str(seen);
}

/// Bytes at the beginning of a text that are plain letters and signs with single spaces between them, as most texts are
/// throughout: there nothing is to be done.
fn tidy_already(text: &str) -> usize {
    let (mut end, mut gap) = (0, true);
    for (at, byte) in text.bytes().enumerate() {
        if byte.is_ascii_graphic() {
            end = at + 1;
            gap = false;
        } else if byte == b' ' && !gap {
            gap = true;
        } else {
            break;
        }
    }
    end
}

/// Characters that nobody sees: joiners, marks of direction, byte order marks, tags.
fn is_format(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Where the pieces of `text` begin, in bytes, as a word piece vocabulary of English would roughly have it: words are
/// cut every [`PIECE_LETTERS`] letters, and every other character, punctuation and letters of other scripts alike, is
/// a piece of its own.
fn piece_starts(text: &str) -> impl Iterator<Item = usize> {
    let mut letters = 0;
    text.char_indices().filter_map(move |(at, c)| {
        if c.is_ascii_alphanumeric() {
            letters += 1;
            return (letters % PIECE_LETTERS == 1).then_some(at);
        }
        letters = 0;
        (!c.is_whitespace()).then_some(at)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn white_space_is_reduced_and_what_nobody_sees_is_dropped() {
        let cases = [
            ("  a \t b  ", "a b"),
            ("a \n\n  b", "a\nb"),
            ("a\r\nb", "a\nb"),
            ("a\u{0}b\u{7}c\u{200b}d", "abcd"),
            ("\u{feff}\u{202e}x", "x"),
            ("a\u{3000}b", "a b"),
            (" \u{200b} ", ""),
            ("", ""),
            ("a b", "a b"),
            ("a  b", "a b"),
            (" a", "a"),
            ("a ", "a"),
            ("é  b", "é b"),
        ];
        for (text, expected) in cases {
            assert_eq!(tidy(text), expected, "{text:?}");
        }
    }

    #[test]
    fn pieces_are_words_parts_of_long_words_and_single_signs() {
        let cases = [
            ("", 0),
            ("a word", 2),
            ("it's", 3),
            ("extraordinarily", 3),
            ("f(x) = 1;", 7),
            ("なぜですか", 5),
        ];
        for (text, pieces) in cases {
            assert_eq!(piece_starts(text).count(), pieces, "{text:?}");
        }
    }

    #[test]
    fn a_long_text_keeps_its_beginning_and_its_end() {
        let text = format!(
            "Summarise this:{}. What is the point?",
            " blah".repeat(1000)
        );
        let short = cut(&text);
        assert!(short.starts_with("Summarise this: blah"));
        assert!(short.ends_with("blah. What is the point?"));
        assert!(short.contains(ELLIPSIS));
        assert_eq!(piece_starts(&short).count(), PIECES_MAX + 1);
    }

    #[test]
    fn a_text_that_fits_is_left_alone() {
        let text = "word ".repeat(PIECES_MAX);
        assert_eq!(cut(&text), text);
    }

    proptest! {
        #[test]
        fn what_is_kept_is_what_reading_all_of_it_would_keep(
            text in "[a-z ]{0,4000}|[a-z]{3000}|( |\n|é|漢|a){0,3000}|\\PC{0,2000}",
            spaces in 0..3000_usize,
        ) {
            for text in [tidy(&text), format!("{text}{}end", " ".repeat(spaces))] {
                let starts: Vec<usize> = piece_starts(&text).collect();
                let kept = if starts.len() > PIECES_MAX {
                    let head = text[..starts[HEAD_PIECES]].trim_end();
                    let tail = &text[starts[starts.len() - TAIL_PIECES]..];
                    [head, tail].join(ELLIPSIS)
                } else {
                    text.clone()
                };
                prop_assert_eq!(cut(&text), kept);
            }
        }

        #[test]
        fn runs_are_tidied_as_single_characters_would_be(
            text in "([ab \n]|\\PC|\\s|\u{200b}|\u{7}){0,60}",
        ) {
            let mut expected = String::new();
            let mut gap = None;
            for c in text.chars() {
                if c.is_whitespace() {
                    let breaks = c == '\n' || gap == Some('\n');
                    gap = Some(if breaks { '\n' } else { ' ' });
                } else if !c.is_control() && !is_format(c) {
                    expected.extend(gap.take().filter(|_| !expected.is_empty()));
                    expected.push(c);
                }
            }
            prop_assert_eq!(tidy(&text), expected);
        }

        #[test]
        fn any_text_is_cut_to_its_bound(text in "\\PC{0,2000}|[a-z]{0,4000}|(é|漢|🦀|\n){0,900}") {
            let short = cut(&tidy(&text));
            // The ellipsis is one more piece, and a word torn apart by it may count one more on either side.
            prop_assert!(piece_starts(&short).count() <= PIECES_MAX + 3);
            prop_assert!(short.len() <= (PIECES_MAX + 3) * (PIECE_LETTERS + 1));
        }
    }
}
