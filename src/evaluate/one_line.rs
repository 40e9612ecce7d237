//! Texts from files, made fit for one line of a terminal.

/// A text in one line of at most `chars_max` characters. Whatever could move the cursor becomes a space.
pub(super) fn one_line(text: &str, chars_max: usize) -> String {
    let printable = text.replace(|c: char| c.is_control(), " ");
    let line = printable.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= chars_max {
        return line;
    }
    let kept: String = line.chars().take(chars_max.saturating_sub(1)).collect();
    format!("{}…", kept.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_what_steers_a_terminal_become_spaces() {
        assert_eq!(one_line("a\r\n\tb \u{1b}[2Jc", 80), "a b [2Jc");
    }

    #[test]
    fn what_is_too_long_is_cut_by_characters() {
        assert_eq!(one_line("äöüß", 4), "äöüß");
        assert_eq!(one_line("äöüßä", 4), "äöü…");
        assert_eq!(one_line("ab cd", 4), "ab…");
    }
}
