//! The rewards of every category and expert, of which no client has more than its share. Pure.

use std::collections::{BTreeMap, HashMap};

use super::{
    reward::{Implicit, reward},
    served::Served,
    share,
};
use crate::{
    ids::{CategoryId, ExpertId},
    mapping::explore::Tally,
};

/// The rewards of one cell, by the client that asked; none: without a key.
type ByClient<'s> = BTreeMap<Option<&'s str>, Given>;

/// The rewards of one client.
#[derive(Clone, Copy, Default)]
struct Given {
    sum: f64,
    rows: usize,
}

/// The rewards of every category and expert, a cascade's first included.
///
/// Where the client named the expert there is no category, and nothing is counted. Of a client that asked more than its share
/// of a cell's questions each counts for less.
pub fn tallies(
    served: &[Served],
    implicit: Implicit,
    client_share_max: f64,
) -> HashMap<(CategoryId, ExpertId), Tally> {
    let mut cells: HashMap<(CategoryId, ExpertId), ByClient<'_>> = HashMap::new();
    for outcome in served {
        let Some(category) = &outcome.category else {
            continue;
        };
        let mut experts: Vec<&ExpertId> = outcome.tries.iter().map(|it| &it.expert).collect();
        experts.sort_unstable();
        experts.dedup();
        for expert in experts {
            if let Some(reward) = reward(outcome, expert, implicit) {
                let cell = cells.entry((category.clone(), expert.clone())).or_default();
                let given = cell.entry(outcome.client.as_deref()).or_default();
                given.sum += reward;
                given.rows += 1;
            }
        }
    }
    let tally = |(cell, by_client)| (cell, tally(&by_client, client_share_max));
    cells.into_iter().map(tally).collect()
}

fn tally(by_client: &ByClient<'_>, client_share_max: f64) -> Tally {
    let rows: Vec<usize> = by_client.values().map(|given| given.rows).collect();
    let allowed = share::allowed(&rows, client_share_max);
    let mut tally = Tally::default();
    for given in by_client.values() {
        let counted = given.rows.min(allowed) as f64;
        tally.rewards += given.sum * counted / given.rows as f64;
        tally.rows += counted;
    }
    tally
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learning::{
        served::{Said, Try, Voice},
        share::CLIENT_SHARE_MAX,
    };

    fn id(expert: &str) -> ExpertId {
        ExpertId::new(expert)
    }

    fn score(score: f64) -> Said {
        Said {
            by: Voice::default(),
            score: Some(score),
            expert: None,
        }
    }

    fn tried(expert: &str, error: Option<&str>) -> Try {
        Try {
            expert: id(expert),
            role: "answer".into(),
            error: error.map(str::to_owned),
            rejected_as: None,
        }
    }

    #[test]
    fn rates_are_compared_and_not_numbers_of_what_went_wrong() {
        let answers = |expert: &str, left: usize, all: usize| -> Vec<Served> {
            let of = |at: usize| Served {
                ending: if at < left {
                    "client_left"
                } else {
                    "completed"
                }
                .into(),
                ..Served::example(expert)
            };
            (0..all).map(of).collect()
        };
        let all = [answers("a", 50, 10_000), answers("b", 50, 100)].concat();
        let tallies = tallies(&all, Implicit::Counts, CLIENT_SHARE_MAX);
        let mean = |expert: &str| {
            let tally = tallies[&(CategoryId::new("coding"), id(expert))];
            tally.rewards / tally.rows
        };
        assert!(mean("a") > 0.69 && mean("b") < 0.51);
    }

    #[test]
    fn rewards_are_added_up_by_category_and_expert() {
        let said = |value| Served {
            said: vec![score(value)],
            ..Served::example("a")
        };
        let named = Served {
            category: None,
            ..said(1.0)
        };
        let failed = Served {
            answered_by: Some(id("b")),
            tries: vec![
                tried("a", Some("failed")),
                tried("a", Some("failed")),
                tried("b", None),
            ],
            ..said(0.5)
        };
        let stopped = Served {
            ending: "shutdown".into(),
            ..Served::example("a")
        };
        let all = [said(0.75), said(0.25), named, stopped, failed];
        let tallies = tallies(&all, Implicit::Counts, CLIENT_SHARE_MAX);
        let of = |expert: &str| tallies[&(CategoryId::new("coding"), id(expert))];
        assert_eq!((of("a").rewards, of("a").rows), (1.0, 3.0));
        assert_eq!((of("b").rewards, of("b").rows), (0.5, 1.0));
        assert_eq!(tallies.len(), 2);
    }

    #[test]
    fn no_client_has_more_than_its_share_of_a_cell() {
        let asked = |client: &str, rows: usize, reward: f64| -> Vec<Served> {
            let outcome = Served {
                client: Some(client.to_owned()),
                said: vec![score(reward)],
                ..Served::example("a")
            };
            vec![outcome; rows]
        };
        let mean = |served: &[Served]| {
            let tallies = tallies(served, Implicit::Counts, CLIENT_SHARE_MAX);
            let tally = tallies[&(CategoryId::new("coding"), id("a"))];
            (tally.rewards / tally.rows, tally.rows)
        };
        let names: Vec<String> = (0..8).map(|at| format!("client-{at}")).collect();
        let honest: Vec<Served> = names.iter().flat_map(|it| asked(it, 10, 1.0)).collect();
        let all = [honest.clone(), asked("liar", 900, 0.0)].concat();
        let (of_all, rows) = mean(&all);
        assert!((of_all - 0.75).abs() < 0.01, "{of_all}");
        assert!((rows - 106.0).abs() < 1.0, "{rows}");
        assert_eq!(mean(&honest), (1.0, 80.0));
        // A single client is all there is.
        assert_eq!(mean(&asked("only", 900, 0.0)), (0.0, 900.0));
    }
}
