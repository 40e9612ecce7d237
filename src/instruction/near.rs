//! How alike two questions must be to be about the same: validated on labelled ones. Pure.

use crate::{ids::CategoryId, instruction::memory::cosine, risk::misroute_upper};

/// Cosines that are tried, the strictest first.
const TRIED: [f32; 6] = [0.99, 0.98, 0.97, 0.96, 0.95, 0.94];

/// Of pairs that are that alike, at most this share may be about different things, with the confidence of [`LEVEL`].
const DIFFERENT_MAX: f64 = 0.01;
const LEVEL: f64 = 0.95;

/// The least cosine at which two questions can be taken for one; none where too few pairs are alike to tell. `vectors` are of
/// length 1, and one for each label.
pub fn near_min(vectors: &[Vec<f32>], labels: &[CategoryId]) -> Option<f32> {
    let mut pairs: Vec<(f32, bool)> = Vec::new();
    for (at, (first, label)) in vectors.iter().zip(labels).enumerate() {
        for (second, other) in vectors.iter().zip(labels).skip(at + 1) {
            let cosine = cosine(first, second);
            if cosine >= TRIED[TRIED.len() - 1] {
                pairs.push((cosine, label != other));
            }
        }
    }
    let is_proven = |least: &f32| {
        let alike = pairs.iter().filter(|(cosine, _)| cosine >= least);
        let different = alike.clone().filter(|(_, differ)| *differ).count();
        misroute_upper(different, alike.count(), LEVEL) <= DIFFERENT_MAX
    };
    // Few pairs are alike to the last digit, so that the strictest may prove nothing where a looser one does; from there on
    // the first that fails ends it.
    let proven = TRIED.iter().skip_while(|least| !is_proven(least));
    proven.take_while(|least| is_proven(least)).last().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Questions in threes that are nearly the same, each three about something else.
    fn questions(
        threes: usize,
        labels: impl Fn(usize) -> usize,
    ) -> (Vec<Vec<f32>>, Vec<CategoryId>) {
        let width = threes;
        let mut vectors = Vec::new();
        let mut of = Vec::new();
        for at in 0..3 * threes {
            let mut vector = vec![0.0; width];
            vector[at / 3] = 1.0;
            vectors.push(vector);
            of.push(CategoryId::new(format!("c{}", labels(at))));
        }
        (vectors, of)
    }

    #[test]
    fn enough_pairs_that_agree_prove_a_cosine() {
        let (vectors, labels) = questions(120, |at| at / 3);
        assert_eq!(near_min(&vectors, &labels), Some(0.94));
        let (vectors, labels) = questions(60, |at| at / 3);
        assert_eq!(near_min(&vectors, &labels), None, "too few");
    }

    #[test]
    fn pairs_that_disagree_prove_nothing() {
        let (vectors, labels) = questions(200, |at| at);
        assert_eq!(near_min(&vectors, &labels), None);
    }
}
