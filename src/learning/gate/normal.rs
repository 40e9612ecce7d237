//! The normal distribution.

use statrs::function::erf::{erfc, erfc_inv};

/// The value that a share `probability` of the distribution lies below; between 0 and 1, neither of them.
pub(super) fn quantile(probability: f64) -> f64 {
    -std::f64::consts::SQRT_2 * erfc_inv(2.0 * probability)
}

/// The share of the distribution that lies above `value`.
pub(super) fn above(value: f64) -> f64 {
    0.5 * erfc(value / std::f64::consts::SQRT_2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_values_are_the_ones_of_the_tables() {
        assert!((quantile(0.975) - 1.959_963_985).abs() < 1e-8);
        assert!((quantile(0.05) + 1.644_853_627).abs() < 1e-8);
        assert!((above(1.959_963_985) - 0.025).abs() < 1e-9);
        assert!((above(-1.0) - 0.841_344_746).abs() < 1e-8);
    }
}
