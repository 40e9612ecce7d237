//! A first assignment, for the search to beat.

use super::Search;

/// What answering a category is worth where nobody does: more than any improvement elsewhere.
const ANSWERED: f64 = 1e3;

/// The least size that gains are divided by, in billions of parameters.
const SIZE_MIN_B: f64 = 1e-3;

impl Search<'_> {
    /// A first assignment: experts are added as long as one helps, the most helpful for its size first; then each is
    /// swapped for another as long as that helps.
    pub(super) fn greedy(&mut self, experts: &[usize]) {
        for by_size in [false, true] {
            let mut open: Vec<usize> = Vec::new();
            let mut reached = vec![f64::NEG_INFINITY; self.problem.weights.len()];
            loop {
                let room = self.room(&open);
                let adds = |e: usize| -> f64 {
                    let pairs = self.priced[e].iter().zip(&reached);
                    // Where nobody answers yet, anyone is worth more than all improvements.
                    let gain = |(gain, reached): (&f64, &f64)| match (
                        gain.is_finite(),
                        reached.is_finite(),
                    ) {
                        (false, _) => 0.0,
                        (true, false) => ANSWERED + gain,
                        (true, true) => (gain - reached).max(0.0),
                    };
                    let gain: f64 = pairs.map(gain).sum();
                    if by_size {
                        gain / self.problem.params_b[e].max(SIZE_MIN_B)
                    } else {
                        gain
                    }
                };
                let candidates = experts
                    .iter()
                    .copied()
                    .filter(|e| !open.contains(e) && room.holds(self.problem, *e));
                let best = candidates
                    .map(|e| (e, adds(e)))
                    .reduce(|a, b| if b.1 > a.1 { b } else { a });
                let Some((expert, _)) = best.filter(|(_, gain)| *gain > 0.0) else {
                    break;
                };
                open.push(expert);
                for (reached, gain) in reached.iter_mut().zip(&self.priced[expert]) {
                    *reached = reached.max(*gain);
                }
            }
            self.try_experts(&open);
            self.swap(open, experts);
        }
    }

    fn swap(&mut self, mut open: Vec<usize>, experts: &[usize]) {
        let mut now = self.priced_worth(&open);
        loop {
            let mut best: Option<(f64, Vec<usize>)> = None;
            for at in 0..open.len() {
                let mut without = open.clone();
                without.swap_remove(at);
                let room = self.room(&without);
                for e in experts
                    .iter()
                    .copied()
                    .filter(|e| !open.contains(e) && room.holds(self.problem, *e))
                {
                    let mut changed = without.clone();
                    changed.push(e);
                    let value = self.priced_worth(&changed);
                    if value > best.as_ref().map_or(now, |best| best.0) + self.gap_max {
                        best = Some((value, changed));
                    }
                }
            }
            let Some((value, changed)) = best else { break };
            (now, open) = (value, changed);
        }
        self.try_experts(&open);
    }
}
