//! The rows, and which of them belong together.

use std::collections::{BTreeMap, HashMap};

use super::{Check, Ending, Row, Subject};
use crate::ids::CategoryId;

/// Rows with their conversations and their groups: a category, or all small categories together.
pub(super) struct Sample<'r> {
    rows: &'r [Row],
    conversation_of: Vec<usize>,
    conversations: usize,
    groups: Vec<Group>,
    group_of: Vec<usize>,
}

/// Rows whose accuracy is judged together.
#[derive(Debug, PartialEq)]
pub(super) struct Group {
    /// The categories of its rows; several only in the group of small ones.
    pub(super) categories: Vec<CategoryId>,
    pub(super) is_of_small: bool,
    pub(super) rows: usize,
}

impl<'r> Sample<'r> {
    /// Numbers the conversations in the order of their first rows. A category with fewer than `category_rows_min` rows is
    /// put in the group of the small ones, which comes last.
    pub(super) fn new(rows: &'r [Row], category_rows_min: usize) -> Self {
        let mut numbers = HashMap::new();
        let conversation_of = rows
            .iter()
            .map(|row| {
                let next = numbers.len();
                *numbers.entry(row.conversation).or_insert(next)
            })
            .collect();
        let (groups, number_of) = groups(rows, category_rows_min);
        let group_of = rows.iter().map(|row| number_of[&row.label]).collect();
        Self {
            rows,
            conversation_of,
            conversations: numbers.len(),
            groups,
            group_of,
        }
    }

    pub(super) fn rows(&self) -> &'r [Row] {
        self.rows
    }

    pub(super) fn conversations(&self) -> usize {
        self.conversations
    }

    /// Whether every conversation has just one row, so that rows are independent of each other.
    pub(super) fn is_of_single_rows(&self) -> bool {
        self.conversations == self.rows.len()
    }

    /// The conversation of a row, counted from zero.
    pub(super) fn conversation_of(&self, row: usize) -> usize {
        self.conversation_of[row]
    }

    pub(super) fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// The group of a row, as its place in [`Self::groups`].
    pub(super) fn group_of(&self, row: usize) -> usize {
        self.group_of[row]
    }

    /// Whether there is enough to judge by, and all of it readable.
    pub(super) fn enough(&self, conversations_min: usize) -> Check {
        let unreadable = self.rows.iter().filter(|row| !row.is_readable()).count();
        let (ending, words) = if self.conversations < conversations_min.max(1) {
            let words = format!(
                "too few rows: {} conversations, {conversations_min} are needed",
                self.conversations
            );
            (Ending::Failed, words)
        } else if unreadable > 0 {
            let words = format!(
                "{unreadable} rows cannot be judged: a confidence that is not between 0 and 1, a Brier score that is not \
                 between 0 and 2, or a strangeness that is no number"
            );
            (Ending::Failed, words)
        } else {
            let words = format!(
                "{} rows of {} conversations",
                self.rows.len(),
                self.conversations
            );
            (Ending::Passed, words)
        };
        Check::new(Subject::Rows, ending, conversations_min as f64, words)
    }
}

/// The groups, and the place of each category's group among them.
fn groups(rows: &[Row], category_rows_min: usize) -> (Vec<Group>, BTreeMap<&CategoryId, usize>) {
    let mut counts: BTreeMap<&CategoryId, usize> = BTreeMap::new();
    for row in rows {
        *counts.entry(&row.label).or_default() += 1;
    }
    let (large, small): (Vec<_>, Vec<_>) = counts
        .into_iter()
        .partition(|(_, rows)| *rows >= category_rows_min);
    let mut number_of: BTreeMap<&CategoryId, usize> = large
        .iter()
        .enumerate()
        .map(|(number, (category, _))| (*category, number))
        .collect();
    number_of.extend(small.iter().map(|(category, _)| (*category, large.len())));
    let mut groups: Vec<Group> = large
        .into_iter()
        .map(|large| Group::of(&[large], false))
        .collect();
    if !small.is_empty() {
        groups.push(Group::of(&small, true));
    }
    (groups, number_of)
}

impl Group {
    fn of(categories: &[(&CategoryId, usize)], is_of_small: bool) -> Self {
        Self {
            categories: categories.iter().map(|(id, _)| (*id).clone()).collect(),
            is_of_small,
            rows: categories.iter().map(|(_, rows)| rows).sum(),
        }
    }
}

impl Row {
    fn is_readable(&self) -> bool {
        [self.champion, self.challenger].iter().all(|said| {
            (0.0..=1.0).contains(&said.confidence)
                && (0.0..=2.0).contains(&said.brier)
                && !said.out_of_domain.is_nan()
        })
    }

    /// By how much the challenger's Brier score is better.
    pub(super) fn brier_gain(&self) -> f64 {
        self.champion.brier - self.challenger.brier
    }

    /// 1 where only the challenger is right, −1 where only the champion is, else 0.
    pub(super) fn net(&self) -> i64 {
        i64::from(self.challenger.is_right) - i64::from(self.champion.is_right)
    }
}
