//! What tuning makes small.

use candle_core::{D, Device, Result, Tensor};
use candle_nn::ops::log_softmax;

/// Share of the target that is spread over all classes: labels are now and then wrong.
const SMOOTHING: f32 = 0.05;

/// How much the contrastive term counts beside the cross-entropy.
const CONTRASTIVE_WEIGHT: f64 = 0.5;

/// How much it counts that two readings of a batch disagree.
const AGREEMENT_WEIGHT: f64 = 1.0;

/// Of the similarities in the contrastive term.
const TEMPERATURE: f64 = 0.1;

/// What takes a text out of a softmax: its exponential is 0 beside any similarity.
const EXCLUDED: f32 = -1e9;

/// The loss of rows of these `classes`, which are there once, or twice, one reading of all of them behind the other. `logits`: readings
/// × classes; `vectors`: readings × hidden, of length 1.
///
/// Two readings with other dropout shall say the same (R-Drop; Liang et al. 2021, "Regularized Dropout for Neural
/// Networks").
pub(super) fn loss(logits: &Tensor, vectors: &Tensor, classes: &[u32]) -> Result<Tensor> {
    let rows = classes.len();
    if logits.dim(0)? == rows {
        return of_reading(logits, vectors, classes);
    }
    let reading = |all: &Tensor, number: usize| all.narrow(0, number * rows, rows);
    let (first, second) = (reading(logits, 0)?, reading(logits, 1)?);
    let losses = of_reading(&first, &reading(vectors, 0)?, classes)?
        + of_reading(&second, &reading(vectors, 1)?, classes)?;
    let disagreement = disagreement(&first, &second)?.affine(AGREEMENT_WEIGHT, 0.0)?;
    losses?.affine(0.5, 0.0)? + disagreement
}

/// The mean, over the rows and both ways, of the divergence of Kullback and Leibler between what two readings say.
fn disagreement(first: &Tensor, second: &Tensor) -> Result<Tensor> {
    let rows = first.dim(0)?;
    let (first, second) = (
        log_softmax(first, D::Minus1)?,
        log_softmax(second, D::Minus1)?,
    );
    let apart = ((first.exp()? - second.exp()?)? * (first - second)?)?;
    apart.sum_all()?.affine(0.5 / rows as f64, 0.0)
}

/// Cross-entropy and the contrastive term of one reading.
fn of_reading(logits: &Tensor, vectors: &Tensor, classes: &[u32]) -> Result<Tensor> {
    let entropy = cross_entropy(logits, classes)?;
    match contrastive(vectors, classes)? {
        Some(contrastive) => entropy + contrastive.affine(CONTRASTIVE_WEIGHT, 0.0)?,
        None => Ok(entropy),
    }
}

/// With label smoothing (Szegedy et al. 2016).
#[expect(clippy::cast_precision_loss, reason = "few rows and classes")]
fn cross_entropy(logits: &Tensor, classes: &[u32]) -> Result<Tensor> {
    let (rows, count) = logits.dims2()?;
    let mut targets = vec![SMOOTHING / count as f32; rows * count];
    for (row, class) in targets.chunks_mut(count).zip(classes) {
        row[*class as usize] += 1.0 - SMOOTHING;
    }
    let targets = Tensor::from_vec(targets, (rows, count), logits.device())?;
    let surprise = (log_softmax(logits, D::Minus1)? * targets)?.sum_all()?;
    surprise.affine(-1.0 / rows as f64, 0.0)
}

/// Supervised contrastive loss (Khosla et al. 2020, the sum outside the logarithm): the mean over the rows that have
/// another of their class. None where no row has.
fn contrastive(vectors: &Tensor, classes: &[u32]) -> Result<Option<Tensor>> {
    let Some(pairs) = Pairs::of(classes, vectors.device())? else {
        return Ok(None);
    };
    let similarities = vectors.matmul(&vectors.t()?)?;
    let similarities = (similarities.affine(1.0 / TEMPERATURE, 0.0)? + pairs.not_itself)?;
    let surprise = (log_softmax(&similarities, D::Minus1)? * pairs.shares)?;
    surprise.sum_all()?.neg().map(Some)
}

/// Who is compared with whom: rows × rows.
struct Pairs {
    /// [`EXCLUDED`] on the diagonal.
    not_itself: Tensor,
    /// For each row that has partners of its class, their equal shares of its share of the mean.
    shares: Tensor,
}

impl Pairs {
    #[expect(clippy::cast_precision_loss, reason = "few rows")]
    fn of(classes: &[u32], device: &Device) -> Result<Option<Self>> {
        let rows = classes.len();
        let partners = |row: usize| {
            let class = classes[row];
            (0..rows).filter(move |other| *other != row && classes[*other] == class)
        };
        let with_partners = (0..rows).filter(|row| partners(*row).next().is_some());
        let with_partners = with_partners.count();
        if with_partners == 0 {
            return Ok(None);
        }
        let mut shares = vec![0.0_f32; rows * rows];
        let mut not_itself = vec![0.0_f32; rows * rows];
        for row in 0..rows {
            not_itself[row * rows + row] = EXCLUDED;
            let share = 1.0 / (with_partners * partners(row).count().max(1)) as f32;
            for partner in partners(row) {
                shares[row * rows + partner] = share;
            }
        }
        Ok(Some(Self {
            not_itself: Tensor::from_vec(not_itself, (rows, rows), device)?,
            shares: Tensor::from_vec(shares, (rows, rows), device)?,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scalar(tensor: &Tensor) -> f32 {
        tensor.to_scalar().unwrap()
    }

    #[test]
    fn cross_entropy_is_what_the_formula_says() {
        let logits = Tensor::new(&[[1.0_f32, 0.0], [0.0, 3.0]], &Device::Cpu).unwrap();
        let log = |x: f32, sum: f32| x - sum.ln();
        let (first, second) = (1.0_f32.exp() + 1.0, 1.0 + 3.0_f32.exp());
        let expected = -(0.975 * log(1.0, first) + 0.025 * log(0.0, first)) / 2.0
            - (0.975 * log(0.0, second) + 0.025 * log(3.0, second)) / 2.0;
        let found = scalar(&cross_entropy(&logits, &[0, 0]).unwrap());
        assert!((found - expected).abs() < 1e-5, "{found} {expected}");
    }

    #[test]
    fn the_contrastive_term_is_what_the_formula_says() {
        let vectors = [[1.0_f32, 0.0], [0.6, 0.8], [0.0, 1.0]];
        let vectors = Tensor::new(&vectors, &Device::Cpu).unwrap();
        // Rows 0 and 1 are partners with the similarity 0.6; row 2 has none.
        let of = |partner: f32, other: f32| {
            let (partner, other) = (partner / 0.1, other / 0.1);
            -(partner - (partner.exp() + other.exp()).ln())
        };
        let expected = f32::midpoint(of(0.6, 0.0), of(0.6, 0.8));
        let found = contrastive(&vectors, &[4, 4, 1]).unwrap().unwrap();
        assert!(
            (scalar(&found) - expected).abs() < 1e-4,
            "{found} {expected}"
        );
    }

    #[test]
    fn readings_that_agree_cost_as_much_as_one_and_others_more() {
        let logits = Tensor::new(&[[1.0_f32, 0.0], [0.0, 3.0]], &Device::Cpu).unwrap();
        let others = Tensor::new(&[[0.0_f32, 1.0], [0.0, 3.0]], &Device::Cpu).unwrap();
        let vectors = Tensor::new(&[[1.0_f32, 0.0], [0.6, 0.8]], &Device::Cpu).unwrap();
        let twice = |first: &Tensor, second: &Tensor| Tensor::cat(&[first, second], 0).unwrap();
        let of = |logits: &Tensor| {
            let vectors = twice(&vectors, &vectors);
            scalar(&loss(logits, &vectors, &[0, 1]).unwrap())
        };
        let once = |logits: &Tensor| scalar(&loss(logits, &vectors, &[0, 1]).unwrap());
        let same = of(&twice(&logits, &logits));
        assert!((same - once(&logits)).abs() < 1e-5);
        // Of two rows one is told apart: σ(1) against σ(-1), whose logarithms differ by 1.
        let sigma = |x: f32| 1.0 / (1.0 + (-x).exp());
        let divergences = 2.0 * (sigma(1.0) - sigma(-1.0));
        let expected = f32::midpoint(once(&logits), once(&others)) + 0.5 * divergences / 2.0;
        let found = of(&twice(&logits, &others));
        assert!((found - expected).abs() < 1e-5, "{found} {expected}");
    }

    #[test]
    fn rows_without_partners_leave_the_cross_entropy_alone() {
        let vectors = Tensor::new(&[[1.0_f32, 0.0], [0.0, 1.0]], &Device::Cpu).unwrap();
        assert!(contrastive(&vectors, &[0, 1]).unwrap().is_none());
        let both = scalar(&loss(&vectors, &vectors, &[0, 1]).unwrap());
        let alone = scalar(&cross_entropy(&vectors, &[0, 1]).unwrap());
        assert!((both - alone).abs() < 1e-7);
    }
}
