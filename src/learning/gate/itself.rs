//! Whether the router that is to be put in force came out like those that were judged in its place.

use super::{Bounds, Check, Ending, Row, Subject, better};

/// It learnt from the very rows, so it can only be right more often, unless something went wrong with it. None where it is
/// what was judged.
pub(super) fn check(rows: &[Row], accuracy: Option<f64>, bounds: &Bounds) -> Option<Check> {
    let accuracy = accuracy?;
    let [_, of_stand_ins] = better::accuracies(rows.iter());
    let margin = bounds.category_margin;
    let ending = Ending::passed_if(accuracy >= of_stand_ins - margin);
    let said = match ending {
        Ending::Passed => "came out like",
        _ => "is worse than",
    };
    let words = format!(
        "the router itself, which learnt from these rows as well, {said} those that were judged in its place: {:.1} % right \
         beside {:.1} %",
        100.0 * accuracy,
        100.0 * of_stand_ins
    );
    let check = Check::new(Subject::Itself, ending, -margin, words);
    Some(check.with_figures([of_stand_ins, accuracy]))
}
