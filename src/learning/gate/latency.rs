//! Whether the challenger decides as fast.

use super::{Bounds, Check, Ending, Latency, Subject};

/// Median and 99th percentile may be so many times the champion's, or so much more.
pub(super) fn checks(latency: Option<Latency>, bounds: &Bounds) -> [Check; 2] {
    let p50 = latency.map(|l| [l.champion_p50_us, l.challenger_p50_us]);
    let p99 = latency.map(|l| [l.champion_p99_us, l.challenger_p99_us]);
    [
        check(Subject::LatencyP50, "median", p50, bounds),
        check(Subject::LatencyP99, "99th percentile", p99, bounds),
    ]
}

fn check(subject: Subject, name: &str, measured_us: Option<[u64; 2]>, bounds: &Bounds) -> Check {
    let factor_max = bounds.latency_factor_max;
    let Some(figures) = measured_us.map(|us| us.map(|us| us as f64)) else {
        let words = format!("the {name} of a decision's time was not measured");
        return Check::new(subject, Ending::Skipped, factor_max, words);
    };
    let [champion, challenger] = figures;
    let bound = (factor_max * champion).max(champion + bounds.latency_slack_us as f64);
    let ending = Ending::passed_if(challenger <= bound);
    let words = format!(
        "the {name} of a decision's time is {challenger:.0} µs beside {champion:.0} µs; it may be {bound:.0} µs"
    );
    Check::new(subject, ending, factor_max, words).with_figures(figures)
}
