//! What a judge's reply means. What is not marked, or marked twice, means nothing: it is never guessed at. Pure.

use crate::{catalogue::Catalogue, ids::OUT_OF_DOMAIN, marks::marked};

/// Which of two answers is better, as it was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preferred {
    /// The first.
    First,
    /// The second.
    Second,
    /// Neither.
    Neither,
}

impl Preferred {
    /// The same of the answers in the other order.
    #[must_use]
    pub fn swapped(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
            Self::Neither => Self::Neither,
        }
    }
}

/// The category that a reply names; none where it names none that there is.
pub fn category_of<'c>(catalogue: &'c Catalogue, reply: &str) -> Option<&'c str> {
    let named = marked(reply, "category")?;
    let routes = catalogue.routes.iter();
    let names = routes.map(|route| route.category.as_str());
    names.chain([OUT_OF_DOMAIN]).find(|name| *name == named)
}

/// The grade that a reply gives, 0 to 1.
pub fn score_of(reply: &str) -> Option<f64> {
    let named = marked(reply, "score")?;
    let is_plain = named.chars().all(|c| c.is_ascii_digit() || c == '.');
    let score: f64 = named.parse().ok().filter(|_| is_plain)?;
    (0.0..=1.0).contains(&score).then_some(score)
}

/// Which answer a reply prefers.
pub fn preferred_of(reply: &str) -> Option<Preferred> {
    match marked(reply, "better")? {
        "1" => Some(Preferred::First),
        "2" => Some(Preferred::Second),
        "tie" => Some(Preferred::Neither),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{catalogue::Route, ids::CategoryId};

    fn catalogue() -> Catalogue {
        let route = |name| Route {
            category: CategoryId::new(name),
            description: String::new(),
            examples: Vec::new(),
            negatives: Vec::new(),
        };
        Catalogue {
            routes: vec![route("law"), route("math")],
            out_of_domain: Vec::new(),
            ..Catalogue::default()
        }
    }

    #[test]
    fn only_what_is_marked_once_and_known_is_a_category() {
        let catalogue = catalogue();
        let of = |reply| category_of(&catalogue, reply);
        assert_eq!(of("<category>law</category>"), Some("law"));
        assert_eq!(
            of("It is about sums.\n<category> math </category>\n"),
            Some("math")
        );
        assert_eq!(
            of("<category>out_of_domain</category>"),
            Some(OUT_OF_DOMAIN)
        );
        for unclear in [
            "",
            "law",
            "<category>law",
            "law</category>",
            "<category>art</category>",
            "<category>Law</category>",
            "<category>law, math</category>",
            "<category>law</category> or <category>math</category>",
            "<category><category>law</category>",
            "</category><category>law</category>",
        ] {
            assert_eq!(of(unclear), None, "{unclear}");
        }
    }

    #[test]
    fn a_grade_is_a_plain_number_from_0_to_1() {
        assert_eq!(score_of("<score>0.75</score>"), Some(0.75));
        assert_eq!(score_of("<score>1</score>"), Some(1.0));
        for unclear in [
            "0.75",
            "<score>75</score>",
            "<score>-0.5</score>",
            "<score>NaN</score>",
            "<score>3/4</score>",
            "<score>+1</score>",
            "<score></score>",
            "<score>1e-1</score>",
        ] {
            assert_eq!(score_of(unclear), None, "{unclear}");
        }
    }

    #[test]
    fn a_preference_is_one_of_three_words() {
        assert_eq!(preferred_of("<better>1</better>"), Some(Preferred::First));
        assert_eq!(preferred_of("<better>2</better>"), Some(Preferred::Second));
        assert_eq!(
            preferred_of("<better>tie</better>"),
            Some(Preferred::Neither)
        );
        assert_eq!(preferred_of("<better>3</better>"), None);
        assert_eq!(Preferred::First.swapped(), Preferred::Second);
        assert_eq!(Preferred::Neither.swapped(), Preferred::Neither);
    }
}
