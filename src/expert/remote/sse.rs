//! Server-sent events out of bytes, however the network cut them: the `text/event-stream` of the WHATWG HTML standard,
//! section "Interpreting an event stream". Pure and synchronous: bytes in, events out.

use std::mem;

use memchr::{memchr, memchr2};

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The `event` field; empty where there was none.
    pub name: String,
    /// The `data` fields, joined by newlines, as the bytes that came.
    pub data: Vec<u8>,
}

/// An event is longer than the decoder may keep; nothing after it can be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event is longer than {bytes_max} bytes")]
pub struct EventTooLong {
    /// The decoder's bound.
    pub bytes_max: usize,
}

/// Takes bytes in with [`feed`](Self::feed) and gives events out with [`next_event`](Self::next_event).
#[derive(Debug)]
pub struct Decoder {
    lines: Lines,
    pending: Pending,
    event_bytes_max: usize,
}

impl Decoder {
    /// A decoder at the beginning of a stream that keeps at most `event_bytes_max` bytes of one event.
    pub fn new(event_bytes_max: usize) -> Self {
        Self {
            lines: Lines::default(),
            pending: Pending::default(),
            event_bytes_max,
        }
    }

    /// Takes in what the network brought.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.lines.feed(bytes);
    }

    /// The next event of what has been fed; none until more is fed. What follows the last empty line of a stream is,
    /// by the standard, no event.
    ///
    /// # Errors
    /// The event in the making is too long.
    pub fn next_event(&mut self) -> Result<Option<Event>, EventTooLong> {
        while let Some(line) = self.lines.next_line() {
            self.pending.must_fit(line.len(), self.event_bytes_max)?;
            if let Some(event) = self.pending.read(line) {
                return Ok(Some(event));
            }
        }
        let begun_line_bytes = self.lines.unread();
        self.pending
            .must_fit(begun_line_bytes, self.event_bytes_max)?;
        Ok(None)
    }
}

/// Cuts bytes into lines that end in `\n`, `\r\n` or `\r`.
#[derive(Debug, Default)]
struct Lines {
    /// Lines already given out up to `start`, then bytes not given out yet.
    buffer: Vec<u8>,
    start: usize,
    /// Bytes after `start` that are known to hold no line end, so that a long line is searched once.
    searched: usize,
    /// The last line ended in `\r`: a `\n` that follows belongs to the same line end.
    after_cr: bool,
}

impl Lines {
    fn feed(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.start);
        self.start = 0;
        self.buffer.extend_from_slice(bytes);
    }

    fn unread(&self) -> usize {
        self.buffer.len() - self.start
    }

    fn next_line(&mut self) -> Option<&[u8]> {
        if self.after_cr
            && let Some(&byte) = self.buffer.get(self.start)
        {
            self.after_cr = false;
            self.start += usize::from(byte == b'\n');
        }
        let unread = &self.buffer[self.start..];
        let Some(offset) = memchr2(b'\n', b'\r', &unread[self.searched..]) else {
            self.searched = unread.len();
            return None;
        };
        let line = self.start..self.start + self.searched + offset;
        self.after_cr = self.buffer[line.end] == b'\r';
        self.start = line.end + 1;
        self.searched = 0;
        Some(&self.buffer[line])
    }
}

/// The event in the making.
#[derive(Debug, Default)]
struct Pending {
    name: String,
    /// Each `data` field with a newline behind it.
    data: Vec<u8>,
    past_first_line: bool,
}

impl Pending {
    fn must_fit(&self, line_bytes: usize, bytes_max: usize) -> Result<(), EventTooLong> {
        if self.data.len() + line_bytes > bytes_max {
            return Err(EventTooLong { bytes_max });
        }
        Ok(())
    }

    fn read(&mut self, mut line: &[u8]) -> Option<Event> {
        if !mem::replace(&mut self.past_first_line, true) {
            line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line);
        }
        if line.is_empty() {
            return self.dispatch();
        }
        let (field, value) = match memchr(b':', line) {
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None => (line, &[][..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"data" => {
                self.data.extend_from_slice(value);
                self.data.push(b'\n');
            }
            b"event" => self.name = String::from_utf8_lossy(value).into_owned(),
            // A comment (its field has no name), or `id` and `retry`: they serve to reconnect, and an answer that broke
            // off cannot be taken up again.
            _ => {}
        }
        None
    }

    fn dispatch(&mut self) -> Option<Event> {
        let name = mem::take(&mut self.name);
        self.data.pop()?; // an event without a `data` field is none
        let data = mem::take(&mut self.data);
        Some(Event { name, data })
    }
}

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*, sample::select};

    use super::*;

    const ROOMY: usize = 1 << 20;

    fn decode<'b>(
        pieces: impl IntoIterator<Item = &'b [u8]>,
        event_bytes_max: usize,
    ) -> (Vec<Event>, Option<EventTooLong>) {
        let mut decoder = Decoder::new(event_bytes_max);
        let mut events = Vec::new();
        for piece in pieces {
            decoder.feed(piece);
            loop {
                match decoder.next_event() {
                    Ok(Some(event)) => events.push(event),
                    Ok(None) => break,
                    Err(error) => return (events, Some(error)),
                }
            }
        }
        (events, None)
    }

    fn data_of(text: &str) -> Vec<String> {
        let (events, error) = decode([text.as_bytes()], ROOMY);
        assert_eq!(error, None);
        events
            .into_iter()
            .map(|event| String::from_utf8(event.data).unwrap())
            .collect()
    }

    #[test]
    fn every_kind_of_line_end_ends_a_line() {
        assert_eq!(
            data_of("data: a\n\ndata: b\r\n\r\ndata: c\r\rdata: d\n\r\n"),
            ["a", "b", "c", "d"]
        );
    }

    #[test]
    fn data_lines_are_joined_and_one_space_is_taken_off() {
        assert_eq!(data_of("data:a\ndata:  b\ndata\n\n"), ["a\n b\n"]);
    }

    #[test]
    fn comments_ids_retries_and_unknown_fields_are_read_over() {
        assert_eq!(
            data_of(": ping\nid: 7\nretry: 10\nmood: good\ndata: a\n\n"),
            ["a"]
        );
    }

    #[test]
    fn an_event_without_data_is_none_and_its_name_is_forgotten() {
        let (events, _) = decode(
            [&b"event: ping\n\ndata: a\n\nevent: error\ndata: b\n\n"[..]],
            ROOMY,
        );
        let names: Vec<_> = events.iter().map(|event| event.name.as_str()).collect();
        assert_eq!(names, ["", "error"]);
    }

    #[test]
    fn an_empty_data_field_is_an_event() {
        assert_eq!(data_of("data:\n\n"), [""]);
    }

    #[test]
    fn a_byte_order_mark_is_read_over_at_the_beginning_only() {
        assert_eq!(
            data_of("\u{feff}data: a\n\ndata: \u{feff}b\n\n"),
            ["a", "\u{feff}b"]
        );
        assert_eq!(data_of("data: a\n\n\u{feff}data: b\n\n"), ["a"]);
    }

    #[test]
    fn an_event_that_the_stream_does_not_end_is_none() {
        assert!(data_of("data: a\n").is_empty());
    }

    #[test]
    fn an_event_beyond_the_bound_is_refused_in_one_line_or_many() {
        let too_long = Some(EventTooLong { bytes_max: 8 });
        for bytes in ["data: 123456789", "data:1234\ndata:5678\n"] {
            assert_eq!(decode([bytes.as_bytes()], 8).1, too_long);
        }
        assert_eq!(decode([&b"data:123\n\ndata:456\n\n"[..]], 8).0.len(), 2);
    }

    /// Bytes made of the pieces on which a decoder can stumble.
    fn streams() -> impl Strategy<Value = Vec<u8>> {
        let tokens = select(vec![
            "\n",
            "\r",
            "\r\n",
            "\n\n",
            "data:",
            "data: ",
            "event: ",
            "id: ",
            ":",
            " ",
            "a",
            "ü€😀",
            "[DONE]",
            "\u{feff}",
            "{\"x\": \"\\n\"}",
        ]);
        vec(tokens, 0..60).prop_map(|tokens| tokens.concat().into_bytes())
    }

    proptest! {
        #[test]
        fn any_chunking_gives_the_same_events(
            stream in streams(),
            sizes in vec(1_usize..9, 1..80),
            event_bytes_max in select(vec![12, ROOMY]),
        ) {
            let mut rest = stream.as_slice();
            let mut pieces = Vec::new();
            for size in sizes.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (piece, after) = rest.split_at(rest.len().min(*size));
                pieces.push(piece);
                rest = after;
            }
            prop_assert_eq!(
                decode(pieces, event_bytes_max),
                decode([stream.as_slice()], event_bytes_max)
            );
        }
    }
}
