//! Many numbers as one vector, with the arithmetic that the optimiser asks for.
//!
//! Its own, because a fit spends most of its time here: argmin's arithmetic on `Vec` runs on one core, and half the width
//! of a number is half the memory to walk through. argmin copies vectors freely and multiplies them before it adds them, so that here a
//! copy shares its numbers, and a multiple is written down only as part of what it is added to. Sums are grouped the same way on every
//! machine, so that the result does not depend on the number of cores.

use std::{borrow::Cow, sync::Arc};

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

/// Parameters, or their gradient: numbers times a factor.
#[derive(Clone, Debug)]
pub(super) struct Flat {
    unscaled: Arc<Vec<f32>>,
    factor: f32,
}

impl PartialEq for Flat {
    fn eq(&self, other: &Self) -> bool {
        let is_shared = Arc::ptr_eq(&self.unscaled, &other.unscaled) && self.factor == other.factor;
        is_shared || self.numbers() == other.numbers()
    }
}

impl Flat {
    pub(super) fn new(numbers: Vec<f32>) -> Self {
        Self {
            unscaled: Arc::new(numbers),
            factor: 1.0,
        }
    }

    pub(super) fn numbers(&self) -> Cow<'_, [f32]> {
        if self.factor == 1.0 {
            Cow::Borrowed(&self.unscaled)
        } else {
            Cow::Owned(self.map(|number| number).into_numbers())
        }
    }

    pub(super) fn into_numbers(self) -> Vec<f32> {
        if self.factor == 1.0 {
            Arc::unwrap_or_clone(self.unscaled)
        } else {
            self.map(|number| number).into_numbers()
        }
    }

    fn map(&self, of_one: impl Fn(f32) -> f32 + Sync) -> Self {
        let mut result = vec![0.0; self.unscaled.len()];
        let chunks = result
            .par_chunks_mut(CHUNK)
            .zip(self.unscaled.par_chunks(CHUNK));
        chunks.for_each(|(result, numbers)| {
            for (result, number) in result.iter_mut().zip(numbers) {
                *result = of_one(self.factor * number);
            }
        });
        Self::new(result)
    }

    fn zip(&self, other: &Self, of_two: impl Fn(f32, f32) -> f32 + Sync) -> Self {
        let mut result = vec![0.0; self.unscaled.len()];
        let both = self.unscaled.par_chunks(CHUNK);
        let both = both.zip(other.unscaled.par_chunks(CHUNK));
        let chunks = result.par_chunks_mut(CHUNK).zip(both);
        chunks.for_each(|(result, (a, b))| {
            for (result, (a, b)) in result.iter_mut().zip(a.iter().zip(b)) {
                *result = of_two(self.factor * a, other.factor * b);
            }
        });
        Self::new(result)
    }

    fn sum(&self, other: &Self, of_two: impl Fn(f32, f32) -> f32 + Sync) -> f64 {
        let of_two = |a: f32, b: f32| of_two(self.factor * a, other.factor * b);
        let chunks = self.unscaled.par_chunks(CHUNK);
        let chunks = chunks.zip(other.unscaled.par_chunks(CHUNK));
        let sums: Vec<f64> = chunks.map(|(a, b)| sum_of(a, b, of_two)).collect();
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
        // A sign costs no digit; two other factors in one would round otherwise than one after the other.
        let is_exact = self.factor.abs() == 1.0 || other.abs() == 1.0;
        let (of, factor) = if is_exact {
            (self.clone(), self.factor * other)
        } else {
            (self.map(|number| number), other)
        };
        Self { factor, ..of }
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
        Self::new(vec![0.0; self.unscaled.len()])
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
        let ones = Flat::new(vec![1.0; count]);
        assert!((ones.dot(&ones) - count as f64).abs() < f64::EPSILON);
        let doubled: Flat = ones.mul(&2.0);
        let sum: Flat = doubled.add(&ones);
        assert!(
            sum.numbers()
                .iter()
                .all(|value| (value - 3.0).abs() < f32::EPSILON)
        );
        assert!((doubled.l2_norm() - 2.0 * (count as f64).sqrt()).abs() < 1e-6);
        assert!((sum.l1_norm() - 3.0 * count as f64).abs() < 1e-6);
    }

    #[test]
    fn a_multiple_is_as_if_it_had_been_written_down() {
        let numbers =
            |seed: f32| -> Vec<f32> { (0..99).map(|at| (at as f32 * seed).sin()).collect() };
        let (a, b) = (numbers(0.7), numbers(1.3));
        let twice = |number: &f32| number * 0.3 * 0.7;
        let written = Flat::new(b.iter().map(twice).collect());
        let multiple: Flat = Flat::new(b).mul(&0.3);
        let multiple: Flat = multiple.mul(&0.7);
        assert_eq!(multiple, written);
        let a = Flat::new(a);
        assert_eq!(a.sub(&multiple), a.sub(&written));
        assert_eq!(a.dot(&multiple).to_bits(), a.dot(&written).to_bits());
        let opposite: Flat = multiple.mul(&-1.0);
        assert_eq!(a.add(&opposite), a.sub(&written));
        assert_eq!(multiple.into_numbers(), written.into_numbers());
    }
}
