//! How alike two questions must be to be about the same: validated on labelled ones. Pure.

use crate::{ids::CategoryId, instruction::memory::cosine, risk::misroute_upper};

/// Cosines that are tried, the strictest first.
const TRIED: [f32; 6] = [0.99, 0.98, 0.97, 0.96, 0.95, 0.94];

/// Of pairs that are that alike, at most this share may be about different things, with the confidence of [`LEVEL`].
const DIFFERENT_MAX: f64 = 0.01;
const LEVEL: f64 = 0.95;

/// The least cosine at which two questions can be taken for one; none where too few pairs are alike to tell. `questions` are
/// vectors of length 1 with their labels, no two the same.
///
/// Each question gives one pair, with the one that is nearest to it, so that a crowd of copies does not count as many; and the
/// level is shared out over all cosines that are tried.
pub fn near_min(questions: &[(Vec<f32>, CategoryId)]) -> Option<f32> {
    let nearest = |at: usize| {
        let (vector, label) = &questions[at];
        let others = questions
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != at);
        let pairs = others.map(|(_, (other, of))| (cosine(vector, other), of != label));
        pairs.max_by(|a, b| a.0.total_cmp(&b.0))
    };
    let pairs: Vec<(f32, bool)> = (0..questions.len()).filter_map(nearest).collect();
    let level = 1.0 - (1.0 - LEVEL) / TRIED.len() as f64;
    let is_proven = |least: &&f32| {
        let alike = pairs.iter().filter(|(cosine, _)| cosine >= *least);
        let different = alike.clone().filter(|(_, differ)| *differ).count();
        misroute_upper(different, alike.count(), level) <= DIFFERENT_MAX
    };
    TRIED.iter().filter(is_proven).copied().reduce(f32::min)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Questions in pairs that are nearly the same, each pair about something else.
    fn questions(pairs: usize, labels: impl Fn(usize) -> usize) -> Vec<(Vec<f32>, CategoryId)> {
        let question = |at: usize| {
            let mut vector = vec![0.0; pairs];
            vector[at / 2] = 1.0;
            (vector, CategoryId::new(format!("c{}", labels(at))))
        };
        (0..2 * pairs).map(question).collect()
    }

    #[test]
    fn enough_pairs_that_agree_prove_a_cosine() {
        assert_eq!(near_min(&questions(300, |at| at / 2)), Some(0.94));
        assert_eq!(near_min(&questions(200, |at| at / 2)), None, "too few");
    }

    #[test]
    fn pairs_that_disagree_prove_nothing() {
        assert_eq!(near_min(&questions(300, |at| at)), None);
        assert_eq!(near_min(&[]), None);
    }
}
