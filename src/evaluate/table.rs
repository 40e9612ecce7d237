//! An evaluation as text for a terminal.

mod matrix;

use super::{Evaluation, one_line::one_line};
use crate::ids::{CategoryId, OUT_OF_DOMAIN};

/// Characters of a class's name that are shown.
const NAME_CHARS: usize = 20;

/// Classes up to which every one has its line; of more only the worst are shown.
const CLASSES_MAX: usize = 25;

/// Mistakes that are shown; the JSON has more.
const MISTAKES_SHOWN: usize = 10;

/// Points of the risk–coverage curve that are shown: every tenth of coverage.
const CURVE_STEPS: usize = 10;

/// Characters of a line of text: an indented one still fits in a hundred columns.
const TEXT_CHARS: usize = 94;

/// The whole evaluation; each section ends with an empty line.
pub(super) fn of(evaluation: &Evaluation) -> String {
    [
        summary(evaluation),
        categories(evaluation),
        matrix::of(evaluation),
        curve(evaluation),
        tiers(evaluation),
        mistakes(evaluation),
    ]
    .into_iter()
    .filter(|section| !section.is_empty())
    .map(|section| section.join("\n") + "\n")
    .collect::<Vec<_>>()
    .join("\n")
}

fn summary(e: &Evaluation) -> Vec<String> {
    let line = |name: &str, value: String, note: &str| {
        format!("{name:<22}{value:<8}{note}").trim_end().to_owned()
    };
    let classes = format!("{} classes", e.per_category.len());
    let bins = format!("{} bins of equally many rows", e.ece_bins.count);
    let at_most = format!("at most {:.3} with 95 % confidence", e.misroute_upper95);
    let latency = e.latency_us.map_or_else(
        || "-".to_owned(),
        |latency| format!("p50 {} µs, p99 {} µs", latency.p50, latency.p99),
    );
    let routed = match e.in_domain_coverage {
        Some(inside) => format!(
            "routed to a category; {} of the in-domain rows",
            figure(inside)
        ),
        None => "routed to a category".to_owned(),
    };
    vec![
        line("router", one_line(e.router.id.as_str(), TEXT_CHARS), ""),
        line("rows", e.rows.to_string(), ""),
        line("accuracy", figure(e.accuracy), &classes),
        line("macro F1", figure(e.macro_f1), ""),
        line(
            "in-domain accuracy",
            figure_or_dash(e.in_domain_accuracy),
            "",
        ),
        line("out-of-domain AUROC", figure_or_dash(e.ood_auroc), ""),
        line("calibration error", figure(e.ece), &bins),
        line("coverage", figure(e.coverage), &routed),
        line("misrouted", figure_or_dash(e.misrouted), &at_most),
        line("time of a decision", latency, ""),
    ]
}

/// The classes, `out_of_domain` last, or the worst ones where they are many.
fn categories(e: &Evaluation) -> Vec<String> {
    let mut categories: Vec<_> = e.per_category.iter().collect();
    let mut title = "category";
    if categories.len() > CLASSES_MAX {
        categories.sort_by(|a, b| a.1.f1.total_cmp(&b.1.f1));
        categories.truncate(CLASSES_MAX);
        title = "the worst categories";
    } else {
        categories.sort_by_key(|(category, _)| place(category));
    }
    let head = format!(
        "{title:<NAME_CHARS$}  {:>6}  {:>9}  {:>6}  {:>6}",
        "rows", "precision", "recall", "F1"
    );
    let lines = categories.into_iter().map(|(category, figures)| {
        format!(
            "{:<NAME_CHARS$}  {:>6}  {:>9.3}  {:>6.3}  {:>6.3}",
            name(category),
            figures.rows,
            figures.precision,
            figures.recall,
            figures.f1
        )
    });
    std::iter::once(head).chain(lines).collect()
}

/// About every tenth of coverage.
fn curve(e: &Evaluation) -> Vec<String> {
    let head = format!(
        "{:>8}  {:>9}  {:>9}  {:>9}",
        "coverage", "threshold", "misrouted", "at most"
    );
    let mut lines = vec![head];
    let mut step = 0.0;
    for point in &e.risk_coverage {
        let reached = (point.coverage * CURVE_STEPS as f64 + 1e-9).floor();
        if reached > step {
            step = reached;
            lines.push(format!(
                "{:>8.3}  {:>9.3}  {:>9.3}  {:>9.3}",
                point.coverage, point.confidence_min, point.misrouted, point.misroute_upper95
            ));
        }
    }
    lines
}

fn tiers(e: &Evaluation) -> Vec<String> {
    if e.tiers.is_empty() {
        return Vec::new();
    }
    let head = format!("{:<NAME_CHARS$}  {:>6}  {:>8}", "tier", "share", "accuracy");
    let lines = e.tiers.iter().map(|(tier, figures)| {
        let tier = one_line(&tier.to_string(), NAME_CHARS);
        format!(
            "{tier:<NAME_CHARS$}  {:>6.3}  {:>8.3}",
            figures.share, figures.accuracy
        )
    });
    std::iter::once(head).chain(lines).collect()
}

fn mistakes(e: &Evaluation) -> Vec<String> {
    if e.mistakes.is_empty() {
        return Vec::new();
    }
    let mut lines = vec!["the most confident mistakes".to_owned()];
    for mistake in e.mistakes.iter().take(MISTAKES_SHOWN) {
        let refused = if mistake.routed { "" } else { ", but refused" };
        let id = mistake.id.as_ref().map(|id| format!(" ({id})"));
        let what = format!(
            "{:.3}  {} taken for {}{refused}{}",
            mistake.confidence,
            name(&mistake.label),
            name(&mistake.predicted),
            id.unwrap_or_default()
        );
        lines.push(one_line(&what, TEXT_CHARS));
        lines.push(format!(
            "       {}",
            one_line(&mistake.text, TEXT_CHARS - 7)
        ));
        if !mistake.features.is_empty() {
            let features = format!("because of {}", mistake.features.join(", "));
            lines.push(format!("       {}", one_line(&features, TEXT_CHARS - 7)));
        }
    }
    lines
}

/// Where a class stands among the others: by name, `out_of_domain` behind the categories.
fn place(category: &CategoryId) -> (bool, &CategoryId) {
    (category.as_str() == OUT_OF_DOMAIN, category)
}

fn name(category: &CategoryId) -> String {
    one_line(category.as_str(), NAME_CHARS)
}

fn figure(value: f64) -> String {
    format!("{value:.3}")
}

fn figure_or_dash(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), figure)
}
