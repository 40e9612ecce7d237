//! The word that was probably meant.

/// `did you mean …?` where a known word is near, else all known words; none where none is known.
pub(super) fn suggest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let known: Vec<&str> = known.into_iter().collect();
    match nearest(word, &known) {
        Some(near) => Some(format!("did you mean `{near}`?")),
        None if known.is_empty() => None,
        None => Some(format!("known here: {}", quoted(&known, "and"))),
    }
}

/// `a`, `b` and `c`, each in backticks.
pub(super) fn quoted(words: &[&str], last: &str) -> String {
    let mut list = String::new();
    for (index, word) in words.iter().enumerate() {
        match index {
            0 => {}
            _ if index + 1 == words.len() => list.push_str(&format!(" {last} ")),
            _ => list.push_str(", "),
        }
        list.push_str(&format!("`{word}`"));
    }
    list
}

/// A slip changes about one letter in three at most.
fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let letters = word.chars().count();
    known
        .iter()
        .map(|candidate| (strsim::osa_distance(word, candidate), *candidate))
        .filter(|(distance, _)| *distance <= (letters / 3).max(1))
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_word_is_proposed() {
        let known = ["listen", "keys"];
        assert_eq!(
            suggest("lisen", known),
            Some("did you mean `listen`?".into())
        );
        assert_eq!(suggest("kyes", known), Some("did you mean `keys`?".into()));
    }

    #[test]
    fn without_a_near_word_all_are_named() {
        let known = ["listen", "keys", "grace"];
        assert_eq!(
            suggest("zebra", known),
            Some("known here: `listen`, `keys` and `grace`".into())
        );
        assert_eq!(suggest("zebra", []), None);
    }
}
