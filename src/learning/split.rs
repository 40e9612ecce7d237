//! Which rows a challenger is trained on, and which it is judged on: the newest conversations, whole.
//!
//! A question that was seen in training tells nothing, and neither does one of the same conversation. And what is promoted
//! will be asked tomorrow's questions, so it is judged on the latest there are.

use std::collections::{HashMap, HashSet};

use super::resolve::Row;

/// Share of the rows on which routers are judged, at the most: while there are few, it takes half of them to show that a
/// challenger is better.
pub const UNSEEN_SHARE_MAX: f64 = 0.5;

/// Rows on which routers are judged, at the most: as many show a difference of two points, and what is left teaches more.
pub const UNSEEN_MAX: usize = 1_500;

/// Rows in two parts that have no conversation and no text in common.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Split {
    /// To train on, oldest first.
    pub seen: Vec<Row>,
    /// To judge by, oldest first.
    pub unseen: Vec<Row>,
    /// Rows that would have been judged by if their text were not among the routes' examples.
    pub known: usize,
}

/// Splits rows (oldest first, each text once) into those to train on and those to judge by.
///
/// About [`UNSEEN_SHARE_MAX`] of them, and not many more than [`UNSEEN_MAX`], of the newest conversations, are unseen.
/// `examples` holds texts that every router was trained on.
pub fn split(rows: Vec<Row>, examples: &HashSet<String>) -> Split {
    let newest = newest_conversations(&rows);
    let mut split = Split::default();
    for row in rows {
        if !newest.contains(&row.conversation) {
            split.seen.push(row);
        } else if examples.contains(&row.text) {
            split.known += 1;
        } else {
            split.unseen.push(row);
        }
    }
    split
}

/// The conversations that ended last, as many as have so many rows.
fn newest_conversations(rows: &[Row]) -> HashSet<String> {
    let mut ends: HashMap<&str, (i64, usize)> = HashMap::new();
    for row in rows {
        let end = ends.entry(&row.conversation).or_insert((i64::MIN, 0));
        *end = (end.0.max(row.asked_at_ms), end.1 + 1);
    }
    let mut ends: Vec<(i64, &str, usize)> = ends
        .into_iter()
        .map(|(conversation, (end_ms, rows))| (end_ms, conversation, rows))
        .collect();
    ends.sort_unstable_by(|a, b| b.cmp(a));
    let mut wanted = (rows.len() as f64 * UNSEEN_SHARE_MAX).min(UNSEEN_MAX as f64);
    ends.into_iter()
        .take_while(|(_, _, rows)| {
            let is_wanted = wanted > 0.5;
            wanted -= *rows as f64;
            is_wanted
        })
        .map(|(_, conversation, _)| conversation.to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ids::CategoryId, learning::Origin};

    fn row(at: i64, conversation: &str) -> Row {
        Row {
            text: format!("question {at}"),
            category: CategoryId::new("math"),
            origin: Origin::Person,
            client: None,
            asked_at_ms: at,
            conversation: conversation.to_owned(),
        }
    }

    #[test]
    fn the_newest_conversations_are_unseen() {
        let rows = (0..100).map(|at| row(at, &at.to_string())).collect();
        let split = split(rows, &HashSet::new());
        assert_eq!((split.seen.len(), split.unseen.len()), (50, 50));
        assert!(split.seen.iter().all(|row| row.asked_at_ms < 50));
    }

    #[test]
    fn no_conversation_is_on_both_sides() {
        // Ten conversations, each spread over the whole time.
        let rows = (0..100).map(|at| row(at, &(at % 10).to_string())).collect();
        let split = split(rows, &HashSet::new());
        let of = |rows: &[Row]| -> HashSet<String> {
            rows.iter().map(|row| row.conversation.clone()).collect()
        };
        assert!(of(&split.seen).is_disjoint(&of(&split.unseen)));
        assert_eq!((split.seen.len(), split.unseen.len()), (50, 50));
    }

    #[test]
    fn what_every_router_knows_judges_none() {
        let rows = (0..10).map(|at| row(at, &at.to_string())).collect();
        let examples = HashSet::from(["question 9".to_owned(), "question 0".to_owned()]);
        let split = split(rows, &examples);
        assert_eq!(
            (split.seen.len(), split.unseen.len(), split.known),
            (5, 4, 1)
        );
    }

    #[test]
    fn of_many_rows_most_teach() {
        let rows = (0..10_000).map(|at| row(at, &at.to_string())).collect();
        assert_eq!(split(rows, &HashSet::new()).unseen.len(), UNSEEN_MAX);
    }

    #[test]
    fn nothing_is_split_into_nothing() {
        assert_eq!(split(Vec::new(), &HashSet::new()), Split::default());
    }
}
