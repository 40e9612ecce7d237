//! With which probability each expert is the best: ∫ fⱼ ∏ Fᵢ over all mean rewards, where i runs over the others; which is
//! ∫ (fⱼ / Fⱼ) ∏ Fᵢ where it runs over all, so that the product is formed once.

use super::posterior::{NODES, Posterior};

/// How probable it is of each that its mean reward is the largest; the probabilities add up to 1.
///
/// Within a bin every distribution is taken to be even: means closer than a bin's width are as good as equal.
pub(super) fn best(posteriors: &[&Posterior]) -> Vec<f64> {
    let mut all_below = [1.0; NODES];
    for posterior in posteriors {
        for (all, below) in all_below.iter_mut().zip(posterior.below()) {
            *all *= below;
        }
    }
    let is_best = |posterior: &&Posterior| -> f64 {
        let nodes = posterior.arriving().iter().zip(&all_below);
        nodes.map(|(arriving, all)| arriving * all).sum()
    };
    let best: Vec<f64> = posteriors.iter().map(is_best).collect();
    let sum: f64 = best.iter().sum();
    let even = 1.0 / best.len() as f64;
    best.iter()
        .map(|best| if sum > 0.0 { best / sum } else { even })
        .collect()
}
