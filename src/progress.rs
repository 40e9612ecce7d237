//! Progress on a terminal; silence where standard error is none.

use indicatif::{ProgressBar, ProgressStyle};

/// What a bar looks like.
const TEMPLATE: &str = "{msg} {bar:30} {pos}/{len} {eta}";

/// A bar of so many steps; whoever made it clears it.
pub fn bar(steps: u64, what: &'static str) -> ProgressBar {
    let style =
        ProgressStyle::with_template(TEMPLATE).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(steps).with_style(style).with_message(what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_is_valid() {
        assert!(ProgressStyle::with_template(TEMPLATE).is_ok());
    }
}
