//! Progress on a terminal; silence where standard error is none.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar of so many steps; whoever made it clears it.
pub fn bar(steps: u64, what: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg} {bar:30} {pos}/{len} {eta}");
    ProgressBar::new(steps)
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        .with_message(what)
}
