//! What keeps data and instructions apart where a model is asked: marks that a text does not know, and tags that a reply
//! bears once. Pure.

/// A mark that occurs in none of the texts, of those that `draw` gives.
pub(crate) fn unknown_to(texts: &[&str], mut draw: impl FnMut() -> String) -> String {
    loop {
        let mark = draw();
        if !texts.iter().any(|text| text.contains(&mark)) {
            return mark;
        }
    }
}

/// What stands between the tags; none where they are not there exactly once.
pub(crate) fn marked<'r>(reply: &'r str, tag: &str) -> Option<&'r str> {
    let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
    let (before, rest) = reply.split_once(&open)?;
    let (inside, after) = rest.split_once(&close)?;
    let is_again = |text: &str| text.contains(&open) || text.contains(&close);
    if is_again(before) || is_again(inside) || is_again(after) {
        return None;
    }
    Some(inside.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_that_occurs_is_not_taken() {
        let mut drawn = ["abc", "def", "ghi"].into_iter().map(str::to_owned);
        let mark = unknown_to(&["x abc", "def"], || drawn.next().unwrap());
        assert_eq!(mark, "ghi");
    }

    #[test]
    fn tags_that_are_there_once_mark_what_they_hold() {
        assert_eq!(marked("Well. <a> b </a>.", "a"), Some("b"));
        for unclear in [
            "",
            "b",
            "<a>b",
            "</a>b<a>",
            "<a>b</a><a>c</a>",
            "<a><a>b</a>",
        ] {
            assert_eq!(marked(unclear, "a"), None, "{unclear}");
        }
    }
}
