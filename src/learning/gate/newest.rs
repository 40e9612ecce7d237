//! Whether the challenger does as well on the newest rows, which are likest to tomorrow's.

use std::collections::BTreeMap;

use super::{Bounds, Check, Ending, Row, Subject, better, paired::Pairs};

/// Refused if it loses more than a category may, and not by chance. Rows of one conversation count once.
pub(super) fn check(rows: &[Row], bounds: &Bounds) -> Check {
    let newest = || rows.iter().filter(|row| row.is_newest);
    let count = newest().count();
    let margin = bounds.category_margin;
    if count < bounds.category_rows_min.max(1) {
        let words = format!(
            "the newest rows are not judged by themselves: {count} rows, {} are needed",
            bounds.category_rows_min
        );
        return Check::new(Subject::Newest, Ending::Skipped, -margin, words);
    }
    let mut nets: BTreeMap<u64, i64> = BTreeMap::new();
    for row in newest() {
        *nets.entry(row.conversation).or_default() += row.net();
    }
    let pairs = Pairs::of(nets.into_values());
    let (interval, p_value) = (pairs.interval(bounds.confidence), pairs.p_of_loss());
    let accuracies = better::accuracies(newest());
    let [champion, challenger] = accuracies;
    let is_loss = challenger - champion < -margin && p_value <= 1.0 - bounds.confidence;
    let said = if is_loss {
        "worse"
    } else {
        "not found to be worse"
    };
    let words = format!(
        "on the newest {count} rows, of which nothing was known but what came before, the challenger is {said}: {} (p of a loss = \
         {p_value:.4})",
        better::in_words(accuracies, interval),
    );
    Check::new(Subject::Newest, Ending::passed_if(!is_loss), -margin, words)
        .with_figures(accuracies)
        .with_doubt(interval, p_value)
}
