//! Whether the challenger's confidences can be believed as the champion's can.

use super::{
    Bounds, Check, Ending, Interval, Subject,
    bootstrap::{self, Bootstrap},
    normal,
};

/// Refused if the error exceeds the champion's by more than the margin, and not by chance: the rule of the categories, since
/// a few hundred rows cannot show that an error is within the margin, whatever it is.
///
/// The interval is the normal one with the bootstrap's standard error: a calibration error is greater in a resample than in
/// the rows that it was drawn from, as chance is counted twice, so that its percentiles do not lie around it.
pub(super) fn check(bootstrap: &Bootstrap, bounds: &Bounds) -> Check {
    let errors = bootstrap.observed.ece;
    let difference = bootstrap::difference(errors);
    let standard_error = bootstrap
        .spread(|figures| bootstrap::difference(figures.ece))
        .standard_error();
    let half = normal::quantile(bounds.confidence) * standard_error;
    let interval = Interval {
        low: difference - half,
        high: difference + half,
        confidence: one_sided(bounds.confidence),
    };
    let is_harm = difference > bounds.ece_margin && interval.low > 0.0;
    // Without resamples there is nothing to judge by.
    let ending = Ending::passed_if(standard_error.is_finite() && !is_harm);
    let p_value = if standard_error > 0.0 {
        normal::above(difference / standard_error)
    } else {
        f64::NAN
    };
    let [champion, challenger] = errors;
    let said = match ending {
        Ending::Passed => "not found to be worse than the margin allows",
        _ => "worse than the margin allows",
    };
    let words = format!(
        "the calibration error is {said}: {challenger:.3} beside {champion:.3}, {difference:+.3}, {interval:.3}, at most \
         {:+.3}",
        bounds.ece_margin
    );
    Check::new(Subject::Calibration, ending, bounds.ece_margin, words)
        .with_figures(errors)
        .with_doubt(interval, p_value)
}

/// The level of the two-sided interval whose every end is a one-sided bound of `confidence`.
pub(super) fn one_sided(confidence: f64) -> f64 {
    2.0 * confidence - 1.0
}
