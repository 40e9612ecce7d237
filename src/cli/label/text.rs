//! Text for a terminal: made harmless, broken into lines, cut to a width. Pure.

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// What a tabulator becomes.
const TAB: &str = "    ";

/// Text with spaces behind it, up to a width.
pub(super) fn pad(text: &str, width: usize) -> String {
    let missing = width.saturating_sub(text.width());
    format!("{text}{}", " ".repeat(missing))
}

/// Text that cannot do anything to a terminal: what controls it, and what hides or turns text, is shown as `�`; line ends
/// stay.
pub(super) fn printable(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.replace("\r\n", "\n").chars() {
        match c {
            '\n' => safe.push('\n'),
            '\t' => safe.push_str(TAB),
            c if c.is_control() || is_invisible(c) => safe.push('\u{fffd}'),
            c => safe.push(c),
        }
    }
    safe
}

/// The same in one line.
pub(super) fn one_line(text: &str) -> String {
    printable(text).replace('\n', " ")
}

/// Marks that turn the direction of writing, line and paragraph separators, and what has no width but is no accent.
pub(super) fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Lines no wider than `width`, broken at spaces where there are some.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    let width = width.max(1);
    let mut lines = Vec::new();
    for paragraph in text.lines() {
        let mut line = String::new();
        for word in paragraph.split(' ') {
            let joined = line.width() + usize::from(!line.is_empty()) + word.width();
            if !line.is_empty() && joined > width {
                lines.push(std::mem::take(&mut line));
            } else if !line.is_empty() {
                line.push(' ');
            }
            for c in word.chars() {
                if line.width() + c.width().unwrap_or(0) > width {
                    lines.push(std::mem::take(&mut line));
                }
                line.push(c);
            }
        }
        lines.push(line);
    }
    lines
}

/// The beginning of a line that fits.
pub(super) fn cut(text: &str, width: usize) -> String {
    let mut used = 0;
    let fits = |c: &char| {
        used += c.width().unwrap_or(0);
        used <= width
    };
    text.chars().take_while(fits).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_kept_whole_where_they_fit() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("abcdefgh", 3), ["abc", "def", "gh"]);
        assert_eq!(wrap("a\n\nb", 9), ["a", "", "b"]);
        assert_eq!(wrap("漢字漢", 4), ["漢字", "漢"]);
    }
}
