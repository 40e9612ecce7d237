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
    while let Some((client, record, others)) = worst(&records)
        && is_beyond_chance(record, others, level)
    {
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
    for outcome in evidence {
        let Some(routed_to) = &outcome.routed_to else {
            continue;
        };
        // Saying the same twice is one statement.
        let mut seen = BTreeSet::new();
        for statement in &outcome.statements {
            if let (Origin::Feedback, Some(client)) = (&statement.origin, &statement.given_by)
                && seen.insert((client, &statement.category))
            {
                let record = records.entry(client.clone()).or_default();
                record.statements += 1;
                record.contradictions += usize::from(statement.category != *routed_to);
            }
        }
    }
    records
}

/// The client with the greatest share of contradictions of those that can be judged, and all the others together.
fn worst(records: &BTreeMap<String, Record>) -> Option<(String, Record, Record)> {
    let (client, record) = records
        .iter()
        .filter(|(_, record)| record.statements >= STATEMENTS_MIN)
        .max_by(|a, b| share(*a.1).total_cmp(&share(*b.1)))?;
    let others = records.iter().filter(|(name, _)| *name != client);
    let others = others.fold(Record::default(), |sum, (_, other)| Record {
        statements: sum.statements + other.statements,
        contradictions: sum.contradictions + other.contradictions,
    });
    (others.statements >= OTHERS_MIN).then(|| (client.clone(), *record, others))
}

fn is_beyond_chance(record: Record, others: Record, level: f64) -> bool {
    let usual = misroute_upper(others.contradictions, others.statements, OTHERS_CONFIDENCE);
    if share(record) < usual + EXCESS_MIN {
        return false;
    }
    // Whether so many would come of chance: the upper tail of the binomial distribution.
    let Ok(chance) = Binomial::new(usual, record.statements as u64) else {
        return false;
    };
    chance.sf(record.contradictions as u64 - 1) < level
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
