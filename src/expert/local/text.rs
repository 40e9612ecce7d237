//! Tokens' bytes → text that may be shown: whole characters only, and nothing of a stop sequence.

/// Turns the bytes of one answer into text, piece by piece; never shows what may yet turn out to belong to a stop
/// sequence, or half a character.
#[derive(Default)]
pub(super) struct AnswerText {
    /// The beginning of a character whose other bytes are to come.
    partial: Vec<u8>,
    /// Text that may be the beginning of a stop sequence.
    held: String,
    stops: Vec<String>,
}

/// What a token did to an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Adds this text, which may be empty.
    Goes(String),
    /// Adds this text and is over: a stop sequence was met.
    Stops(String),
}

impl AnswerText {
    /// An answer that ends before the first of `stops` to be complete.
    pub(super) fn new(stops: &[String]) -> Self {
        Self {
            stops: stops.to_vec(),
            ..Self::default()
        }
    }

    /// Takes a token's bytes in.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Step {
        self.partial.extend_from_slice(bytes);
        self.held
            .push_str(&take_whole_characters(&mut self.partial));
        if let Some(stop) = first_complete(&self.held, &self.stops) {
            self.held.truncate(stop);
            return Step::Stops(std::mem::take(&mut self.held));
        }
        let rest = self.held.split_off(shown_len(&self.held, &self.stops));
        Step::Goes(std::mem::replace(&mut self.held, rest))
    }

    /// The text that was held back for a stop sequence that did not come. Half a character is dropped.
    pub(super) fn finish(self) -> String {
        self.held
    }
}

/// Where the stop sequence begins that is complete first.
fn first_complete(text: &str, stops: &[String]) -> Option<usize> {
    let found = stops.iter().filter_map(|stop| {
        let start = text.find(stop.as_str())?;
        Some((start + stop.len(), start))
    });
    found.min().map(|(_end, start)| start)
}

/// How much of `text` no stop sequence can claim any more.
fn shown_len(text: &str, stops: &[String]) -> usize {
    let may_begin_stop = |at: &usize| stops.iter().any(|stop| stop.starts_with(&text[*at..]));
    let longest_stop = stops.iter().map(String::len).max().unwrap_or(0);
    let first = text.len().saturating_sub(longest_stop);
    text.char_indices()
        .map(|(at, _)| at)
        .filter(|at| *at >= first)
        .find(may_begin_stop)
        .unwrap_or(text.len())
}

/// Takes the whole characters off the front; bytes that can never become a character are replaced by U+FFFD.
fn take_whole_characters(bytes: &mut Vec<u8>) -> String {
    let mut text = String::new();
    let mut taken = 0;
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        taken += chunk.valid().len();
        let invalid = chunk.invalid();
        let is_cut_off = taken + invalid.len() == bytes.len() && may_go_on(invalid);
        if !invalid.is_empty() && !is_cut_off {
            text.push(char::REPLACEMENT_CHARACTER);
            taken += invalid.len();
        }
    }
    bytes.drain(..taken);
    text
}

/// Whether `bytes` are a character whose last bytes are missing.
fn may_go_on(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stops(stops: &[&str]) -> Vec<String> {
        stops.iter().map(|stop| (*stop).to_owned()).collect()
    }

    /// The pieces shown, and whether a stop sequence was met.
    fn show<'a>(
        stops: &[String],
        pieces: impl IntoIterator<Item = &'a [u8]>,
    ) -> (Vec<String>, bool) {
        let mut text = AnswerText::new(stops);
        let mut shown = Vec::new();
        for piece in pieces {
            match text.push(piece) {
                Step::Goes(more) => shown.push(more),
                Step::Stops(more) => {
                    shown.push(more);
                    return (shown, true);
                }
            }
        }
        shown.push(text.finish());
        (shown, false)
    }

    #[test]
    fn a_character_waits_for_its_last_byte() {
        let bytes = "é🦀".as_bytes();
        let (shown, _) = show(&[], bytes.chunks(1));
        assert_eq!(shown, ["", "é", "", "", "", "🦀", ""]);
    }

    #[test]
    fn half_a_character_at_the_end_is_dropped() {
        let (shown, _) = show(&[], [&b"a"[..], &"🦀".as_bytes()[..3]]);
        assert_eq!(shown.concat(), "a");
    }

    #[test]
    fn bytes_that_are_no_character_are_replaced() {
        let (shown, _) = show(&[], [&[0xff][..], b"a", &[0xc3], b"b"]);
        assert_eq!(shown.concat(), "\u{fffd}a\u{fffd}b");
    }

    #[test]
    fn a_stop_that_spans_tokens_is_never_shown() {
        let stops = stops(&["</end>"]);
        let (shown, stopped) = show(&stops, [&b"a <"[..], b"/en", b"d> b"]);
        assert_eq!(
            (shown, stopped),
            (vec!["a ".into(), String::new(), String::new()], true)
        );
    }

    #[test]
    fn what_only_looked_like_a_stop_is_shown() {
        let stops = stops(&["</end>"]);
        let (shown, stopped) = show(&stops, [&b"a </"[..], b"b></en"]);
        assert_eq!(
            (shown, stopped),
            (vec!["a ".into(), "</b>".into(), "</en".into()], false)
        );
    }

    #[test]
    fn of_overlapping_stops_the_first_to_be_complete_wins() {
        let (shown, stopped) = show(&stops(&["abcd", "bc"]), [&b"xabcd"[..]]);
        assert_eq!((shown.concat().as_str(), stopped), ("xa", true));
    }

    proptest! {
        #[test]
        fn any_cut_of_the_bytes_shows_the_same_text(
            text in "[ab🦀é]{0,24}",
            stops in prop::collection::vec("[ab🦀]{1,3}", 0..3),
            cuts in prop::collection::vec(1_usize..5, 0..40),
        ) {
            let bytes = text.as_bytes();
            let mut pieces = Vec::new();
            let mut at = 0;
            for cut in cuts {
                let end = (at + cut).min(bytes.len());
                pieces.push(&bytes[at..end]);
                at = end;
            }
            pieces.push(&bytes[at..]);
            let (shown, stopped) = show(&stops, pieces);
            let (whole, whole_stopped) = show(&stops, [bytes]);
            prop_assert_eq!(shown.concat(), whole.concat());
            prop_assert_eq!(stopped, whole_stopped);
            prop_assert!(text.starts_with(&whole.concat()));
            prop_assert!(whole_stopped || whole.concat() == text);
            prop_assert!(stops.iter().all(|stop| !whole.concat().contains(stop.as_str())));
        }
    }
}
