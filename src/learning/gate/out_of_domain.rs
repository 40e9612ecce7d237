//! Whether the challenger still finds strange what no category covers.

use super::{
    Bounds, Check, Ending, Subject,
    bootstrap::{self, Bootstrap},
    calibration::one_sided,
    sample::Sample,
};
use crate::ids::OUT_OF_DOMAIN;

/// Refused if the area under the ROC curve is smaller than the champion's by more than the margin, and not by chance: by the
/// percentiles of the paired bootstrap.
pub(super) fn check(sample: &Sample<'_>, bootstrap: &Bootstrap, bounds: &Bounds) -> Check {
    let rows = sample.rows();
    let strange = rows
        .iter()
        .filter(|row| row.label.as_str() == OUT_OF_DOMAIN)
        .count();
    let known = rows.len() - strange;
    if strange.min(known) < bounds.ood_rows_min.max(1) {
        let words = format!(
            "out of domain not judged: {strange} rows out of domain and {known} others, {} of both are needed",
            bounds.ood_rows_min.max(1)
        );
        return Check::new(
            Subject::OutOfDomain,
            Ending::Skipped,
            -bounds.ood_margin,
            words,
        );
    }
    let areas = bootstrap.observed.ood_auroc;
    let spread = bootstrap.spread(|figures| bootstrap::difference(figures.ood_auroc));
    let interval = spread.interval(one_sided(bounds.confidence));
    let difference = bootstrap::difference(areas);
    let is_harm = difference < -bounds.ood_margin && interval.high < 0.0;
    // Without resamples there is nothing to judge by.
    let ending = Ending::passed_if(interval.low.is_finite() && !is_harm);
    let [champion, challenger] = areas;
    let said = match ending {
        Ending::Passed => "not found to be worse than the margin allows",
        _ => "worse than the margin allows",
    };
    let words = format!(
        "the area under the ROC curve of the out-of-domain score is {said}: {challenger:.3} beside {champion:.3}, {:+.3}, \
         {interval:.3}, at least {:+.3}",
        challenger - champion,
        -bounds.ood_margin
    );
    Check::new(Subject::OutOfDomain, ending, -bounds.ood_margin, words)
        .with_figures(areas)
        .with_doubt(interval, 1.0 - spread.p_of_at_most(0.0))
}
