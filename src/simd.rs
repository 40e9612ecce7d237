//! Arithmetic over many numbers in forms that compilers turn into vector instructions. Pure.
//!
//! Numbers are added and compared in eight lanes, always the same ones, so that what these functions say hangs on no machine.

/// Numbers that are taken at a time.
const LANES: usize = 8;

/// `eˣ` for `x` ≤ 0: two to a whole power times Cephes' polynomial for the rest (Moshier 1989); wrong by some units in the last
/// place.
#[inline]
pub(crate) fn exp(x: f32) -> f32 {
    /// Adding it rounds to a whole number, which is then in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    /// ln 2 in two parts, so that the difference below is exact.
    const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
    /// Of what is below, e⁻⁸⁷ is told: it is 0 as far as anyone here is concerned, and the power below stays one of normal numbers.
    const X_MIN: f32 = -87.0;
    // What is no number stays none.
    let x = if x < X_MIN { X_MIN } else { x };
    let rounded = x * std::f32::consts::LOG2_E + ROUND;
    let power = rounded - ROUND;
    let rest = x - power * LN_2[0] - power * LN_2[1];
    let polynomial = ((((1.987_569_1e-4 * rest + 1.398_199_9e-3) * rest + 8.333_452e-3) * rest
        + 4.166_579_6e-2)
        * rest
        + 1.666_666_5e-1)
        * rest
        + 0.5;
    let fraction = polynomial * rest * rest + rest + 1.0;
    // A conversion of `power` itself would look for what is no number, one lane after the other.
    fraction * f32::from_bits(rounded.to_bits().wrapping_add(127) << 23)
}

/// The logarithm of the sum of the exponentials.
pub(crate) fn log_sum_exp(numbers: &[f32]) -> f32 {
    let greatest = greatest(numbers);
    let sum = fold(
        numbers,
        0.0,
        |sum, number| sum + exp(number - greatest),
        |a, b| a + b,
    );
    greatest + sum.ln()
}

/// The greatest number; −∞ of none.
pub(crate) fn greatest(numbers: &[f32]) -> f32 {
    let greater = |a: f32, b: f32| if b > a { b } else { a };
    fold(numbers, f32::NEG_INFINITY, greater, greater)
}

/// The sum.
pub(crate) fn sum(numbers: &[f32]) -> f32 {
    fold(numbers, 0.0, |a, b| a + b, |a, b| a + b)
}

/// `take` takes a number into a lane, `join` makes one of two lanes.
fn fold(
    numbers: &[f32],
    start: f32,
    take: impl Fn(f32, f32) -> f32,
    join: impl Fn(f32, f32) -> f32,
) -> f32 {
    let mut lanes = [start; LANES];
    let (eights, rest) = numbers.as_chunks::<LANES>();
    for eight in eights {
        for (lane, number) in lanes.iter_mut().zip(eight) {
            *lane = take(*lane, *number);
        }
    }
    for (lane, number) in lanes.iter_mut().zip(rest) {
        *lane = take(*lane, *number);
    }
    lanes.into_iter().fold(start, join)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exponential_is_right_to_the_last_places() {
        for step in 0..=8700_i16 {
            let x = -f32::from(step) / 100.0;
            let relative = exp(x) / x.exp() - 1.0;
            assert!(relative.abs() < 1e-6, "{x}: {relative}");
        }
        for x in [-88.0, -1e9, f32::NEG_INFINITY] {
            assert!(exp(x).total_cmp(&exp(-87.0)).is_eq(), "{x}");
        }
        assert!(exp(f32::NAN).is_nan());
        assert!((exp(0.0) - 1.0).abs() < f32::EPSILON);
    }

    #[test]
    fn every_number_counts_whatever_their_count() {
        for count in 0..40_u8 {
            // The greatest is in each place once.
            for place in 0..count.max(1) {
                let numbers: Vec<f32> = (0..count)
                    .map(|at| if at == place { 7.0 } else { -f32::from(at) })
                    .collect();
                assert!((sum(&numbers) - numbers.iter().sum::<f32>()).abs() < 1e-3);
                let exponentials = numbers.iter().map(|number| number.exp());
                let expected = exponentials.sum::<f32>().ln();
                assert!(count == 0 || (log_sum_exp(&numbers) - expected).abs() < 1e-5);
                let expected = if count == 0 { f32::NEG_INFINITY } else { 7.0 };
                assert!(greatest(&numbers).total_cmp(&expected).is_eq());
            }
        }
    }
}
