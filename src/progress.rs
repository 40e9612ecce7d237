//! Progress on a terminal; silence where standard error is none.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// What a bar looks like.
const TEMPLATE: &str = "{msg} {bar:30} {pos}/{len} {eta}";

/// What a wait looks like.
const WAIT_TEMPLATE: &str = "{spinner} {msg} {elapsed}";

/// A bar of so many steps; whoever made it clears it.
pub fn bar(steps: u64, what: &'static str) -> ProgressBar {
    let style =
        ProgressStyle::with_template(TEMPLATE).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(steps).with_style(style).with_message(what)
}

/// How often a wait is drawn anew.
const TICK: Duration = Duration::from_millis(200);

/// A wait of unknown length, with the time since it began; whoever made it clears it.
pub fn wait(what: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template(WAIT_TEMPLATE);
    let style = style.unwrap_or_else(|_| ProgressStyle::default_spinner());
    let wait = ProgressBar::new_spinner()
        .with_style(style)
        .with_message(what);
    wait.enable_steady_tick(TICK);
    wait
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_templates_are_valid() {
        for template in [TEMPLATE, WAIT_TEMPLATE] {
            assert!(ProgressStyle::with_template(template).is_ok());
        }
    }
}
