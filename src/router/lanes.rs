//! What is made of many numbers, eight at a time: one after the other, each would wait for the one before. Pure; the order is the
//! same on every machine, and so are the results.

const LANES: usize = 8;

/// The greatest; minus infinity where there are none.
pub(super) fn greatest(numbers: &[f32]) -> f32 {
    folded(numbers, f32::NEG_INFINITY, f32::max)
}

/// The sum.
pub(super) fn sum(numbers: &[f32]) -> f32 {
    folded(numbers, 0.0, |a, b| a + b)
}

fn folded(numbers: &[f32], nothing: f32, join: impl Fn(f32, f32) -> f32) -> f32 {
    let (eights, rest) = numbers.as_chunks::<LANES>();
    let mut lanes = [nothing; LANES];
    for eight in eights {
        for (lane, number) in lanes.iter_mut().zip(eight) {
            *lane = join(*lane, *number);
        }
    }
    lanes.iter().chain(rest).copied().fold(nothing, join)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_counts_once() {
        for count in [1_u8, 7, 8, 9, 40] {
            let numbers: Vec<f32> = (1..=count).map(f32::from).collect();
            let count = f32::from(count);
            assert!((sum(&numbers) - count * (count + 1.0) / 2.0).abs() < f32::EPSILON);
            for turn in 0..numbers.len() {
                let mut turned: Vec<f32> = numbers.iter().map(|number| -number).collect();
                turned.rotate_left(turn);
                assert!((greatest(&turned) + 1.0).abs() < f32::EPSILON);
            }
        }
        assert!(greatest(&[]).is_infinite() && sum(&[]).abs() < f32::EPSILON);
    }
}
