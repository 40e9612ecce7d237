//! Unlabelled questions that a model takes for ones of a category that is new. Pure.
//!
//! What was asked before a category was there could not be labelled as of it, by nobody, so that all that is known of the category is
//! what was refused and lay close together; what lay apart, or was taken for something else, is missing. A model that has learnt the
//! former finds much of the latter: self-training (Yarowsky, "Unsupervised word sense disambiguation rivaling supervised methods", ACL
//! 1995), for these categories alone: of the others labels come by themselves.

use ndarray::ArrayView2;

/// The class must be likelier than all others together.
const PROBABILITY_MIN: f32 = 0.5;

/// The class of each row that a model takes for one of `may_be`, the surest of each class, and no more of these than the
/// class has rows whose questions were accepted; in order of the rows.
///
/// `probabilities`: rows × classes; `sizes`: how many rows of each class were accepted.
pub(super) fn guesses(
    probabilities: ArrayView2<'_, f32>,
    may_be: &[usize],
    sizes: &[usize],
) -> Vec<(usize, usize)> {
    let mut guesses = Vec::new();
    for class in may_be {
        let of_class = probabilities.column(*class);
        let mut rows: Vec<usize> = (0..of_class.len())
            .filter(|row| of_class[*row] > PROBABILITY_MIN)
            .collect();
        rows.sort_by(|a, b| of_class[*b].total_cmp(&of_class[*a]));
        rows.truncate(sizes[*class]);
        guesses.extend(rows.into_iter().map(|row| (row, *class)));
    }
    guesses.sort_unstable();
    guesses
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn what_is_likelier_than_all_else_is_guessed_of_new_categories_alone() {
        let said = array![
            [0.9, 0.05, 0.05],
            [0.1, 0.6, 0.3],
            [0.3, 0.45, 0.25],
            [0.05, 0.05, 0.9],
        ];
        assert_eq!(guesses(said.view(), &[1], &[9, 9, 9]), [(1, 1)]);
        assert_eq!(guesses(said.view(), &[2, 1], &[9, 9, 9]), [(1, 1), (3, 2)]);
        assert!(guesses(said.view(), &[], &[9, 9, 9]).is_empty());
    }

    #[test]
    fn no_more_are_guessed_than_were_accepted_and_these_are_the_surest() {
        let said = array![[0.4, 0.6], [0.1, 0.9], [0.2, 0.8], [0.3, 0.7]];
        assert_eq!(guesses(said.view(), &[1], &[5, 2]), [(1, 1), (2, 1)]);
        assert!(guesses(said.view(), &[1], &[5, 0]).is_empty());
    }
}
