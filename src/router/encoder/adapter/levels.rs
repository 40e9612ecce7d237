//! The change of a weight in two or four bits a number: levels that are evenly apart, of a scale that each row of the weight has
//! of its own.
//!
//! Pure. That the change of a fine-tuned model can do with few bits is Liu et al. 2024 ("`BitDelta`: Your Fine-Tune May Only Be
//! Worth One Bit"); which scale loses least is found by turns (Lloyd 1982).

use half::f16;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Turns of codes and scale; they hardly move after some.
const TURNS: usize = 8;

/// What the scale begins with, in that of normal numbers: from one beginning the turns may end where it is not best.
const BEGINNINGS: [f32; 4] = [0.5, 0.7, 1.0, 1.4];

/// Bits that a number takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub enum Bits {
    /// Four levels: −3, −1, 1 and 3 times the scale.
    Two,
    /// Sixteen levels: −15 to 15 times the scale.
    Four,
}

impl Bits {
    fn count(self) -> usize {
        match self {
            Self::Two => 2,
            Self::Four => 4,
        }
    }

    fn in_byte(self) -> usize {
        8 / self.count()
    }

    /// The highest code, and the highest level in scales: level = 2 · code − highest.
    fn highest(self) -> u8 {
        match self {
            Self::Two => 3,
            Self::Four => 15,
        }
    }

    /// The scale that loses least of numbers that are normally distributed, in their standard deviations (Max 1960).
    fn scale_of_normal(self) -> f32 {
        match self {
            Self::Two => 0.498,
            Self::Four => 0.1676,
        }
    }

    /// Where in a byte its numbers are, the first in the lowest bits.
    fn places(self) -> impl Iterator<Item = usize> {
        (0..8).step_by(self.count())
    }

    /// The code of the level that is nearest.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a whole number from 0 to the highest; of no scale at all any code will do"
    )]
    fn code(self, number: f32, scale: f32) -> u8 {
        let highest = f32::from(self.highest());
        ((number / scale + highest) / 2.0)
            .round()
            .clamp(0.0, highest) as u8
    }

    fn level(self, code: u8) -> f32 {
        2.0 * f32::from(code) - f32::from(self.highest())
    }
}

impl TryFrom<u8> for Bits {
    type Error = String;

    fn try_from(count: u8) -> Result<Self, String> {
        match count {
            2 => Ok(Self::Two),
            4 => Ok(Self::Four),
            other => Err(format!("{other} bits; a number takes 2 or 4")),
        }
    }
}

impl From<Bits> for u8 {
    fn from(bits: Bits) -> Self {
        match bits {
            Bits::Two => 2,
            Bits::Four => 4,
        }
    }
}

/// A change of out × in numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Levels {
    bits: Bits,
    inputs: usize,
    /// One for each row, of half precision.
    scales: Vec<f32>,
    /// As many codes a byte as fit, the first in the lowest bits.
    codes: Vec<u8>,
}

impl Levels {
    /// The levels that are nearest to a change of `inputs` numbers a row; none unless a row fills its bytes.
    pub fn nearest(bits: Bits, change: &[f32], inputs: usize) -> Option<Self> {
        let rows = change.par_chunks(inputs.max(1));
        let rows = rows.map(|row| nearest_of_row(bits, row));
        let (scales, codes): (Vec<f32>, Vec<Vec<u8>>) = rows.unzip();
        let is_whole =
            inputs.is_multiple_of(bits.in_byte()) && scales.len() * inputs == change.len();
        is_whole.then(|| Self::from_parts(bits, scales, codes.concat()))?
    }

    /// From what a file holds: a scale and as many bytes of codes for each row; none if they do not fit together.
    pub fn from_parts(bits: Bits, scales: Vec<f32>, codes: Vec<u8>) -> Option<Self> {
        let fits = !codes.is_empty() && codes.len().checked_rem(scales.len()) == Some(0);
        let fine = fits && scales.iter().all(|scale| scale.is_finite());
        fine.then(|| Self {
            bits,
            inputs: codes.len() / scales.len() * bits.in_byte(),
            scales,
            codes,
        })
    }

    /// Out and in.
    pub fn shape(&self) -> [usize; 2] {
        [self.scales.len(), self.inputs]
    }

    /// One for each row.
    pub fn scales(&self) -> &[f32] {
        &self.scales
    }

    /// The bytes of all rows.
    pub fn codes(&self) -> &[u8] {
        &self.codes
    }

    /// Adds the change to a weight of its shape.
    pub fn add_to(&self, values: &mut [f32]) {
        let (bits, mask) = (self.bits, self.bits.highest());
        let codes = self.codes.par_chunks(self.inputs / bits.in_byte());
        let rows = values.par_chunks_mut(self.inputs).zip(codes);
        rows.zip(&self.scales).for_each(|((row, codes), scale)| {
            for (values, byte) in row.chunks_mut(bits.in_byte()).zip(codes) {
                for (value, place) in values.iter_mut().zip(bits.places()) {
                    *value += bits.level(byte >> place & mask) * scale;
                }
            }
        });
    }
}

/// The scale and the codes of one row.
#[expect(
    clippy::cast_precision_loss,
    reason = "a row has some thousand numbers"
)]
fn nearest_of_row(bits: Bits, row: &[f32]) -> (f32, Vec<u8>) {
    let mean_square = row.iter().map(|x| x * x).sum::<f32>() / row.len() as f32;
    let normal = bits.scale_of_normal() * mean_square.sqrt();
    let ends = BEGINNINGS.map(|beginning| {
        let scale = (0..TURNS).fold(beginning * normal, |scale, _| scale_for(bits, row, scale));
        f16::from_f32(scale).to_f32()
    });
    let lost = |scale: &f32| -> f32 {
        let lost = row
            .iter()
            .map(|number| number - bits.level(bits.code(*number, *scale)) * scale);
        lost.map(|lost| lost * lost).sum()
    };
    let best = ends
        .into_iter()
        .min_by(|one, other| lost(one).total_cmp(&lost(other)));
    let scale = best.unwrap_or_default();
    let codes = row.chunks(bits.in_byte()).map(|numbers| {
        let codes = numbers.iter().zip(bits.places());
        codes.fold(0, |byte, (number, place)| {
            byte | bits.code(*number, scale) << place
        })
    });
    (scale, codes.collect())
}

/// The scale of least squares for the codes that another scale gives.
fn scale_for(bits: Bits, row: &[f32], scale: f32) -> f32 {
    let (mut product, mut square) = (0.0, 0.0);
    for number in row {
        let level = bits.level(bits.code(*number, scale));
        product += number * level;
        square += level * level;
    }
    product / square
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{SeedableRng as _, rngs::SmallRng};

    use super::*;

    const BOTH: [Bits; 2] = [Bits::Two, Bits::Four];

    fn restored(levels: &Levels) -> Vec<f32> {
        let [outputs, inputs] = levels.shape();
        let mut values = vec![0.0; outputs * inputs];
        levels.add_to(&mut values);
        values
    }

    #[test]
    fn what_has_four_levels_comes_back_as_it_was() {
        let change = [0.75, -0.25, 0.25, -0.75, 1.5, -0.5, 0.5, -1.5];
        let levels = Levels::nearest(Bits::Two, &change, 4).unwrap();
        assert_eq!(levels.scales(), [0.25, 0.5]);
        assert_eq!(levels.codes().len(), 2);
        assert_eq!(restored(&levels), change);
        let mut weight = vec![1.0; 8];
        levels.add_to(&mut weight);
        assert_eq!(weight[..3], [1.75, 0.75, 1.25]);
    }

    #[test]
    fn what_has_sixteen_levels_comes_back_as_it_was() {
        let codes: Vec<u8> = vec![0x10, 0x32, 0x54, 0x76, 0x98, 0xba, 0xdc, 0xfe];
        let levels = Levels::from_parts(Bits::Four, vec![0.25], codes).unwrap();
        let change = restored(&levels);
        assert_eq!(change[..3], [-3.75, -3.25, -2.75]);
        assert_eq!(change[15], 3.75);
        assert_eq!(Levels::nearest(Bits::Four, &change, 16), Some(levels));
    }

    #[test]
    fn of_normal_numbers_little_is_lost() {
        // The sum of twelve even numbers is nearly normal.
        let mut generator = SmallRng::seed_from_u64(3);
        let row: Vec<f32> = (0..4096)
            .map(|_| (0..12).map(|_| generator.random::<f32>()).sum::<f32>() - 6.0)
            .collect();
        // Shares of the square (Max 1960).
        for (bits, share) in [(Bits::Two, 0.119), (Bits::Four, 0.0115)] {
            let restored = restored(&Levels::nearest(bits, &row, 4096).unwrap());
            let lost = row.iter().zip(&restored).map(|(a, b)| (a - b).powi(2));
            let lost = lost.sum::<f32>() / row.iter().map(|a| a * a).sum::<f32>();
            assert!((lost / share - 1.0).abs() < 0.1, "{bits:?}: {lost}");
        }
    }

    #[test]
    fn a_row_that_did_not_change_does_not() {
        for bits in BOTH {
            let levels = Levels::nearest(bits, &[0.0; 8], 4).unwrap();
            assert_eq!(restored(&levels), [0.0; 8]);
        }
    }

    #[test]
    fn parts_that_do_not_fit_together_are_refused() {
        let parts = |scales, codes| Levels::from_parts(Bits::Two, scales, codes);
        assert!(parts(vec![1.0; 2], vec![0; 4]).is_some());
        assert!(parts(vec![1.0; 2], vec![0; 3]).is_none());
        assert!(parts(vec![1.0; 2], vec![]).is_none());
        assert!(parts(vec![], vec![0]).is_none());
        assert!(parts(vec![f32::NAN], vec![0]).is_none());
        let nearest = |inputs| Levels::nearest(Bits::Two, &[0.5; 6], inputs);
        assert!(nearest(3).is_none(), "not by four");
        assert!(nearest(4).is_none(), "half a row");
        assert!(nearest(0).is_none());
        assert!(Bits::try_from(3).unwrap_err().contains("2 or 4"));
    }

    proptest! {
        #[test]
        fn any_change_is_kept_to_finite_numbers(fours in prop::collection::vec(prop::array::uniform4(-10.0_f32..10.0), 1..20)) {
            let change = fours.concat();
            for (bits, inputs) in BOTH.into_iter().flat_map(|bits| [(bits, 4), (bits, change.len())]) {
                let levels = Levels::nearest(bits, &change, inputs).unwrap();
                let lost = |restored: &[f32]| -> f32 {
                    change.iter().zip(restored).map(|(a, b)| (a - b).powi(2)).sum()
                };
                let of_nothing = lost(&vec![0.0; change.len()]);
                prop_assert!(lost(&restored(&levels)) <= of_nothing * 1.001 + 1e-3);
                let again = Levels::from_parts(bits, levels.scales().to_vec(), levels.codes().to_vec());
                prop_assert_eq!(again, Some(levels));
            }
        }
    }
}
