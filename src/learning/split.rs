//! Which rows routers are judged on: the newest conversations, in blocks that follow each other in time.
//!
//! A question that was seen in training tells nothing, and neither does one of the same conversation. While there are few
//! rows none can be spared from learning either: so the rows of a block are judged by routers that learnt from all others
//! (cross-validation: Stone, "Cross-validatory choice and assessment of statistical predictions", Journal of the Royal
//! Statistical Society B 1974), and what is put in force learns from all. What is asked at the same time often resembles
//! each other, so a block is a span of time; of the newest block nothing is known but what came before it, as of
//! tomorrow's questions.

use std::{
    collections::{HashMap, HashSet},
    ops::Range,
};

use super::{earlier::Earlier, resolve::Row};
use crate::ids::CategoryId;

/// Rows on which routers are judged, at the most: as many show a difference of three points in nine of ten cases.
pub const JUDGING_MAX: usize = 2_000;

/// Blocks that they are held back in: each is judged by routers that lack about a fifth of these rows.
pub const BLOCKS: usize = 5;

/// Rows to learn from, and those of them to judge by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Split {
    /// All rows, oldest first.
    pub rows: Vec<Row>,
    /// What is held back together, the newest last.
    pub blocks: Vec<Block>,
    /// Rows that would judge if their text were not among the routes' examples.
    pub known: usize,
    /// What is learnt from beside the rows: it judges nobody.
    pub earlier: Earlier,
}

/// Conversations that are held back together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Block {
    conversations: HashSet<String>,
    /// From when on to before when its rows were asked, milliseconds since 1970 UTC; the newest is open.
    span_ms: Range<i64>,
    /// Rows to judge by, as places in [`Split::rows`], in their order.
    pub judging: Vec<usize>,
}

impl Split {
    /// Rows to judge by.
    pub fn judging(&self) -> usize {
        self.blocks.iter().map(|block| block.judging.len()).sum()
    }
}

impl Block {
    /// What may be learnt from by whoever judges the rows of the block.
    pub fn lacking(&self, rows: &[Row]) -> Vec<Row> {
        let others = rows.iter().filter(|row| !self.holds(row));
        others.cloned().collect()
    }

    /// What nobody had labelled and may be learnt from by whoever judges the rows of the block: none of the texts of `rows`, and nothing
    /// that was last asked in its conversations or its time.
    pub fn earlier_lacking(&self, earlier: &Earlier, rows: &[Row]) -> Earlier {
        let held = rows.iter().filter(|row| self.holds(row));
        let texts: HashSet<&str> = held.map(|row| row.text.as_str()).collect();
        earlier.only(|asked| {
            !texts.contains(asked.text.as_str())
                && !self.conversations.contains(&asked.conversation)
                && !self.span_ms.contains(&asked.asked_at_ms)
        })
    }

    fn holds(&self, row: &Row) -> bool {
        self.conversations.contains(&row.conversation)
    }
}

/// Cuts the newest conversations, with about [`JUDGING_MAX`] rows, into [`BLOCKS`]; rows come oldest first, each text once.
/// `examples` holds texts that every router was trained on.
pub fn split(rows: Vec<Row>, examples: &HashMap<String, CategoryId>) -> Split {
    let newest = newest_conversations(&rows);
    let wanted: usize = newest.iter().map(|(_, rows)| rows).sum();
    let mut blocks = vec![Block::default(); BLOCKS];
    let mut before = 0;
    for (conversation, rows) in newest.into_iter().rev() {
        blocks[before * BLOCKS / wanted]
            .conversations
            .insert(conversation);
        before += rows;
    }
    let mut known = 0;
    for (at, row) in rows.iter().enumerate() {
        let Some(block) = blocks.iter_mut().find(|block| block.holds(row)) else {
            continue;
        };
        if examples.contains_key(&row.text) {
            known += 1;
        } else {
            block.judging.push(at);
        }
    }
    blocks.retain(|block| !block.judging.is_empty());
    let mut until_ms = i64::MAX;
    for block in blocks.iter_mut().rev() {
        let asked = block.judging.iter().map(|at| rows[*at].asked_at_ms);
        let (first, last) = (asked.clone().min(), asked.max());
        // A long conversation of the block behind it may have begun before: then they overlap.
        let end_ms = last.map_or(until_ms, |last| until_ms.max(last.saturating_add(1)));
        block.span_ms = first.unwrap_or(end_ms)..end_ms;
        until_ms = until_ms.min(block.span_ms.start);
    }
    Split {
        rows,
        blocks,
        known,
        earlier: Earlier::default(),
    }
}

/// The conversations that ended last, newest first, with as many rows as are to judge; and how many each has.
fn newest_conversations(rows: &[Row]) -> Vec<(String, usize)> {
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
    let mut so_far = 0;
    ends.into_iter()
        .take_while(|(_, _, rows)| {
            let is_wanted = so_far < JUDGING_MAX;
            so_far += rows;
            is_wanted
        })
        .map(|(_, conversation, rows)| (conversation.to_owned(), rows))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ids::CategoryId,
        learning::{Origin, earlier::Asked},
    };

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

    fn of(split: &Split, block: usize) -> Vec<i64> {
        let judging = split.blocks[block].judging.iter();
        judging.map(|at| split.rows[*at].asked_at_ms).collect()
    }

    #[test]
    fn blocks_follow_each_other_in_time() {
        let rows = (0..100).map(|at| row(at, &at.to_string())).collect();
        let split = split(rows, &HashMap::new());
        assert_eq!(split.blocks.len(), BLOCKS);
        for block in 0..BLOCKS {
            let from = block as i64 * 20;
            assert_eq!(of(&split, block), (from..from + 20).collect::<Vec<_>>());
        }
        let last = split.blocks[BLOCKS - 1].lacking(&split.rows);
        assert!(last.len() == 80 && last.iter().all(|row| row.asked_at_ms < 80));
    }

    #[test]
    fn what_nobody_labelled_is_of_another_time_than_what_is_judged() {
        let rows = (0..100).map(|at| row(at, &at.to_string())).collect();
        let split = split(rows, &HashMap::new());
        let asked = |conversation: &str, asked_at_ms: i64| Asked {
            text: format!("question at {asked_at_ms}"),
            conversation: conversation.to_owned(),
            asked_at_ms,
        };
        let times = [-5, 19, 20, 39, 40, 79, 80, 500];
        let mut questions: Vec<Asked> = times.map(|at| asked("another", at)).into();
        questions.push(asked("25", 1));
        let earlier = Earlier {
            questions,
            ..Earlier::default()
        };
        let known = |block: usize| -> Vec<i64> {
            let block = &split.blocks[block];
            let known = block.earlier_lacking(&earlier, &split.rows).questions;
            known.iter().map(|asked| asked.asked_at_ms).collect()
        };
        assert_eq!(
            known(1),
            [-5, 19, 40, 79, 80, 500],
            "nor of its conversations"
        );
        assert_eq!(known(BLOCKS - 1), [-5, 19, 20, 39, 40, 79, 1]);
    }

    #[test]
    fn a_long_conversation_takes_no_time_from_the_block_before_and_no_text_comes_back() {
        let mut rows: Vec<Row> = (0..100).map(|at| row(at, &at.to_string())).collect();
        rows[5] = row(5, "long");
        rows[95] = row(95, "long");
        let split = split(rows, &HashMap::new());
        let earlier = Earlier {
            questions: [65, 90, -5]
                .map(|at| Asked {
                    text: format!("question {}", if at < 0 { 70 } else { 1_000 + at }),
                    conversation: "another".to_owned(),
                    asked_at_ms: at,
                })
                .into(),
            ..Earlier::default()
        };
        let before_last = &split.blocks[BLOCKS - 2];
        assert!(of(&split, BLOCKS - 2).contains(&65) && of(&split, BLOCKS - 2).contains(&70));
        let known = before_last.earlier_lacking(&earlier, &split.rows).questions;
        let known: Vec<i64> = known.iter().map(|asked| asked.asked_at_ms).collect();
        assert_eq!(known, [90], "neither of its time nor one of its texts");
    }

    #[test]
    fn no_conversation_is_on_both_sides() {
        // Ten conversations, each spread over the whole time.
        let rows = (0..100).map(|at| row(at, &(at % 10).to_string())).collect();
        let split = split(rows, &HashMap::new());
        assert_eq!(split.judging(), 100);
        for block in &split.blocks {
            let others: HashSet<String> = block
                .lacking(&split.rows)
                .into_iter()
                .map(|row| row.conversation)
                .collect();
            assert_eq!(others.len(), 8);
            let judging = block.judging.iter().map(|at| &split.rows[*at].conversation);
            assert!(judging.into_iter().all(|it| !others.contains(it)));
        }
    }

    #[test]
    fn what_every_router_knows_judges_none() {
        let rows = (0..10).map(|at| row(at, &at.to_string())).collect();
        let examples = ["question 9", "question 0"]
            .map(|text| (text.to_owned(), CategoryId::new("math")))
            .into();
        let split = split(rows, &examples);
        assert_eq!((split.judging(), split.known), (8, 2));
        assert!(!of(&split, 0).contains(&0));
    }

    #[test]
    fn of_many_rows_the_newest_judge() {
        let rows = (0..10_000).map(|at| row(at, &at.to_string())).collect();
        let split = split(rows, &HashMap::new());
        assert_eq!((split.rows.len(), split.judging()), (10_000, JUDGING_MAX));
        assert_eq!(of(&split, 0)[0], 8_000);
    }

    #[test]
    fn one_conversation_is_one_block_and_nothing_is_none() {
        let rows = (0..9).map(|at| row(at, "the same")).collect();
        let alone = split(rows, &HashMap::new());
        assert_eq!((alone.blocks.len(), alone.judging()), (1, 9));
        assert!(alone.blocks[0].lacking(&alone.rows).is_empty());
        assert_eq!(split(Vec::new(), &HashMap::new()), Split::default());
    }
}
