//! The categories that a question may be given, and how a person names one with few keys. Pure.

use crate::{catalogue::Catalogue, ids::OUT_OF_DOMAIN};

/// What can be named, in the order in which it is shown.
pub(super) struct Choices(Vec<Choice>);

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Choice {
    /// The category, or `out_of_domain`.
    pub(super) name: String,
    /// What has to be typed for it, at least: characters of the name from its start. The whole name needs Enter after it
    /// where another name goes on from there.
    pub(super) key_chars: usize,
}

/// What was typed so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Typed<'c> {
    /// One category alone begins like this.
    One(&'c str),
    /// This is a category, and others begin with it.
    Whole(&'c str),
    /// Several begin like this.
    Several,
    /// None does.
    None,
}

impl Choices {
    /// Every category of the catalogue, then `out_of_domain`.
    pub(super) fn of(catalogue: &Catalogue) -> Self {
        let routes = catalogue.routes.iter();
        let names = routes.map(|route| route.category.as_str());
        Self::named(names.chain([OUT_OF_DOMAIN]))
    }

    fn named<'n>(names: impl Iterator<Item = &'n str>) -> Self {
        let names: Vec<String> = names.map(str::to_owned).collect();
        let key_chars = |name: &str| {
            let is_alone = |chars: &usize| {
                let start: String = name.chars().take(*chars).collect();
                let same = names.iter().filter(|other| begins(other, &start));
                same.count() == 1
            };
            let all = name.chars().count();
            (1..all).find(is_alone).unwrap_or(all)
        };
        let choices = names.iter().map(|name| Choice {
            key_chars: key_chars(name),
            name: name.clone(),
        });
        Self(choices.collect())
    }

    /// All of them.
    pub(super) fn all(&self) -> &[Choice] {
        &self.0
    }

    /// What a beginning of a name stands for; upper and lower case are the same.
    pub(super) fn typed(&self, start: &str) -> Typed<'_> {
        if start.is_empty() {
            return Typed::Several;
        }
        let mut alike = self.0.iter().filter(|choice| begins(&choice.name, start));
        let Some(first) = alike.next() else {
            return Typed::None;
        };
        if alike.next().is_none() {
            return Typed::One(&first.name);
        }
        let whole = self.0.iter().find(|it| it.name.eq_ignore_ascii_case(start));
        whole.map_or(Typed::Several, |choice| Typed::Whole(&choice.name))
    }
}

/// Whether a name begins so.
pub(super) fn begins(name: &str, start: &str) -> bool {
    name.get(..start.len())
        .is_some_and(|head| head.eq_ignore_ascii_case(start))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn choices<const N: usize>(names: [&str; N]) -> Choices {
        Choices::named(names.into_iter())
    }

    #[test]
    fn the_shortest_beginning_that_is_its_own_names_a_category() {
        let choices = choices(["math", "medical", "medicine", "law", "out_of_domain"]);
        let keys: Vec<_> = choices.all().iter().map(|it| it.key_chars).collect();
        assert_eq!(keys, [2, 6, 6, 1, 1]);
        assert_eq!(choices.typed("l"), Typed::One("law"));
        assert_eq!(choices.typed("MA"), Typed::One("math"));
        assert_eq!(choices.typed("medic"), Typed::Several);
        assert_eq!(choices.typed("medica"), Typed::One("medical"));
        assert_eq!(choices.typed("x"), Typed::None);
        assert_eq!(choices.typed(""), Typed::Several);
    }

    #[test]
    fn a_name_that_others_go_on_from_is_named_by_the_whole_of_it() {
        let choices = choices(["math", "math_word", "law"]);
        assert_eq!(choices.all()[0].key_chars, 4);
        assert_eq!(choices.typed("math"), Typed::Whole("math"));
        assert_eq!(choices.typed("math_"), Typed::One("math_word"));
    }

    #[test]
    fn forty_categories_can_all_be_named() {
        let names: Vec<String> = (0..40).map(|at| format!("topic_{at:02}")).collect();
        let choices = Choices::named(names.iter().map(String::as_str));
        for choice in choices.all() {
            let start: String = choice.name.chars().take(choice.key_chars).collect();
            assert_eq!(choices.typed(&start), Typed::One(&choice.name));
        }
    }
}
