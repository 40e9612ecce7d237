//! Whether the challenger is better, by the measure that was chosen.

use super::{
    Bounds, Check, Ending, Interval, Measure, Row, Said, Subject, bootstrap::Bootstrap,
    paired::Pairs, sample::Sample,
};

/// What shows that the challenger is better.
pub(super) fn check(sample: &Sample<'_>, bootstrap: &Bootstrap, bounds: &Bounds) -> Check {
    match bounds.measure {
        Measure::Accuracy => accuracy(sample, bootstrap, bounds),
        Measure::Brier => brier(sample, bootstrap, bounds),
        Measure::Either => either(sample, bootstrap, bounds),
    }
}

/// Whichever of the two shows it. Each of them errs on the good side in half of what lies outside the interval, so that both
/// together err no more often than in all of it (Bonferroni).
fn either(sample: &Sample<'_>, bootstrap: &Bootstrap, bounds: &Bounds) -> Check {
    let by_brier = brier(sample, bootstrap, bounds);
    if by_brier.ending == Ending::Passed {
        return by_brier;
    }
    let by_accuracy = accuracy(sample, bootstrap, bounds);
    let is_worth_no_less = by_brier.challenger <= by_brier.champion;
    if by_accuracy.ending == Ending::Passed && is_worth_no_less {
        return by_accuracy;
    }
    let words = format!("{}; {}", by_brier.words, by_accuracy.words);
    Check { words, ..by_brier }
}

/// Brier's score by the bootstrap; and no fewer rows may be right, whatever the probabilities are worth.
fn brier(sample: &Sample<'_>, bootstrap: &Bootstrap, bounds: &Bounds) -> Check {
    let mean = |score: fn(&Row) -> f64| {
        sample.rows().iter().map(score).sum::<f64>() / sample.rows().len() as f64
    };
    let scores = [
        mean(|row| row.champion.brier),
        mean(|row| row.challenger.brier),
    ];
    let gains = bootstrap.spread(|figures| figures.brier_gain);
    let (interval, p_value) = (gains.interval(bounds.confidence), gains.p_of_at_most(0.0));
    let accuracies = accuracies(sample.rows().iter());
    let is_better = p_value <= (1.0 - bounds.confidence) / 2.0;
    let is_right_as_often = accuracies[1] >= accuracies[0];
    let said = match (is_better, is_right_as_often) {
        (true, true) => "is better",
        (true, false) => "is surer and less often right",
        (false, _) => "is not shown to be better",
    };
    let words = format!(
        "the challenger {said}: Brier score {:.4} beside {:.4}, gain {:+.4}, {:.4} (p = {p_value:.4}, bootstrap); {:.1} % right \
         beside {:.1} %",
        scores[1],
        scores[0],
        scores[0] - scores[1],
        interval,
        100.0 * accuracies[1],
        100.0 * accuracies[0],
    );
    let ending = Ending::passed_if(is_better && is_right_as_often);
    // Of a Brier score less is better: the interval is that of the difference, as everywhere.
    let difference = Interval {
        low: -interval.high,
        high: -interval.low,
        ..interval
    };
    Check::new(Subject::Better, ending, 0.0, words)
        .with_figures(scores)
        .with_doubt(difference, p_value)
}

/// By the exact test where rows are independent, by the bootstrap over conversations where they are not; either way so that
/// of a hundred challengers that are as good, no more pass than half of what lies outside the interval.
fn accuracy(sample: &Sample<'_>, bootstrap: &Bootstrap, bounds: &Bounds) -> Check {
    let (interval, p_value, test) = if sample.is_of_single_rows() {
        let pairs = Pairs::of(sample.rows().iter().map(Row::net));
        let interval = pairs.interval(bounds.confidence);
        (interval, pairs.p_of_gain(), "McNemar's exact test")
    } else {
        let gains = bootstrap.spread(|figures| figures.gain);
        let interval = gains.interval(bounds.confidence);
        (
            interval,
            gains.p_of_at_most(0.0),
            "bootstrap over conversations",
        )
    };
    let ending = Ending::passed_if(p_value <= (1.0 - bounds.confidence) / 2.0);
    let accuracies = accuracies(sample.rows().iter());
    let said = match ending {
        Ending::Passed => "is right more often",
        _ => "is not shown to be right more often",
    };
    let words = format!(
        "the challenger {said}: {} (p = {p_value:.4}, {test})",
        in_words(accuracies, interval)
    );
    Check::new(Subject::Better, ending, 0.0, words)
        .with_figures(accuracies)
        .with_doubt(interval, p_value)
}

/// Share of rows whose category is right, the champion's and the challenger's.
pub(super) fn accuracies<'r>(rows: impl Iterator<Item = &'r Row> + Clone) -> [f64; 2] {
    let share = |said: fn(&Row) -> Said| {
        let right = rows.clone().filter(|row| said(row).is_right).count();
        right as f64 / rows.clone().count() as f64
    };
    [share(|row| row.champion), share(|row| row.challenger)]
}

/// Such as `83.0 % beside 80.0 %, +3.0 points, 95 % interval +1.4 to +4.6`.
pub(super) fn in_words([champion, challenger]: [f64; 2], interval: Interval) -> String {
    format!(
        "{:.1} % beside {:.1} %, {:+.1} points, {:.1}",
        100.0 * challenger,
        100.0 * champion,
        100.0 * (challenger - champion),
        interval.points()
    )
}
