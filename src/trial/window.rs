//! Outcomes that have ended and of which it is not yet known whether the client asks again. Pure.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use crate::{
    ids::RouterId,
    learning::served::{ASKED_AGAIN_WITHIN, are_alike},
};

/// How long the question that asks again may take to be answered: it is in the store when it has ended, and not before.
/// One that takes longer does not count as asked again.
const ANSWERED_WITHIN: Duration = Duration::from_secs(60);

/// How long an outcome that has ended takes to be in the store, at the most.
const WRITTEN_WITHIN: Duration = Duration::from_secs(10);

/// Most outcomes that wait, with their questions: two minutes of eighty a second. Where more come, the oldest are taken
/// without waiting.
const ROWS_MAX: usize = 10_000;

/// An outcome that has ended, in the order in which they came into the store.
#[derive(Clone, Debug, PartialEq)]
pub struct EndedRow {
    /// Its place among all outcomes.
    pub place: i64,
    /// Its id.
    pub outcome_id: String,
    /// When it was asked, milliseconds since 1970 UTC.
    pub asked_at_ms: i64,
    /// When it ended, milliseconds since 1970 UTC.
    pub ended_at_ms: i64,
    /// Its conversation; none where nothing tells it.
    pub session: Option<String>,
    /// The text that was classified, as it was kept.
    pub question: Option<String>,
    /// The model name that was asked for.
    pub model: String,
    /// The router that decided.
    pub router: RouterId,
    /// How it ended, in one word.
    pub ending: String,
    /// Whether a first token of the answer came.
    pub has_begun: bool,
}

/// Outcomes that wait, by their places.
#[derive(Debug, Default)]
pub(super) struct Window {
    rows: BTreeMap<i64, EndedRow>,
    /// The places of each conversation's.
    sessions: HashMap<String, Vec<i64>>,
}

impl Window {
    pub(super) fn push(&mut self, row: EndedRow) {
        if let Some(session) = &row.session {
            let places = self.sessions.entry(session.clone()).or_default();
            places.push(row.place);
        }
        self.rows.insert(row.place, row);
    }

    /// The next outcome of which everything is known at a moment (milliseconds since 1970 UTC) up to which the store was
    /// read, and whether its client asked nearly the same again. They leave in the order in which they came, so that
    /// whoever reads the store again gets the same ones in the same order.
    pub(super) fn pop(&mut self, read_up_to_ms: i64) -> Option<(EndedRow, bool)> {
        let (_, first) = self.rows.first_key_value()?;
        let known_ms =
            first.ended_at_ms + millis(ASKED_AGAIN_WITHIN + ANSWERED_WITHIN + WRITTEN_WITHIN);
        if known_ms > read_up_to_ms && self.rows.len() <= ROWS_MAX {
            return None;
        }
        let (_, row) = self.rows.pop_first()?;
        let is_repeated = self.next_of_session(&row).is_some_and(|next| {
            let questions = row.question.as_ref().zip(next.question.as_ref());
            questions.is_some_and(|(one, other)| are_alike(one, other))
        });
        self.forget(&row);
        Some((row, is_repeated))
    }

    /// The next question of the same conversation, if it came soon and was answered soon.
    fn next_of_session(&self, row: &EndedRow) -> Option<&EndedRow> {
        let places = self.sessions.get(row.session.as_ref()?)?;
        let asked_by_ms = row.ended_at_ms + millis(ASKED_AGAIN_WITHIN);
        let ended_by_ms = asked_by_ms + millis(ANSWERED_WITHIN);
        places
            .iter()
            .filter_map(|place| self.rows.get(place))
            .filter(|next| (next.asked_at_ms, next.place) > (row.asked_at_ms, row.place))
            .min_by_key(|next| (next.asked_at_ms, next.place))
            .filter(|next| next.asked_at_ms <= asked_by_ms && next.ended_at_ms <= ended_by_ms)
    }

    fn forget(&mut self, row: &EndedRow) {
        let Some(session) = &row.session else {
            return;
        };
        if let Some(places) = self.sessions.get_mut(session) {
            places.retain(|place| *place != row.place);
            if places.is_empty() {
                self.sessions.remove(session);
            }
        }
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SORT: &str = "How do I sort a list in Python?";

    /// Asked at a second, and answered a second later.
    fn row(place: i64, session: &str, question: &str, second: i64) -> EndedRow {
        EndedRow {
            place,
            outcome_id: place.to_string(),
            asked_at_ms: 1000 * second,
            ended_at_ms: 1000 * (second + 1),
            session: Some(session.into()),
            question: Some(question.into()),
            model: "coterie".into(),
            router: RouterId::new("r"),
            ending: "completed".into(),
            has_begun: true,
        }
    }

    fn all(rows: impl IntoIterator<Item = EndedRow>) -> Vec<bool> {
        let mut window = Window::default();
        for row in rows {
            window.push(row);
        }
        let popped = std::iter::from_fn(|| window.pop(i64::MAX));
        let repeated = popped.map(|(_, is_repeated)| is_repeated).collect();
        assert!(window.sessions.is_empty());
        repeated
    }

    #[test]
    fn an_outcome_waits_until_nobody_can_ask_again_and_those_behind_it_wait_as_well() {
        let mut window = Window::default();
        window.push(row(1, "a", SORT, 10));
        window.push(row(2, "b", SORT, 0));
        assert_eq!(window.pop(131_000 + 9_999), None);
        let places: Vec<i64> = std::iter::from_fn(|| window.pop(141_000))
            .map(|(row, _)| row.place)
            .collect();
        assert_eq!(places, [1, 2]);
    }

    #[test]
    fn the_same_question_at_once_is_asked_again() {
        assert_eq!(
            all([row(1, "a", SORT, 0), row(2, "a", SORT, 61)]),
            [true, false]
        );
        assert_eq!(
            all([row(1, "a", SORT, 0), row(2, "a", SORT, 62)]),
            [false, false]
        );
        assert_eq!(
            all([row(1, "a", SORT, 0), row(2, "b", SORT, 5)]),
            [false, false]
        );
        let between = [
            row(1, "a", SORT, 0),
            row(2, "a", "And in Rust?", 5),
            row(3, "a", SORT, 9),
        ];
        assert_eq!(all(between), [false, false, false]);
        let mut slow = row(2, "a", SORT, 5);
        slow.ended_at_ms = 121_001;
        assert_eq!(all([row(1, "a", SORT, 0), slow]), [false, false]);
    }

    #[test]
    fn a_crowd_does_not_wait() {
        let mut window = Window::default();
        for place in 0..=i64::try_from(ROWS_MAX).unwrap() {
            window.push(row(place, "a", SORT, 0));
        }
        assert!(window.pop(0).is_some());
        assert!(window.pop(0).is_none());
    }
}
