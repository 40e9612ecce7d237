//! Logits → the next token: penalties, temperature, nucleus, and a seeded draw.

use std::collections::HashMap;

use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::chat::Sampling;

/// How freely a model answers that was not told: fluent, yet seldom off the point.
const TEMPERATURE_DEFAULT: f64 = 0.7;

/// Small models put noticeable mass on nonsense; without this cut a draw hits some of it every few sentences.
const TOP_P_DEFAULT: f64 = 0.9;

/// Draws the tokens of one answer.
pub(super) struct Sampler {
    temperature: f64,
    top_p: f64,
    frequency_penalty: f64,
    presence_penalty: f64,
    /// How often each token has occurred in the answer.
    drawn: HashMap<u32, u32>,
    random: StdRng,
}

/// A token and its share of the probability mass, not normalised.
#[derive(Clone, Copy)]
struct Candidate {
    token: u32,
    weight: f64,
}

impl Sampler {
    /// A sampler for one answer; without a seed each answer is another.
    pub(super) fn new(sampling: &Sampling) -> Self {
        let seed = sampling.seed.map_or_else(rand::random, i64::cast_unsigned);
        Self {
            temperature: sampling.temperature.unwrap_or(TEMPERATURE_DEFAULT),
            top_p: sampling.top_p.unwrap_or(TOP_P_DEFAULT),
            frequency_penalty: sampling.frequency_penalty,
            presence_penalty: sampling.presence_penalty,
            drawn: HashMap::new(),
            random: StdRng::seed_from_u64(seed),
        }
    }

    /// Draws a token; `logits` is by token and not empty.
    pub(super) fn draw(&mut self, mut logits: Vec<f32>) -> u32 {
        self.penalise(&mut logits);
        let token = if self.temperature > 0.0 {
            self.draw_from_nucleus(&logits)
        } else {
            likeliest(&logits)
        };
        *self.drawn.entry(token).or_default() += 1;
        token
    }

    /// OpenAI's formula: logit − count × frequency penalty − (count > 0) × presence penalty.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a penalty needs no more precision than the logit that it changes"
    )]
    fn penalise(&self, logits: &mut [f32]) {
        for (token, count) in &self.drawn {
            let penalty = f64::from(*count) * self.frequency_penalty + self.presence_penalty;
            if let Some(logit) = logits.get_mut(*token as usize) {
                *logit -= penalty as f32;
            }
        }
    }

    fn draw_from_nucleus(&mut self, logits: &[f32]) -> u32 {
        let nucleus = self.nucleus(logits);
        let mass: f64 = nucleus.iter().map(|candidate| candidate.weight).sum();
        let mut left = self.random.random::<f64>() * mass;
        for candidate in &nucleus {
            left -= candidate.weight;
            if left < 0.0 {
                return candidate.token;
            }
        }
        nucleus
            .last()
            .map_or_else(|| likeliest(logits), |last| last.token)
    }

    /// The fewest tokens that together hold `top_p` of the mass, likeliest first
    /// (Holtzman et al., arXiv:1904.09751).
    fn nucleus(&self, logits: &[f32]) -> Vec<Candidate> {
        let highest = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        let mut candidates: Vec<Candidate> = (0..)
            .zip(logits)
            .map(|(token, logit)| Candidate {
                token,
                weight: ((f64::from(*logit) - highest) / self.temperature).exp(),
            })
            .collect();
        let mass: f64 = candidates.iter().map(|candidate| candidate.weight).sum();
        // All tokens below this bound together hold less than 1 − top_p, so none of them is needed; what is left to
        // sort is a few tokens instead of a vocabulary.
        let least = mass * (1.0 - self.top_p) / candidates.len() as f64;
        candidates.retain(|candidate| candidate.weight >= least);
        if self.top_p < 1.0 {
            candidates
                .sort_unstable_by(|a, b| b.weight.total_cmp(&a.weight).then(a.token.cmp(&b.token)));
            let mut held = 0.0;
            let needed = candidates.iter().take_while(|candidate| {
                let needed = held < mass * self.top_p;
                held += candidate.weight;
                needed
            });
            let needed = needed.count().max(1);
            candidates.truncate(needed);
        }
        candidates
    }
}

/// The first of the tokens with the highest score.
fn likeliest(logits: &[f32]) -> u32 {
    let best = (0..)
        .zip(logits)
        .reduce(|best, next| if next.1 > best.1 { next } else { best });
    best.map_or(0, |(token, _)| token)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampler(sampling: Sampling) -> Sampler {
        Sampler::new(&sampling)
    }

    fn draws(sampling: &Sampling, logits: &[f32], count: usize) -> Vec<u32> {
        let mut sampler = Sampler::new(sampling);
        (0..count).map(|_| sampler.draw(logits.to_vec())).collect()
    }

    #[test]
    fn temperature_zero_takes_the_likeliest_token() {
        let greedy = Sampling {
            temperature: Some(0.0),
            ..Sampling::default()
        };
        assert_eq!(draws(&greedy, &[0.1, 3.0, 3.0, 2.9], 4), [1; 4]);
    }

    #[test]
    fn the_seed_decides_the_draws() {
        let seeded = |seed| Sampling {
            temperature: Some(1.0),
            top_p: Some(1.0),
            seed: Some(seed),
            ..Sampling::default()
        };
        let logits = [0.0; 64];
        assert_eq!(
            draws(&seeded(1), &logits, 32),
            draws(&seeded(1), &logits, 32)
        );
        assert_ne!(
            draws(&seeded(1), &logits, 32),
            draws(&seeded(-1), &logits, 32)
        );
    }

    #[test]
    fn without_a_seed_answers_differ() {
        let free = Sampling {
            temperature: Some(2.0),
            top_p: Some(1.0),
            ..Sampling::default()
        };
        assert_ne!(draws(&free, &[0.0; 64], 64), draws(&free, &[0.0; 64], 64));
    }

    #[test]
    fn the_nucleus_is_the_fewest_tokens_with_the_mass() {
        // Probabilities 0.5, 0.25, 0.125, 0.125.
        let logits = [0.125_f32.ln(), 0.5_f32.ln(), 0.125_f32.ln(), 0.25_f32.ln()];
        let nucleus = |top_p| {
            let sampler = sampler(Sampling {
                temperature: Some(1.0),
                top_p: Some(top_p),
                ..Sampling::default()
            });
            let candidates = sampler.nucleus(&logits);
            candidates.iter().map(|c| c.token).collect::<Vec<_>>()
        };
        assert_eq!(nucleus(0.0), [1]);
        assert_eq!(nucleus(0.4), [1]);
        assert_eq!(nucleus(0.6), [1, 3]);
        assert_eq!(nucleus(0.8), [1, 3, 0]);
        assert_eq!(nucleus(0.99), [1, 3, 0, 2]);
        assert_eq!(nucleus(1.0), [0, 1, 2, 3]);
    }

    #[test]
    fn draws_follow_the_probabilities() {
        let sampling = Sampling {
            temperature: Some(1.0),
            top_p: Some(1.0),
            seed: Some(7),
            ..Sampling::default()
        };
        let drawn = draws(&sampling, &[0.75_f32.ln(), 0.25_f32.ln()], 2000);
        let share = drawn.iter().filter(|token| **token == 0).count() as f64 / 2000.0;
        assert!((share - 0.75).abs() < 0.04, "{share}");
    }

    #[test]
    fn penalties_push_drawn_tokens_down() {
        let penalised = |frequency_penalty, presence_penalty| Sampling {
            temperature: Some(0.0),
            frequency_penalty,
            presence_penalty,
            ..Sampling::default()
        };
        let logits = [2.0, 1.5, 0.0];
        // Presence counts once: 2.0 − 1.0 < 1.5, then 1.5 − 1.0 < 1.0.
        assert_eq!(draws(&penalised(0.0, 1.0), &logits, 4), [0, 1, 0, 0]);
        // Frequency counts each time: 1.0 | 1.5 → 0.5, then 1.0 → 0.0, then 0.5, then −0.5 at 1 meets 0.0 at 2.
        assert_eq!(draws(&penalised(1.0, 0.0), &logits, 5), [0, 1, 0, 1, 0]);
    }

    #[test]
    fn scores_that_are_no_numbers_do_not_panic() {
        let sampling = Sampling {
            seed: Some(1),
            ..Sampling::default()
        };
        let token = draws(&sampling, &[f32::NAN, f32::NAN], 1)[0];
        assert!(token < 2);
    }
}
