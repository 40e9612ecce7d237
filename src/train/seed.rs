//! All randomness of a training run, derived from one seed: a stream for each purpose, so that a run which was cut goes
//! on with the numbers that it would have drawn.

use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};

/// The root of one stream of random numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seed(u64);

impl Seed {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The seed of stream `number` of `purpose`.
    pub(crate) fn stream(self, purpose: &str, number: u64) -> Self {
        let root = purpose
            .bytes()
            .fold(mix(self.0), |state, byte| mix(state ^ u64::from(byte)));
        Self(mix(root ^ mix(number)))
    }

    pub(crate) fn generator(self) -> SmallRng {
        SmallRng::seed_from_u64(self.0)
    }

    pub(crate) fn value(self) -> u64 {
        self.0
    }
}

/// `SplitMix64`'s next number after `state` (Steele, Lea and Flood 2014): a bijection that scatters neighbours.
pub(crate) fn mix(state: u64) -> u64 {
    let mut z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// `count` draws from the normal distribution around zero (Box and Muller 1958).
pub(crate) fn normals(seed: Seed, count: usize, deviation: f32) -> Vec<f32> {
    let mut generator = seed.generator();
    let mut normals = Vec::with_capacity(count + 1);
    while normals.len() < count {
        // Taken from one, so that the logarithm is finite.
        let radius = (-2.0 * (1.0 - generator.random::<f32>()).ln()).sqrt() * deviation;
        let (sine, cosine) = (std::f32::consts::TAU * generator.random::<f32>()).sin_cos();
        normals.extend([radius * cosine, radius * sine]);
    }
    normals.truncate(count);
    normals
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_differ_by_seed_purpose_and_number_and_repeat() {
        let root = Seed::new(7);
        let stream = root.stream("shuffle", 3);
        assert_eq!(stream, Seed::new(7).stream("shuffle", 3));
        for other in [
            root.stream("shuffle", 4),
            root.stream("dropout", 3),
            Seed::new(8).stream("shuffle", 3),
        ] {
            assert_ne!(stream, other);
        }
    }

    #[test]
    fn normals_have_the_deviation_asked_for() {
        let draws = normals(Seed::new(1), 20_001, 0.5);
        assert_eq!(draws.len(), 20_001);
        let mean = draws.iter().sum::<f32>() / 20_001.0;
        let variance = draws.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / 20_001.0;
        assert!(mean.abs() < 0.02, "{mean}");
        assert!((variance.sqrt() - 0.5).abs() < 0.02, "{variance}");
    }
}
