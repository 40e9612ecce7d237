//! The form of a question: what can be counted in its text, and smooth functions of those counts. Pure.
//!
//! How hard a question is shows less in its words than a topic does: in how long it is, how many numbers it has and how
//! large they are, how many choices it offers, whether it denies something.

use std::collections::HashSet;

use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};

/// Bytes of a text that are counted: what a query keeps, and a bound on the work.
const TEXT_BYTES_MAX: usize = 8 * 1024;

/// Signs that are counted, each by itself.
const SIGNS: [char; 12] = ['\\', '$', '^', '=', '(', '[', '+', '*', '/', '%', '?', ','];

/// Words that deny: they turn a question around.
const DENIALS: [&str; 7] = ["not", "except", "never", "no", "none", "least", "false"];

/// Words of amounts, which carry the steps of a calculation.
const AMOUNTS: [&str; 10] = [
    "if", "each", "every", "all", "than", "more", "less", "twice", "half", "per",
];

/// Words of programs.
const PROGRAM: [&str; 5] = ["for", "while", "def", "return", "lambda"];

/// How many measures there are.
pub(super) const MEASURES: usize = WORDS + NUMBERS + LINES + CHOICES + CHARACTERS;

const WORDS: usize = 7;
const NUMBERS: usize = 4;
const LINES: usize = 3;
const CHOICES: usize = 5;
const CHARACTERS: usize = 4 + SIGNS.len();

/// A measure further from the mean than so many deviations is as far.
const DEVIATIONS_MAX: f32 = 4.0;

/// Waves over the measures: more do not tell held-back rows apart any better.
const WAVES: usize = 300;

/// What is read of a text's form: its measures, brought to one scale, and waves over them.
///
/// The waves are random Fourier features (Rahimi and Recht, "Random features for large-scale kernel machines", NIPS 2007):
/// a linear function of them is a smooth function of the measures, about as free as one with a Gaussian kernel.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Form {
    /// Of each measure over the rows that were fitted.
    pub(super) means: Vec<f32>,
    /// See `means`; never 0.
    pub(super) deviations: Vec<f32>,
    /// waves × measures.
    pub(super) frequencies: Vec<f32>,
    /// One a wave.
    pub(super) phases: Vec<f32>,
}

impl Form {
    /// Takes the scale of each measure from some texts, and draws the waves.
    pub(super) fn fit(measures: &[&[f32]], seed: u64) -> Self {
        let rows = measures.len().max(1) as f32;
        let of_each = |at: usize| measures.iter().map(move |row| row[at]);
        let count = measures.first().map_or(0, |row| row.len());
        let means: Vec<f32> = (0..count)
            .map(|at| of_each(at).sum::<f32>() / rows)
            .collect();
        let deviation = |at: usize| {
            let squares = of_each(at).map(|value| (value - means[at]).powi(2));
            (squares.sum::<f32>() / rows).sqrt()
        };
        let deviations = (0..count).map(deviation);
        // A measure that never differs says nothing, whatever it is divided by.
        let deviations = deviations.map(|d| if d > 1e-6 { d } else { 1.0 }).collect();
        let mut random = SmallRng::seed_from_u64(seed);
        Self {
            frequencies: normals(&mut random, WAVES * count),
            phases: (0..WAVES)
                .map(|_| random.random_range(0.0..std::f32::consts::TAU))
                .collect(),
            means,
            deviations,
        }
    }

    /// How many numbers it reads out of a text.
    pub(super) fn dimensions(&self) -> usize {
        self.means.len() + self.phases.len()
    }

    /// The features of a text with these [`measures`]: both kinds have a length of about 1.
    pub(super) fn features(&self, measures: &[f32]) -> Vec<f32> {
        let mut features = Vec::with_capacity(self.dimensions());
        let share = 1.0 / (self.means.len().max(1) as f32).sqrt();
        let scales = self.means.iter().zip(&self.deviations);
        features.extend(
            measures
                .iter()
                .zip(scales)
                .map(|(value, (mean, deviation))| {
                    ((value - mean) / deviation).clamp(-DEVIATIONS_MAX, DEVIATIONS_MAX) * share
                }),
        );
        let height = (2.0 / self.phases.len().max(1) as f32).sqrt();
        for (wave, phase) in self
            .frequencies
            .chunks_exact(self.means.len().max(1))
            .zip(&self.phases)
        {
            let at: f32 = wave.iter().zip(&features).map(|(f, z)| f * z).sum();
            features.push(height * (at + phase).cos());
        }
        features
    }
}

/// Draws whose variance is 2: the frequencies of a Gaussian kernel exp(-‖a - b‖²). (Box and Muller 1958.)
fn normals(random: &mut SmallRng, count: usize) -> Vec<f32> {
    let mut normals = Vec::with_capacity(count + 1);
    while normals.len() < count {
        // Taken from one, so that the logarithm is finite.
        let radius = (-4.0 * (1.0 - random.random::<f32>()).ln()).sqrt();
        let (sine, cosine) = (std::f32::consts::TAU * random.random::<f32>()).sin_cos();
        normals.extend([radius * cosine, radius * sine]);
    }
    normals.truncate(count);
    normals
}

/// What is counted in a text; counts as logarithms, the rest as shares.
pub(super) fn measures(text: &str) -> Vec<f32> {
    let text = &text[..text.floor_char_boundary(TEXT_BYTES_MAX)];
    let mut measures = of_words(text).to_vec();
    measures.extend(of_numbers(text));
    measures.extend(of_lines(text));
    measures.extend(of_choices(text));
    measures.extend(of_characters(text));
    measures
}

fn of_words(text: &str) -> [f32; WORDS] {
    let words: Vec<String> = text
        .split(|c: char| !c.is_alphanumeric() && c != '_')
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect();
    let letters: usize = words.iter().map(String::len).sum();
    let longest = words.iter().map(String::len).max();
    let distinct: HashSet<&str> = words.iter().map(String::as_str).collect();
    let among = |list: &[&str]| {
        damped(
            words
                .iter()
                .filter(|word| list.contains(&word.as_str()))
                .count(),
        )
    };
    [
        damped(words.len()),
        share(letters, words.len()),
        damped(longest.unwrap_or(0)),
        share(distinct.len(), words.len()),
        among(&DENIALS),
        among(&AMOUNTS),
        among(&PROGRAM),
    ]
}

fn of_numbers(text: &str) -> [f32; NUMBERS] {
    let (mut count, mut decimals) = (0, 0);
    let (mut least, mut greatest) = (f32::INFINITY, 0.0_f32);
    for number in numbers(text) {
        count += 1;
        decimals += usize::from(number.contains('.'));
        if let Ok(value) = number.parse::<f32>() {
            least = least.min(value);
            greatest = greatest.max(value);
        }
    }
    let least = if least.is_finite() { least } else { 0.0 };
    let magnitude = |value: f32| value.min(f32::MAX).ln_1p();
    [
        damped(count),
        damped(decimals),
        magnitude(least),
        magnitude(greatest),
    ]
}

/// Digits, with a point among them or not.
fn numbers(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_digit() && c != '.')
        .map(|piece| piece.trim_matches('.'))
        .filter(|piece| !piece.is_empty())
}

fn of_lines(text: &str) -> [f32; LINES] {
    let longest = text.lines().map(str::len).max();
    let ends = |pair: &[u8]| matches!(pair[0], b'.' | b'!' | b'?') && pair[1].is_ascii_whitespace();
    let sentences = text.as_bytes().windows(2).filter(|pair| ends(pair)).count();
    [
        damped(text.lines().count()),
        damped(longest.unwrap_or(0)),
        damped(sentences),
    ]
}

/// Choices are lines that begin like `A.`, `(B)` or `C:`; what stands before the first is what is asked.
fn of_choices(text: &str) -> [f32; CHOICES] {
    let mut before = None;
    let mut lengths = Vec::new();
    let mut with_numbers = 0;
    for line in text.lines() {
        let Some(choice) = choice(line) else {
            continue;
        };
        before.get_or_insert(line.as_ptr().addr() - text.as_ptr().addr());
        lengths.push(choice.len());
        with_numbers += usize::from(numbers(choice).next().is_some());
    }
    [
        damped(before.unwrap_or(text.len())),
        damped(lengths.len()),
        damped(lengths.iter().sum::<usize>() / lengths.len().max(1)),
        damped(lengths.iter().copied().min().unwrap_or(0)),
        share(with_numbers, lengths.len()),
    ]
}

/// What a line offers, if it is a choice.
fn choice(line: &str) -> Option<&str> {
    let line = line.strip_prefix('(').unwrap_or(line);
    let rest = line.strip_prefix(|c: char| c.is_ascii_uppercase())?;
    Some(rest.strip_prefix(['.', ')', ':'])?.trim())
}

fn of_characters(text: &str) -> [f32; CHARACTERS] {
    let mut measures = [0.0; CHARACTERS];
    let (mut digits, mut capitals, mut other, mut all) = (0, 0, 0, 0);
    let mut signs = [0; SIGNS.len()];
    for c in text.chars() {
        all += 1;
        digits += usize::from(c.is_ascii_digit());
        capitals += usize::from(c.is_uppercase());
        other += usize::from(!c.is_alphanumeric() && !c.is_whitespace());
        if let Some(sign) = SIGNS.iter().position(|sign| *sign == c) {
            signs[sign] += 1;
        }
    }
    measures[0] = damped(all);
    measures[1] = share(digits, all);
    measures[2] = share(capitals, all);
    measures[3] = share(other, all);
    for (measure, count) in measures[4..].iter_mut().zip(signs) {
        *measure = damped(count);
    }
    measures
}

#[expect(clippy::cast_precision_loss, reason = "counts within a few kilobytes")]
fn damped(count: usize) -> f32 {
    (count as f32).ln_1p()
}

#[expect(clippy::cast_precision_loss, reason = "counts within a few kilobytes")]
fn share(part: usize, whole: usize) -> f32 {
    part as f32 / whole.max(1) as f32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_counted_is_there() {
        assert_eq!(
            numbers("v1.25 of 3, at 7.").collect::<Vec<_>>(),
            ["1.25", "3", "7"]
        );
        assert_eq!(choice("(B) two apples"), Some("two apples"));
        assert_eq!(choice("C:"), Some(""));
        assert_eq!(choice("Because."), None);
        let [before, choices, length, least, with_numbers] =
            of_choices("Which is not?\nA. 12\nB. twelve\n");
        assert!((before - damped(14)).abs() < 1e-6, "{before}");
        assert!((choices - damped(2)).abs() < 1e-6);
        assert!((length - damped(4)).abs() < 1e-6);
        assert!((least - damped(2)).abs() < 1e-6);
        assert!((with_numbers - 0.5).abs() < 1e-6);
    }

    #[test]
    fn a_harder_form_is_told_from_a_simpler_one() {
        let [simple, hard] = [
            "What is 2 + 2?",
            "If each of 17 cars holds 2450.75 kg, how much is half?",
        ]
        .map(of_numbers);
        assert!(hard[0] == simple[0] && hard[1] > simple[1] && hard[3] > simple[3]);
    }

    #[test]
    fn waves_follow_a_gaussian_kernel() {
        let at = |x: f32| vec![x, -x, 0.5];
        let rows: Vec<Vec<f32>> = (-20_i8..=20).map(|x| at(f32::from(x) / 10.0)).collect();
        let rows_of: Vec<&[f32]> = rows.iter().map(Vec::as_slice).collect();
        let form = Form::fit(&rows_of, 7);
        let (a, b) = (form.features(&rows[18]), form.features(&rows[22]));
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
        let apart: f32 = a[..3]
            .iter()
            .zip(&b[..3])
            .map(|(a, b)| (a - b).powi(2))
            .sum();
        let kernel = dot(&a[3..], &b[3..]);
        assert!((kernel - (-apart).exp()).abs() < 0.15, "{kernel} {apart}");
    }

    proptest! {
        #[test]
        fn any_text_has_finite_features(text in "\\PC{0,80}[0-9.]{0,60}\\PC{0,80}") {
            let rows = [measures(&text), measures("A. 1\nB. 2")];
            let form = Form::fit(&[&rows[0], &rows[1]], 1);
            let features = form.features(&rows[0]);
            prop_assert_eq!(features.len(), form.dimensions());
            prop_assert!(features.iter().all(|x| x.is_finite()));
        }
    }
}
