//! A fit as text for a terminal.

use std::collections::BTreeMap;

use super::{
    amount::told,
    report::{Baselines, Figures, FrontierPoint, Report, Verdict},
};
use crate::{ids::ExpertId, mapping::evaluate::Evaluation};

/// Distance from the optimum that is told.
const GAP_TOLD: f64 = 1e-5;

/// Categories that are shown; the file and the JSON have all.
const CATEGORIES_SHOWN: usize = 40;

/// The whole report; each section ends with an empty line.
pub(super) fn of(report: &Report) -> String {
    let sections = [
        summary(report),
        categories(report),
        frontier("score against active parameters", &report.frontier),
        frontier("score against dollars a question", &report.frontier_usd),
        vec![verdict(report)],
    ];
    sections
        .into_iter()
        .filter(|section| !section.is_empty())
        .map(|section| section.join("\n") + "\n")
        .collect::<Vec<_>>()
        .join("\n")
}

/// Whether composing pays, in a sentence.
pub(super) fn verdict(report: &Report) -> String {
    let single = &report.baselines.best_single;
    let name = single
        .expert
        .as_ref()
        .map_or("the best single expert", |expert| expert.as_str());
    let figures = &report.figures;
    let [low, high] = figures.gain_ci95;
    let gain = format!(
        "{:+.4} over `{name}` alone (95 % confidence {low:+.4} to {high:+.4})",
        figures.gain_over_best_single
    );
    match figures.verdict {
        Verdict::Better => format!("composing pays: {gain}"),
        Verdict::Cheaper => format!(
            "composing pays in cost, not in score: {gain}, with {} instead of {} billion active parameters",
            size(figures.active_b),
            size(single.active_b)
        ),
        Verdict::DoesNotPay => format!(
            "composing does not pay here: {gain}. The rows do not show that it beats serving `{name}` for everything"
        ),
    }
}

fn summary(report: &Report) -> Vec<String> {
    let figures = &report.figures;
    let held_back = |figures: &Figures| {
        let [low, high] = figures.score_ci95;
        format!("{low:.4} to {high:.4} with 95 % confidence, on rows held back")
    };
    let of =
        |name, figures: &Figures| line(name, figures.score, figures.active_b, &held_back(figures));
    let mut lines = vec![head(report.rows), of("mapping", figures)];
    let by_category = report.by_category.as_ref();
    lines.extend(by_category.map(|figures| of("by category", figures)));
    lines.extend(baselines(
        &report.baselines,
        "(chosen on the same rows as the mapping)",
    ));
    lines.extend([
        String::new(),
        format!(
            "{:<14}{:>8.4}  by category, on the rows that the mapping was fitted on",
            "fitted", report.score_fitted
        ),
    ]);
    lines.extend(costs(
        figures.resident_b,
        figures.usd,
        report.usd_is_estimated,
    ));
    if report.optimality_gap > GAP_TOLD {
        lines.push(format!(
            "the search was cut: another mapping could be better by {:.5}",
            report.optimality_gap
        ));
    }
    lines.extend(missing(&report.missing, report.rows));
    lines.extend(unscored(report.unscored));
    lines
}

/// An evaluation as text for a terminal.
pub(in crate::mapping) fn of_evaluation(evaluation: &Evaluation) -> String {
    let [low, high] = evaluation.score_ci95;
    let note = format!("{low:.4} to {high:.4} with 95 % confidence");
    let mut lines = vec![
        head(evaluation.rows),
        line("mapping", evaluation.score, evaluation.active_b, &note),
    ];
    lines.extend(baselines(
        &evaluation.baselines,
        "(the best on these very rows)",
    ));
    let [low, high] = evaluation.gain_ci95;
    lines.push(String::new());
    lines.push(format!(
        "{:<14}{:>+8.4}  over the best single expert ({low:+.4} to {high:+.4} with 95 % confidence)",
        "gain", evaluation.gain_over_best_single
    ));
    lines.extend(costs(evaluation.resident_b, evaluation.usd, false));
    lines.extend(missing(&evaluation.missing, evaluation.rows));
    lines.extend(unscored(evaluation.unscored));
    lines.join("\n") + "\n"
}

fn head(rows: usize) -> String {
    format!(
        "{:<14}{:>8}{:>10}",
        format!("{rows} rows"),
        "score",
        "active B"
    )
}

fn line(name: &str, score: f64, active_b: Option<f64>, note: &str) -> String {
    format!("{name:<14}{score:>8.4}{:>10}  {note}", size(active_b))
        .trim_end()
        .to_owned()
}

fn baselines(baselines: &Baselines, of_best: &str) -> [String; 4] {
    let notes = [
        of_best,
        "",
        "",
        "(the best expert of each question, if it were known)",
    ];
    let mut notes = notes.into_iter();
    baselines.named().map(|(name, baseline)| {
        let expert = baseline.expert.as_ref();
        let expert = expert.map_or("", |expert| expert.as_str());
        let note = [expert, notes.next().unwrap_or_default()].join(" ");
        line(name, baseline.score, baseline.active_b, note.trim())
    })
}

fn costs(resident_b: Option<f64>, usd: Option<f64>, usd_is_estimated: bool) -> Vec<String> {
    let resident = format!(
        "{:<14}{:>8}  billion parameters of all its experts",
        "resident",
        size(resident_b)
    );
    let note = if usd_is_estimated {
        ", in part estimated from prices"
    } else {
        ""
    };
    let usd = usd.map(|usd| format!("{:<14}{:>8}  dollars a question{note}", "cost", told(usd)));
    std::iter::once(resident).chain(usd).collect()
}

fn missing(missing: &BTreeMap<ExpertId, usize>, rows: usize) -> impl Iterator<Item = String> {
    let missing = missing.iter();
    missing.map(move |(expert, of)| format!("{expert} was not tried on {of} of {rows} rows"))
}

fn unscored(share: f64) -> Option<String> {
    (share > 0.0).then(|| format!("no score speaks of {:.1} % of the weight", share * 100.0))
}

fn categories(report: &Report) -> Vec<String> {
    let width = report
        .categories
        .keys()
        .map(|category| category.as_str().chars().count())
        .max()
        .unwrap_or(0)
        .max(8);
    let mut lines = vec![format!(
        "{:<width$}  {:>7}  {:>8}  {:>11}  expert",
        "category", "rows", "expected", "best single"
    )];
    for (category, of) in report.categories.iter().take(CATEGORIES_SHOWN) {
        let name = category.as_str();
        lines.push(format!(
            "{name:<width$}  {:>7}  {:>8.4}  {:>11.4}  {}",
            of.rows, of.expected, of.expected_best_single, of.expert
        ));
    }
    if report.categories.len() > CATEGORIES_SHOWN {
        lines.push(format!(
            "and {} more",
            report.categories.len() - CATEGORIES_SHOWN
        ));
    }
    lines
}

fn frontier(title: &str, points: &[FrontierPoint]) -> Vec<String> {
    if points.is_empty() {
        return Vec::new();
    }
    let mut lines = vec![
        format!("frontier: {title} (score on rows held back)"),
        format!(
            "{:>10}  {:>8}  {:>8}  {:>10}  {:>10}  {:>7}",
            "active B", "score", "fitted", "resident B", "dollars", "experts"
        ),
    ];
    for point in points {
        let usd = point.usd.map_or_else(|| "-".to_owned(), told);
        lines.push(format!(
            "{:>10}  {:>8.4}  {:>8.4}  {:>10}  {usd:>10}  {:>7}",
            size(point.active_b),
            point.score,
            point.score_fitted,
            size(point.resident_b),
            point.experts
        ));
    }
    lines
}

pub(in crate::mapping) fn size(params_b: Option<f64>) -> String {
    params_b.map_or_else(|| "-".to_owned(), |params_b| format!("{params_b:.2}"))
}
