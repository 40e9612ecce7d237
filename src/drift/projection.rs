//! A question's vector, seen from a few directions.

use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};

/// Directions that are looked from: enough to tell what resembles what.
pub const SKETCH: usize = 64;

/// The projections of a vector on [`SKETCH`] random ones of plus and minus one, divided by the root of its length.
///
/// Random signs keep distances (Achlioptas, "Database-friendly random projections", 2003), so that a change of the mean shows
/// in most of the directions, without a fit. The same seed gives the same directions.
pub fn project(vector: &[f32], seed: u64) -> [f32; SKETCH] {
    let scale = (vector.len().max(1) as f32).sqrt().recip();
    let mut random = SmallRng::seed_from_u64(seed);
    let mut sums = [0.0; SKETCH];
    for number in vector {
        let signs: u64 = random.random();
        add_signed(&mut sums, *number, signs);
    }
    sums.map(|sum| sum * scale)
}

/// Adds a number, or its negative where the bit of `signs` is not set; eight directions at a time, with bits that do not move.
fn add_signed(sums: &mut [f32; SKETCH], number: f32, signs: u64) {
    const BITS: [u32; 8] = [1, 2, 4, 8, 16, 32, 64, 128];
    let (eights, _) = sums.as_chunks_mut::<8>();
    for (sums, signs) in eights.iter_mut().zip(signs.to_le_bytes()) {
        for (sum, bit) in sums.iter_mut().zip(BITS) {
            let flip = u32::from(u32::from(signs) & bit == 0) << 31;
            *sum += f32::from_bits(number.to_bits() ^ flip);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directions_repeat_and_differ() {
        let vector: Vec<f32> = (0..256).map(|at| (at as f32).sin()).collect();
        let seen = project(&vector, 1);
        assert_eq!(seen, project(&vector, 1));
        assert_ne!(seen, project(&vector, 2));
        assert!(seen.windows(2).all(|pair| pair[0] != pair[1]));
    }

    #[test]
    fn each_bit_is_the_sign_of_one_direction() {
        let signs = 0x8000_0001_0000_0002;
        let mut sums = [1.0; SKETCH];
        add_signed(&mut sums, 2.5, signs);
        for (at, sum) in sums.into_iter().enumerate() {
            let expected = if signs >> at & 1 == 1 { 3.5 } else { -1.5 };
            assert_eq!(sum, expected, "{at}");
        }
    }

    #[test]
    fn a_moved_mean_moves_the_projections_by_as_much() {
        let moved: Vec<f32> = (0..256).map(|at| 0.1 + 0.01 * (at as f32).cos()).collect();
        let spread: f32 = (0..20)
            .flat_map(|seed| project(&moved, seed))
            .map(|number| number * number)
            .sum();
        let mean = spread / (20.0 * SKETCH as f32);
        assert!((mean - 0.1 * 0.1).abs() < 0.002, "{mean}");
    }
}
