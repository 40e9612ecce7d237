//! Amounts as text, by the digits that count: a dollar a question and a millionth of one are told equally well.

/// Digits of an amount that is told.
const DIGITS: u8 = 4;

/// Digits of an amount that serves as a limit.
const LIMIT_DIGITS: u8 = 6;

/// Most decimals that are told: what is smaller is nothing.
const DECIMALS_MAX: u8 = 15;

/// Share of an amount that computing it may have added: no reason to round it up.
const COMPUTED: f64 = 1e-10;

/// An amount to the nearest.
pub(in crate::mapping) fn told(amount: f64) -> String {
    format!("{amount:.*}", decimals(amount, DIGITS))
}

/// An amount that is enough: never rounded down.
pub(in crate::mapping) fn enough(amount: f64) -> String {
    let decimals = decimals(amount, LIMIT_DIGITS);
    let scale = 10_f64.powf(decimals as f64);
    let up = (amount * scale * (1.0 - COMPUTED)).ceil() / scale;
    let text = format!("{up:.decimals$}");
    if decimals == 0 {
        return text;
    }
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// How many decimals show so many digits.
fn decimals(amount: f64, digits: u8) -> usize {
    if amount == 0.0 || !amount.is_finite() {
        return 0;
    }
    let before = amount.abs().log10().floor() + 1.0;
    let enough = |decimals: &u8| f64::from(*decimals) + before >= f64::from(digits);
    (0..=DECIMALS_MAX)
        .find(enough)
        .unwrap_or(DECIMALS_MAX)
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_amounts_keep_their_digits() {
        for (amount, text) in [
            (0.0, "0"),
            (1.5e-7, "0.0000001500"),
            (0.000_123_456, "0.0001235"),
            (0.5, "0.5000"),
            (12.345_6, "12.35"),
            (123_456.0, "123456"),
        ] {
            assert_eq!(told(amount), text);
        }
    }

    #[test]
    fn what_is_told_as_enough_is() {
        for (amount, text) in [
            (28.000_000_000_000_004, "28"),
            (100.0, "100"),
            (7.02, "7.02"),
            (28.0 / 3.0, "9.33334"),
            (1.234_567_1e-6, "0.00000123457"),
            (1.000_000_4e-6, "0.00000100001"),
            (1_234_567.3, "1234568"),
            (0.0, "0"),
        ] {
            assert_eq!(enough(amount), text);
        }
    }
}
