//! Where a command's words go. A reader that has left (`coterie … | head`) is no error.

use std::io::{self, Write};

use serde::Serialize;

/// Writes a piece of an answer to standard output and shows it at once.
///
/// # Errors
/// Nobody reads it any more: no more pieces need to be made.
pub(super) fn piece(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Writes a line to standard output.
pub(super) fn line(text: &str) {
    writeln!(io::stdout().lock(), "{text}").ok();
}

/// Writes the one JSON document of a `--json` call, or one of its lines.
pub(super) fn json(document: &impl Serialize) -> serde_json::Result<()> {
    line(&serde_json::to_string(document)?);
    Ok(())
}

/// Writes a note to standard error.
pub(super) fn note(text: &str) {
    writeln!(io::stderr().lock(), "{text}").ok();
}

/// Writes what went wrong to standard error.
pub(super) fn complain(text: &str) {
    note(&format!("error: {text}"));
}
