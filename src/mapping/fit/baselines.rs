//! What a mapping is held against: one expert for everything, chance, and an oracle that knows every score beforehand.

use super::{
    outcomes::Outcomes,
    plan::{Frame, Judged},
    tally::Sums,
};

/// Score and cost of a way to choose experts that nothing is fitted for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::mapping) struct Baseline {
    pub(in crate::mapping) score: f64,
    /// Billions of parameters; infinite where some are not known.
    pub(in crate::mapping) active_b: f64,
    /// Dollars a question, where any price is known; infinite where some are not.
    pub(in crate::mapping) usd: Option<f64>,
}

/// The expert that is cheapest: the smallest, else that of the lowest price; of equally cheap ones the better.
pub(in crate::mapping) fn cheapest(frame: &Frame, level: &[f64]) -> usize {
    let usd = |e: usize| frame.pool.usd_of(e).unwrap_or(0.0);
    let key = |e: usize| (frame.pool.params_b[e], usd(e), -level[e]);
    let experts = 0..level.len();
    experts
        .min_by(|&a, &b| {
            let (a, b) = (key(a), key(b));
            a.0.total_cmp(&b.0)
                .then(a.1.total_cmp(&b.1))
                .then(a.2.total_cmp(&b.2))
        })
        .unwrap_or_default()
}

/// One expert for everything.
pub(in crate::mapping) fn single(expert: usize, sums: &Sums, frame: &Frame) -> Baseline {
    let mut judged = Judged::new(frame);
    judged.add(&vec![expert; frame.pool.weights.len()], sums);
    Baseline {
        score: judged.score(),
        active_b: judged.active_b(),
        usd: judged.usd(),
    }
}

/// An expert by chance, each as likely as any other, for every question.
pub(in crate::mapping) fn random(sums: &Sums, frame: &Frame) -> Baseline {
    let mean = |c: usize| {
        let experts = 0..sums.cells.nrows();
        let means: Vec<f64> = experts.filter_map(|e| sums.mean(e, c)).collect();
        (!means.is_empty()).then(|| means.iter().sum::<f64>() / means.len() as f64)
    };
    let params_b = &frame.pool.params_b;
    let usd = frame.pool.usd.as_ref().map(|usd| {
        let of_categories = usd
            .columns()
            .into_iter()
            .map(|of_experts| of_experts.mean());
        weighted(of_categories, frame)
    });
    Baseline {
        score: weighted((0..frame.pool.weights.len()).map(mean), frame),
        active_b: params_b.iter().sum::<f64>() / params_b.len() as f64,
        usd,
    }
}

/// The best of the experts that were tried on each question, of equally good ones the smallest, then that of the lowest price.
pub(in crate::mapping) fn oracle(outcomes: &Outcomes, frame: &Frame) -> Baseline {
    let pool = &frame.pool;
    let usd = |expert: usize, row: usize| {
        let usd = pool.usd.as_ref();
        usd.map_or(0.0, |usd| usd[[expert, outcomes.category(row)]])
    };
    let mut best = vec![(f64::NEG_INFINITY, f64::INFINITY, f64::INFINITY); outcomes.rows()];
    for (expert, &params_b) in pool.params_b.iter().enumerate() {
        for (row, score) in outcomes.scores(expert) {
            let (known, known_b, known_usd) = best[row];
            let usd = usd(expert, row);
            if score > known || score == known && (params_b, usd) < (known_b, known_usd) {
                best[row] = (score, params_b, usd);
            }
        }
    }
    let mut sums = vec![[0.0; 4]; pool.weights.len()];
    for (row, (score, params_b, usd)) in best
        .iter()
        .enumerate()
        .filter(|(_, (score, ..))| score.is_finite())
    {
        let sums = &mut sums[outcomes.category(row)];
        for (sum, of_row) in sums.iter_mut().zip([1.0, *score, *params_b, *usd]) {
            *sum += of_row;
        }
    }
    let mean = |of: usize| {
        let means = sums.iter();
        weighted(
            means.map(|sums| (sums[0] > 0.0).then(|| sums[of] / sums[0])),
            frame,
        )
    };
    Baseline {
        score: mean(1),
        active_b: mean(2),
        usd: pool.usd.as_ref().map(|_| mean(3)),
    }
}

/// The weighted mean over the categories that have one.
fn weighted(means: impl Iterator<Item = Option<f64>>, frame: &Frame) -> f64 {
    let known = means
        .zip(&frame.pool.weights)
        .filter_map(|(mean, weight)| Some((mean?, weight)));
    let (total, sum) = known.fold((0.0, 0.0), |(total, sum), (mean, weight)| {
        (total + weight, sum + weight * mean)
    });
    sum / total
}
