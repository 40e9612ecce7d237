//! The confusion matrix, or where it would be too wide the pairs that are confused most.

use super::{CLASSES_MAX, NAME_CHARS, name, place};
use crate::{evaluate::Evaluation, ids::CategoryId};

/// Pairs that are shown instead of a matrix.
const PAIRS_SHOWN: usize = 20;

/// Characters of a column: room for a count of four digits, and for a name that can be told from its neighbours.
const COLUMN_CHARS: usize = 5;

/// A line a label, a column a prediction; no rows are a dot.
pub(super) fn of(e: &Evaluation) -> Vec<String> {
    let mut classes: Vec<&CategoryId> = e.per_category.keys().collect();
    if classes.len() > CLASSES_MAX {
        return worst_pairs(e);
    }
    classes.sort_by_key(|class| place(class));
    let mut head = format!("{:<NAME_CHARS$}", "label, taken for");
    for class in &classes {
        let short: String = name(class).chars().take(COLUMN_CHARS).collect();
        head.push_str(&cell(&short));
    }
    let lines = classes.iter().map(|label| {
        let cells = classes.iter().map(|predicted| {
            let rows = e.confusion.rows(label, predicted);
            cell(&if rows == 0 {
                "·".into()
            } else {
                rows.to_string()
            })
        });
        format!("{:<NAME_CHARS$}{}", name(label), cells.collect::<String>())
    });
    std::iter::once(head).chain(lines).collect()
}

fn cell(text: &str) -> String {
    format!(" {text:>COLUMN_CHARS$}")
}

fn worst_pairs(e: &Evaluation) -> Vec<String> {
    let mut lines = vec![format!(
        "{:<NAME_CHARS$}  {:<NAME_CHARS$}  {:>6}  {:>14}",
        "label", "taken for", "rows", "of the label's"
    )];
    for pair in e.confusion.worst().into_iter().take(PAIRS_SHOWN) {
        let of_label = e.per_category.get(pair.label);
        let of_label = of_label.map_or(pair.rows, |figures| figures.rows);
        lines.push(format!(
            "{:<NAME_CHARS$}  {:<NAME_CHARS$}  {:>6}  {:>14.3}",
            name(pair.label),
            name(pair.predicted),
            pair.rows,
            pair.rows as f64 / of_label as f64
        ));
    }
    lines
}
