//! How far two who sort the same things agree, beyond what chance would bring: Cohen's kappa ("A Coefficient of Agreement for
//! Nominal Scales", Educational and Psychological Measurement 1960). Pure.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Evidence, Origin, Statement};

/// The agreement of two over the same things.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Agreement {
    /// Things that both sorted.
    pub n: usize,
    /// The share of which they say the same, 0 to 1.
    pub observed: f64,
    /// The share of which they would by chance.
    pub expected: f64,
    /// Cohen's kappa: 1 is perfect, 0 what chance brings; none where both always say one and the same, so that chance
    /// alone would bring perfection.
    pub kappa: Option<f64>,
}

/// How far the two words of each pair agree; none where there are no pairs.
pub fn agreement<'w>(pairs: impl IntoIterator<Item = (&'w str, &'w str)>) -> Option<Agreement> {
    let mut counts: BTreeMap<&str, [usize; 2]> = BTreeMap::new();
    let (mut n, mut same) = (0, 0);
    for (one, other) in pairs {
        n += 1;
        same += usize::from(one == other);
        counts.entry(one).or_default()[0] += 1;
        counts.entry(other).or_default()[1] += 1;
    }
    if n == 0 {
        return None;
    }
    let total = n as f64;
    let observed = same as f64 / total;
    let by_chance = counts.values().map(|[one, other]| (one * other) as f64);
    let expected = by_chance.sum::<f64>() / (total * total);
    let kappa = (expected < 1.0).then(|| (observed - expected) / (1.0 - expected));
    Some(Agreement {
        n,
        observed,
        expected,
        kappa,
    })
}

/// How far a judge's labels agree with people's, over the outcomes that have both; the last word of each counts.
pub fn with_people(evidence: &[Evidence], judge: &str) -> Option<Agreement> {
    let pairs = evidence.iter().filter_map(|outcome| {
        let last = |is_its: &dyn Fn(&Statement) -> bool| {
            let its = outcome.statements.iter().filter(|it| is_its(it));
            its.max_by_key(|it| it.given_at_ms)
                .map(|it| it.category.as_str())
        };
        let person = last(&|it| it.origin == Origin::Person)?;
        let judged =
            last(&|it| it.origin == Origin::Judge && it.given_by.as_deref() == Some(judge))?;
        Some((person, judged))
    });
    agreement(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(counts: &[(&'static str, &'static str, usize)]) -> Agreement {
        let pairs = counts
            .iter()
            .flat_map(|(one, other, times)| std::iter::repeat_n((*one, *other), *times));
        agreement(pairs).unwrap()
    }

    #[test]
    fn it_is_the_kappa_of_the_published_example() {
        // Cohen 1960, table 1: 200 patients, three diagnoses; his proportions times 200.
        let found = table(&[
            ("a", "a", 88),
            ("a", "b", 14),
            ("a", "c", 18),
            ("b", "a", 10),
            ("b", "b", 40),
            ("b", "c", 10),
            ("c", "a", 2),
            ("c", "b", 6),
            ("c", "c", 12),
        ]);
        assert_eq!(found.n, 200);
        assert!((found.observed - 0.70).abs() < 1e-9, "{found:?}");
        assert!((found.expected - 0.41).abs() < 1e-9, "{found:?}");
        assert!((found.kappa.unwrap() - 0.492).abs() < 5e-4, "{found:?}");
    }

    #[test]
    fn perfect_agreement_is_one_and_chance_is_zero() {
        let perfect = table(&[("a", "a", 3), ("b", "b", 4)]);
        assert!((perfect.kappa.unwrap() - 1.0).abs() < 1e-12);
        let chance = table(&[("a", "a", 1), ("a", "b", 1), ("b", "a", 1), ("b", "b", 1)]);
        assert!(chance.kappa.unwrap().abs() < 1e-12);
        let opposed = table(&[("a", "b", 1), ("b", "a", 1)]);
        assert!((opposed.kappa.unwrap() + 1.0).abs() < 1e-12);
    }

    #[test]
    fn nothing_is_said_where_nothing_can_be() {
        assert_eq!(agreement([]), None);
        assert_eq!(table(&[("a", "a", 5)]).kappa, None);
    }

    #[test]
    fn the_last_word_of_a_person_is_compared_with_that_of_this_judge() {
        let said = |category: &str, origin: Origin, by: &str, at| Statement {
            category: category.to_owned(),
            origin,
            given_by: Some(by.to_owned()),
            given_at_ms: at,
        };
        let outcome = |statements| Evidence {
            outcome_id: "a".into(),
            asked_at_ms: 1,
            conversation: None,
            question: "Why?".into(),
            routed_to: None,
            statements,
        };
        let evidence = [
            outcome(vec![
                said("math", Origin::Person, "ann", 1),
                said("law", Origin::Person, "ann", 2),
                said("law", Origin::Judge, "gpt category-v1", 3),
                said("math", Origin::Judge, "gpt category-v0", 4),
            ]),
            outcome(vec![said("math", Origin::Person, "ann", 1)]),
            outcome(vec![said("math", Origin::Judge, "gpt category-v1", 1)]),
        ];
        let found = with_people(&evidence, "gpt category-v1").unwrap();
        assert_eq!(found.n, 1);
        assert!((found.observed - 1.0).abs() < 1e-12);
    }
}
