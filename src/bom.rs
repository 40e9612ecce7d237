//! The mark that some editors put before a text, which says that it is UTF-8 and is no part of it.

use std::io::{self, BufRead};

/// Goes past the mark where a text begins with one.
pub(crate) fn skip(text: &mut impl BufRead) -> io::Result<()> {
    let mark = "\u{feff}".as_bytes();
    if text.fill_buf()?.starts_with(mark) {
        text.consume(mark.len());
    }
    Ok(())
}
