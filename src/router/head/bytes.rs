//! The weights of dense features for many classes, in bytes: a quarter of what goes through the memory for each question, which is what
//! takes the time.
//!
//! A dimension's weights have one scale, by which the vector's number is multiplied; that is rounded to sixteen bits, so that sums are
//! of whole numbers: the same on every machine, and of two dimensions by one instruction where the processor has AVX2.

use super::quantised::{QUANTUM_MAX, to_byte};

/// Classes that are summed up at a time: as many as sums stay in registers.
const BLOCK: usize = 32;

/// The greatest magnitude of a rounded number of the vector: a product stays below 2²⁰.
const NUMBER_MAX: f32 = 8_191.0;

/// Dimensions whose products' sum is below 2³¹ whatever they are.
pub(super) const DIMENSIONS_MAX: usize = 2_000;

/// Two dimensions' weights of the classes of a block, one class after the other.
type Pair = [i8; 2 * BLOCK];

/// A matrix of dimensions × classes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Bytes {
    /// What one step of each dimension's weights is worth.
    scales: Vec<f32>,
    /// blocks of classes × pairs of dimensions.
    pairs: Vec<Pair>,
}

impl Bytes {
    /// Rounds a matrix of dimensions × `classes`.
    pub(super) fn new(matrix: &[f32], classes: usize) -> Self {
        let rows: Vec<&[f32]> = matrix.chunks_exact(classes).collect();
        let greatest = |row: &[f32]| row.iter().fold(0.0_f32, |most, it| most.max(it.abs()));
        let scales: Vec<f32> = rows.iter().map(|row| greatest(row) / QUANTUM_MAX).collect();
        let byte = |dimension: usize, class: usize| {
            let weight = rows.get(dimension).and_then(|row| row.get(class));
            weight.map_or(0, |weight| match scales[dimension] {
                0.0 => 0,
                scale => to_byte(weight / scale),
            })
        };
        let of_pair = |block: usize, pair: usize| {
            std::array::from_fn(|at| byte(2 * pair + at % 2, BLOCK * block + at / 2))
        };
        let count = rows.len().div_ceil(2);
        let blocks = 0..classes.div_ceil(BLOCK);
        let pairs = blocks.flat_map(|block| (0..count).map(move |pair| (block, pair)));
        Self {
            pairs: pairs.map(|(block, pair)| of_pair(block, pair)).collect(),
            scales,
        }
    }

    /// Adds the product of a vector and the matrix; what is no number counts for nothing.
    pub(super) fn add_product(&self, logits: &mut [f32], vector: &[f32]) {
        let scaled = vector.iter().zip(&self.scales);
        let scaled: Vec<f32> = scaled.map(|(number, scale)| number * scale).collect();
        let greatest = scaled.iter().fold(0.0_f32, |most, it| most.max(it.abs()));
        let step = greatest / NUMBER_MAX;
        if step.is_normal() {
            let whole: Vec<[i16; 2]> = scaled
                .chunks(2)
                .map(|two| {
                    [two[0], two.get(1).copied().unwrap_or(0.0)].map(|it| to_whole(it / step))
                })
                .collect();
            let blocks = self.pairs.chunks_exact(self.scales.len().div_ceil(2));
            add_sums(logits, blocks, &whole, step);
        }
    }
}

fn add_sums<'p>(
    logits: &mut [f32],
    blocks: impl Iterator<Item = &'p [Pair]>,
    vector: &[[i16; 2]],
    step: f32,
) {
    let all = logits.chunks_mut(BLOCK).zip(blocks);
    #[cfg(target_arch = "x86_64")]
    if let Some(simd) = pulp::x86::V3::try_new() {
        pulp::Simd::vectorize(
            simd,
            avx2::Sums {
                simd,
                all,
                vector,
                step,
            },
        );
        return;
    }
    for (logits, pairs) in all {
        add_whole(logits, &sums(pairs, vector), step);
    }
}

/// Of each class of a block, the sum of its products.
fn sums(pairs: &[Pair], vector: &[[i16; 2]]) -> [i32; BLOCK] {
    let mut sums = [0; BLOCK];
    for (weights, [a, b]) in pairs.iter().zip(vector) {
        for (sum, [of_a, of_b]) in sums.iter_mut().zip(weights.as_chunks::<2>().0) {
            *sum += i32::from(*a) * i32::from(*of_a) + i32::from(*b) * i32::from(*of_b);
        }
    }
    sums
}

#[inline(always)]
#[expect(clippy::cast_precision_loss, reason = "a sum of rounded products")]
fn add_whole(logits: &mut [f32], sums: &[i32; BLOCK], step: f32) {
    for (logit, sum) in logits.iter_mut().zip(sums) {
        *logit += step * *sum as f32;
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the step keeps it within sixteen bits"
)]
fn to_whole(number: f32) -> i16 {
    number.round() as i16
}

/// The same sums, eight classes by one instruction.
#[cfg(target_arch = "x86_64")]
mod avx2 {
    use pulp::{Simd, WithSimd, cast, i32x8, x86::V3};

    use super::{BLOCK, Pair, add_whole};

    /// Vectors of eight sums in a block.
    const EIGHTS: usize = BLOCK / 8;

    pub(super) struct Sums<'v, I> {
        pub(super) simd: V3,
        pub(super) all: I,
        pub(super) vector: &'v [[i16; 2]],
        pub(super) step: f32,
    }

    impl<'l, 'p, I: Iterator<Item = (&'l mut [f32], &'p [Pair])>> WithSimd for Sums<'_, I> {
        type Output = ();

        #[inline(always)]
        fn with_simd<S: Simd>(self, _same: S) {
            for (logits, pairs) in self.all {
                let sums = sums(self.simd, pairs, self.vector);
                add_whole(logits, &cast(sums), self.step);
            }
        }
    }

    #[inline(always)]
    fn sums(simd: V3, pairs: &[Pair], vector: &[[i16; 2]]) -> [i32x8; EIGHTS] {
        let mut sums = [simd.splat_i32x8(0); EIGHTS];
        for (weights, numbers) in pairs.iter().zip(vector) {
            let numbers = cast(simd.splat_i32x8(cast(*numbers)));
            for (sum, weights) in sums.iter_mut().zip(weights.as_chunks::<16>().0) {
                let weights = simd.convert_i8x16_to_i16x16(cast(*weights));
                let products = simd.multiply_wrapping_add_adjacent_i16x16(numbers, weights);
                *sum = simd.wrapping_add_i32x8(*sum, products);
            }
        }
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers that differ in sign and size.
    fn numbers(count: usize, salt: usize) -> Vec<f32> {
        let number = |at: usize| ((at * 7_919 + salt * 104_729) % 2_003) as f32 / 1_001.0 - 1.0;
        (0..count).map(number).collect()
    }

    #[test]
    fn the_product_is_right_whatever_the_shape() {
        for (dimensions, classes) in [(1, 300), (2, 257), (7, 320), (256, 1_000)] {
            // Each dimension has a scale of its own, and the vector makes up for it.
            let scale = |dimension: usize| [0.01, 1.0, 0.1, 10.0][dimension % 4];
            let mut matrix = numbers(dimensions * classes, 1);
            for (at, weight) in matrix.iter_mut().enumerate() {
                *weight *= scale(at / classes);
            }
            let vector: Vec<f32> = numbers(dimensions, 2)
                .into_iter()
                .enumerate()
                .map(|(at, number)| number / scale(at))
                .collect();
            let mut logits = vec![0.5; classes];
            Bytes::new(&matrix, classes).add_product(&mut logits, &vector);
            let scaled = vector.iter().enumerate().map(|(at, it)| it * scale(at));
            let length = scaled.map(|it| it * it).sum::<f32>().sqrt();
            for (class, logit) in logits.iter().enumerate() {
                let weights = matrix.iter().skip(class).step_by(classes);
                let exact: f32 = weights.zip(&vector).map(|(weight, it)| weight * it).sum();
                let off = (logit - 0.5 - exact).abs();
                assert!(off < 0.01 * length, "{dimensions} × {classes}: {off}");
            }
        }
    }

    #[test]
    fn a_vector_may_be_shorter_or_longer_or_nothing() {
        let matrix = numbers(5 * 300, 1);
        let bytes = Bytes::new(&matrix, 300);
        let product = |vector: &[f32]| {
            let mut logits = vec![0.0; 300];
            bytes.add_product(&mut logits, vector);
            logits
        };
        let vector = numbers(5, 3);
        assert_eq!(
            product(&[&vector[..], &[9.0; 3]].concat()),
            product(&vector)
        );
        assert_eq!(product(&[vector[0], 0.0, 0.0]), product(&vector[..1]));
        assert_eq!(product(&[]), vec![0.0; 300]);
        assert_eq!(product(&[0.0; 5]), vec![0.0; 300]);
        assert_eq!(product(&[f32::MIN_POSITIVE / 4.0; 5]), vec![0.0; 300]);
    }

    #[test]
    fn the_greatest_sum_fits() {
        let bytes = Bytes::new(&vec![3.0; DIMENSIONS_MAX * 300], 300);
        let mut logits = vec![0.0; 300];
        bytes.add_product(&mut logits, &[1.0; DIMENSIONS_MAX]);
        assert!(logits.iter().all(|logit| (logit - 6_000.0).abs() < 1.0));
    }

    #[test]
    fn the_instruction_gives_what_the_loop_gives() {
        let matrix = numbers(33 * 300, 4);
        let bytes = Bytes::new(&matrix, 300);
        let vector: Vec<[i16; 2]> = (0..17)
            .map(|at| [at * 481 - 8_191, 8_191 - at * 77])
            .collect();
        let mut logits = vec![0.0; 300];
        add_sums(&mut logits, bytes.pairs.chunks_exact(17), &vector, 0.5);
        for (logits, pairs) in logits.chunks(BLOCK).zip(bytes.pairs.chunks_exact(17)) {
            let mut plain = vec![0.0; logits.len()];
            add_whole(&mut plain, &sums(pairs, &vector), 0.5);
            assert_eq!(plain, logits);
        }
    }
}
