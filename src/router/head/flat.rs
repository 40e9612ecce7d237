//! Many numbers as one vector, with the arithmetic that the optimiser asks for.
//!
//! Its own, because a fit spends most of its time here: argmin's arithmetic on `Vec` runs on one core, and half the width
//! of a number is half the memory to walk through. Sums are grouped the same way on every machine, so that the result
//! does not depend on the number of cores.

use argmin_math::{
    ArgminAdd, ArgminDot, ArgminL1Norm, ArgminL2Norm, ArgminMinMax, ArgminMul, ArgminSignum,
    ArgminSub, ArgminZeroLike,
};
use rayon::prelude::*;

use crate::router::narrow;

/// Numbers that one core works on at a time: enough to be worth handing out, and they fit its cache.
pub(super) const CHUNK: usize = 1 << 15;

/// Partial sums that are kept at once, so that the processor need not wait for one addition to begin the next.
const LANES: usize = 16;

/// Parameters, or their gradient.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Flat(pub(super) Vec<f32>);

impl Flat {
    fn map(&self, of_one: impl Fn(f32) -> f32 + Sync) -> Self {
        let mut result = self.0.clone();
        result.par_chunks_mut(CHUNK).for_each(|chunk| {
            for value in chunk {
                *value = of_one(*value);
            }
        });
        Self(result)
    }

    fn zip(&self, other: &Self, of_two: impl Fn(f32, f32) -> f32 + Sync) -> Self {
        let mut result = self.0.clone();
        let chunks = result.par_chunks_mut(CHUNK).zip(other.0.par_chunks(CHUNK));
        chunks.for_each(|(chunk, other)| {
            for (value, other) in chunk.iter_mut().zip(other) {
                *value = of_two(*value, *other);
            }
        });
        Self(result)
    }

    fn sum(&self, other: &Self, of_two: impl Fn(f32, f32) -> f32 + Sync) -> f64 {
        let chunks = self.0.par_chunks(CHUNK).zip(other.0.par_chunks(CHUNK));
        let sums: Vec<f64> = chunks.map(|(a, b)| sum_of(a, b, &of_two)).collect();
        sums.into_iter().sum()
    }
}

fn sum_of(a: &[f32], b: &[f32], of_two: impl Fn(f32, f32) -> f32) -> f64 {
    let mut lanes = [0.0_f64; LANES];
    for (a, b) in a.chunks(LANES).zip(b.chunks(LANES)) {
        for ((lane, a), b) in lanes.iter_mut().zip(a).zip(b) {
            *lane += f64::from(of_two(*a, *b));
        }
    }
    lanes.into_iter().sum()
}

impl ArgminAdd<Flat, Flat> for Flat {
    fn add(&self, other: &Flat) -> Flat {
        self.zip(other, |a, b| a + b)
    }
}

impl ArgminAdd<f64, Flat> for Flat {
    fn add(&self, other: &f64) -> Flat {
        let other = narrow(*other);
        self.map(|value| value + other)
    }
}

impl ArgminSub<Flat, Flat> for Flat {
    fn sub(&self, other: &Flat) -> Flat {
        self.zip(other, |a, b| a - b)
    }
}

impl ArgminSub<f64, Flat> for Flat {
    fn sub(&self, other: &f64) -> Flat {
        let other = narrow(*other);
        self.map(|value| value - other)
    }
}

impl ArgminMul<Flat, Flat> for Flat {
    fn mul(&self, other: &Flat) -> Flat {
        self.zip(other, |a, b| a * b)
    }
}

impl ArgminMul<f64, Flat> for Flat {
    fn mul(&self, other: &f64) -> Flat {
        let other = narrow(*other);
        self.map(|value| value * other)
    }
}

impl ArgminMul<Flat, Flat> for f64 {
    fn mul(&self, other: &Flat) -> Flat {
        other.mul(self)
    }
}

impl ArgminDot<Flat, f64> for Flat {
    fn dot(&self, other: &Flat) -> f64 {
        self.sum(other, |a, b| a * b)
    }
}

impl ArgminL1Norm<f64> for Flat {
    fn l1_norm(&self) -> f64 {
        self.sum(self, |value, _| value.abs())
    }
}

impl ArgminL2Norm<f64> for Flat {
    fn l2_norm(&self) -> f64 {
        self.sum(self, |value, _| value * value).sqrt()
    }
}

impl ArgminZeroLike for Flat {
    fn zero_like(&self) -> Self {
        Self(vec![0.0; self.0.len()])
    }
}

impl ArgminSignum for Flat {
    fn signum(self) -> Self {
        self.map(f32::signum)
    }
}

impl ArgminMinMax for Flat {
    fn min(x: &Self, y: &Self) -> Self {
        x.zip(y, f32::min)
    }

    fn max(x: &Self, y: &Self) -> Self {
        x.zip(y, f32::max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_is_right_beyond_one_chunk_and_one_lane() {
        let count = CHUNK * 2 + 5;
        let ones = Flat(vec![1.0; count]);
        assert!((ones.dot(&ones) - count as f64).abs() < f64::EPSILON);
        let doubled: Flat = ones.mul(&2.0);
        let sum: Flat = doubled.add(&ones);
        assert!(sum.0.iter().all(|value| (value - 3.0).abs() < f32::EPSILON));
        assert!((doubled.l2_norm() - 2.0 * (count as f64).sqrt()).abs() < 1e-6);
        assert!((sum.l1_norm() - 3.0 * count as f64).abs() < 1e-6);
    }
}
