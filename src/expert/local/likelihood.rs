//! How likely a model finds its own answer: the mean log-probability of its tokens, the sequence's log-probability
//! normalised by its length (Malinin & Gales, arXiv:2002.07650).

/// Follows one answer, the token that ends it included.
#[derive(Default)]
pub(super) struct Likelihood {
    logprob_sum: f64,
    tokens: u32,
}

impl Likelihood {
    /// Takes note of a token drawn; `logits` are the model's own, before temperature and penalties.
    pub(super) fn note(&mut self, logits: &[f32], token: u32) {
        let Some(logit) = logits.get(token as usize) else {
            return;
        };
        let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let mass: f32 = logits.iter().map(|logit| (logit - highest).exp()).sum();
        self.logprob_sum += f64::from(logit - highest - mass.ln());
        self.tokens += 1;
    }

    /// At most 0; none where no token was drawn, or the model's scores are no numbers.
    pub(super) fn mean_logprob(&self) -> Option<f64> {
        let mean = self.logprob_sum / f64::from(self.tokens);
        mean.is_finite().then_some(mean)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_mean_of_the_log_probabilities() {
        let mut likelihood = Likelihood::default();
        assert_eq!(likelihood.mean_logprob(), None);
        // Probabilities 0.5 and 0.25, whatever is added to all logits.
        likelihood.note(&[7.0, 7.0], 1);
        likelihood.note(&[0.0, 3_f32.ln()], 0);
        let expected = f64::midpoint(0.5_f64.ln(), 0.25_f64.ln());
        assert!((likelihood.mean_logprob().unwrap() - expected).abs() < 1e-6);
    }

    #[test]
    fn scores_that_are_no_numbers_have_no_likelihood() {
        let mut likelihood = Likelihood::default();
        likelihood.note(&[f32::NAN, 1.0], 1);
        assert_eq!(likelihood.mean_logprob(), None);
    }
}
