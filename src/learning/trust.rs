//! Whose feedback is learnt from. One client must not decide what the router believes, by malice or by mistake.
//!
//! A client is not believed if it contradicts the router far more often than the others do, where the router was confident:
//! there it is right in all but the share that `router.misroute_max` allows, and whoever is honest contradicts it about as
//! often as everybody else. What the router was unsure of or refused is not held against anyone, so that a client whose
//! questions are of a new kind is heard.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use statrs::distribution::{Binomial, DiscreteCDF as _};

use super::{Evidence, Origin};
use crate::risk::misroute_upper;

/// Statements on confident decisions that a client must have made before it can be judged.
const STATEMENTS_MIN: usize = 20;

/// The same of all the others together.
const OTHERS_MIN: usize = 40;

/// By how much its share of contradictions must exceed what that of the others is at most.
const EXCESS_MIN: f64 = 0.1;

/// How unlikely so many contradictions must be for a client like the others, all clients together.
const LEVEL: f64 = 0.001;

/// How sure the bound on the share of the others is.
const OTHERS_CONFIDENCE: f64 = 0.99;

/// A client that is not believed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Distrusted {
    /// The name of its key.
    pub client: String,
    /// Statements on decisions of which the router was confident.
    pub statements: usize,
    /// How many of them contradict it.
    pub contradictions: usize,
    /// The share of contradictions among those of all other clients that are believed, 0 to 1.
    pub others_share: f64,
}

#[derive(Clone, Copy, Default)]
struct Record {
    statements: usize,
    contradictions: usize,
}

/// The clients whose feedback is not to be learnt from.
///
/// The worst is judged first and then left out of what the others are compared with, so that two of them do not make each
/// other look normal.
pub fn distrusted(evidence: &[Evidence]) -> Vec<Distrusted> {
    let mut records = records(evidence);
    let level = LEVEL / records.len().max(1) as f64;
    let mut found = Vec::new();
    while let Some((client, record, others)) = worst(&records, level) {
        found.push(Distrusted {
            statements: record.statements,
            contradictions: record.contradictions,
            others_share: share(others),
            client: client.clone(),
        });
        records.remove(&client);
    }
    found
}

fn records(evidence: &[Evidence]) -> BTreeMap<String, Record> {
    let mut records: BTreeMap<String, Record> = BTreeMap::new();
    // Saying the same of the same text twice is one statement, however often it was asked.
    let mut seen = BTreeSet::new();
    for outcome in evidence {
        let Some(routed_to) = &outcome.routed_to else {
            continue;
        };
        for statement in &outcome.statements {
            if let (Origin::Feedback, Some(client)) = (&statement.origin, &statement.given_by)
                && seen.insert((client, &outcome.question, &statement.category))
            {
                let record = records.entry(client.clone()).or_default();
                record.statements += 1;
                record.contradictions += usize::from(statement.category != *routed_to);
            }
        }
    }
    records
}

/// Of the clients that cannot be like the others the one that is least so, and all the others together.
fn worst(records: &BTreeMap<String, Record>, level: f64) -> Option<(String, Record, Record)> {
    let all = records.values().copied().reduce(Record::and)?;
    let judged = records
        .iter()
        .filter(|(_, record)| record.statements >= STATEMENTS_MIN)
        .map(|(client, record)| (client, *record, all.without(*record)))
        .filter(|(.., others)| others.statements >= OTHERS_MIN)
        .filter_map(|(client, record, others)| {
            let chance = chance(record, others)?;
            (chance < level).then_some((chance, client, record, others))
        });
    let worst = judged.min_by(|a, b| {
        let by_share = || share(b.2).total_cmp(&share(a.2));
        a.0.total_cmp(&b.0).then_with(by_share)
    });
    worst.map(|(_, client, record, others)| (client.clone(), record, others))
}

/// How likely so many contradictions are of a client like the others; none where they are too few to matter.
fn chance(record: Record, others: Record) -> Option<f64> {
    let usual = misroute_upper(others.contradictions, others.statements, OTHERS_CONFIDENCE);
    if share(record) < usual + EXCESS_MIN {
        return None;
    }
    // The upper tail of the binomial distribution.
    let chance = Binomial::new(usual, record.statements as u64).ok()?;
    Some(chance.sf(record.contradictions as u64 - 1))
}

impl Record {
    fn and(self, other: Self) -> Self {
        Self {
            statements: self.statements + other.statements,
            contradictions: self.contradictions + other.contradictions,
        }
    }

    fn without(self, other: Self) -> Self {
        Self {
            statements: self.statements - other.statements,
            contradictions: self.contradictions - other.contradictions,
        }
    }
}

fn share(record: Record) -> f64 {
    record.contradictions as f64 / record.statements.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learning::Statement;

    fn said(client: &str, routed_to: Option<&str>, category: &str, at: usize) -> Evidence {
        Evidence {
            outcome_id: format!("{client}-{at}"),
            asked_at_ms: 0,
            conversation: None,
            question: format!("{client} asks {at}"),
            routed_to: routed_to.map(str::to_owned),
            statements: vec![Statement {
                category: category.to_owned(),
                origin: Origin::Feedback,
                given_by: Some(client.to_owned()),
                given_at_ms: 0,
            }],
        }
    }

    /// A client that contradicts one of so many.
    fn client(name: &str, statements: usize, one_in: usize) -> Vec<Evidence> {
        let of = |at: usize| {
            if at.is_multiple_of(one_in) {
                "legal"
            } else {
                "math"
            }
        };
        (0..statements)
            .map(|at| said(name, Some("math"), of(at), at))
            .collect()
    }

    fn names(evidence: &[Evidence]) -> Vec<String> {
        let found = distrusted(evidence).into_iter();
        found.map(|distrusted| distrusted.client).collect()
    }

    #[test]
    fn a_client_that_contradicts_everything_is_not_believed() {
        let evidence = [
            client("a", 60, 8),
            client("b", 50, 9),
            client("liar", 45, 1),
        ]
        .concat();
        assert_eq!(names(&evidence), ["liar"]);
        assert_eq!(distrusted(&evidence)[0].contradictions, 45);
    }

    #[test]
    fn liars_do_not_hide_behind_each_other() {
        let evidence = [client("a", 90, 10), client("x", 40, 1), client("y", 40, 2)].concat();
        assert_eq!(names(&evidence), ["x", "y"]);
    }

    #[test]
    fn a_small_client_that_is_often_wrong_shields_no_liar() {
        // Nine of twenty contradict: the greatest share, and not beyond chance.
        let small: Vec<_> = (0..20)
            .map(|at| {
                said(
                    "small",
                    Some("math"),
                    if at < 9 { "legal" } else { "math" },
                    at,
                )
            })
            .collect();
        let liar: Vec<_> = (0..500)
            .map(|at| {
                said(
                    "liar",
                    Some("math"),
                    if at % 5 < 2 { "legal" } else { "math" },
                    at,
                )
            })
            .collect();
        let evidence = [client("a", 1000, 20), small, liar].concat();
        assert!(names(&evidence).contains(&"liar".to_owned()));
    }

    #[test]
    fn the_same_text_over_and_over_is_one_statement() {
        let mut again = client("insists", 60, 1);
        for outcome in &mut again {
            "the same".clone_into(&mut outcome.question);
        }
        assert!(names(&[client("a", 60, 8), again].concat()).is_empty());
    }

    #[test]
    fn clients_that_are_alike_are_all_believed() {
        let evidence = [client("a", 60, 6), client("b", 50, 5), client("c", 45, 4)].concat();
        assert!(names(&evidence).is_empty());
    }

    #[test]
    fn what_the_router_was_unsure_of_is_held_against_nobody() {
        let new: Vec<_> = (0..50).map(|at| said("new", None, "poetry", at)).collect();
        let evidence = [client("a", 60, 8), new].concat();
        assert!(names(&evidence).is_empty());
    }

    #[test]
    fn a_single_client_is_compared_with_nobody() {
        assert!(names(&client("only", 500, 1)).is_empty());
        assert!(names(&[client("few", 10, 1), client("a", 60, 8)].concat()).is_empty());
    }
}
