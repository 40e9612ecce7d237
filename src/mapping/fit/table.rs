//! A fit as text for a terminal.

use std::collections::BTreeMap;

use super::{
    amount::told,
    folds::QUESTIONS_MIN,
    report::{BaselineReport, Baselines, Basis, Figures, FrontierPoint, LessCost, Report, Verdict},
};
use crate::{
    ids::ExpertId,
    mapping::{evaluate::Evaluation, quality::prefer::CostUnit},
};

/// Distance from the optimum that is told.
const GAP_TOLD: f64 = 1e-5;

/// Categories that are shown; the file and the JSON have all.
const CATEGORIES_SHOWN: usize = 40;

/// The whole report; each section ends with an empty line.
pub(super) fn of(report: &Report) -> String {
    let of_what = match report.per_question {
        Some(_) => " of categories alone",
        None => "",
    };
    let along = |cost| format!("frontier{of_what}: score against {cost}");
    let sections = [
        summary(report),
        categories(report),
        frontier(&along("active parameters"), &report.frontier),
        frontier(&along("dollars a question"), &report.frontier_usd),
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
    let gain = figures.gain_ci95.map_or_else(String::new, |[low, high]| {
        format!(
            "{:+.4} over `{name}` alone (95 % confidence {low:+.4} to {high:+.4}{})",
            figures.gain_over_best_single,
            figures.basis.caveat()
        )
    });
    let worth = less_cost(figures);
    match figures.verdict {
        Verdict::Better => format!("composing pays: {gain}{worth}"),
        Verdict::Cheaper => format!(
            "composing pays in cost, not in score: {gain}, {}",
            instead(figures, single)
        ),
        Verdict::WorthItsCost => format!(
            "composing pays in what it costs: {gain}, {}{worth}",
            instead(figures, single)
        ),
        Verdict::DoesNotPay => format!(
            "composing does not pay here: {gain}{worth}. The rows do not show that it beats serving `{name}` for everything{}",
            kept(report)
        ),
        Verdict::NotJudged => format!(
            "whether composing pays cannot be told: to hold rows back takes {QUESTIONS_MIN} different questions at least"
        ),
    }
}

impl Figures {
    /// What the score lies between, and which rows it is of.
    pub(crate) fn confidence(&self) -> String {
        let Some([low, high]) = self.score_ci95 else {
            return "on the rows that it was fitted on: too few questions to hold some back"
                .to_owned();
        };
        format!(
            "{low:.4} to {high:.4} with 95 % confidence, on rows held back{}",
            self.basis.caveat()
        )
    }
}

impl Basis {
    /// What intervals leave out.
    fn caveat(self) -> &'static str {
        match self {
            Self::HeldBackFitsAsTheyAre => CAVEAT,
            Self::HeldBack | Self::FittedOn => "",
        }
    }
}

/// What the intervals of a second stage leave out.
pub(in crate::mapping) const CAVEAT: &str = "; fits taken as they are; chosen on these rows";

/// What a gain is worth with its cost counted, where a preference does that.
fn less_cost(figures: &Figures) -> String {
    let Some(LessCost {
        worth,
        ci95: [low, high],
        ..
    }) = figures.less_cost
    else {
        return String::new();
    };
    format!(
        "; with the cost counted at λ it is worth {worth:+.4} (95 % confidence {low:+.4} to {high:+.4})"
    )
}

/// What the mapping takes instead of what the best single expert does, in what the preference counts.
fn instead(figures: &Figures, single: &BaselineReport) -> String {
    let unit = figures.less_cost.map(|less_cost| less_cost.cost_unit);
    if unit == Some(CostUnit::Usd) {
        let dollars = |usd: Option<f64>| usd.map_or_else(|| "-".to_owned(), told);
        return format!(
            "with {} instead of {} dollars a question",
            dollars(figures.usd),
            dollars(single.usd)
        );
    }
    format!(
        "with {} instead of {} billion active parameters",
        size(figures.active_b),
        size(single.active_b)
    )
}

/// Why a second stage is used nevertheless: it is held against the mapping of categories, not against one expert.
fn kept(report: &Report) -> &'static str {
    if report.by_category.is_some() {
        " with 95 % confidence; the choice question by question is used because it is worth a standard error more than \
         categories alone"
    } else {
        ""
    }
}

fn summary(report: &Report) -> Vec<String> {
    let figures = &report.figures;
    let columns = Columns::of(figures.usd, &report.baselines);
    let of = |name, figures: &Figures| {
        let reached = (figures.score, figures.active_b, figures.usd);
        columns.line(name, reached, &figures.confidence())
    };
    let mut lines = vec![columns.head(report.rows), of("mapping", figures)];
    let by_category = report.by_category.as_ref();
    lines.extend(by_category.map(|figures| of("by category", figures)));
    lines.extend(columns.baselines(
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
    let columns = Columns::of(evaluation.usd, &evaluation.baselines);
    let reached = (evaluation.score, evaluation.active_b, evaluation.usd);
    let mut lines = vec![
        columns.head(evaluation.rows),
        columns.line("mapping", reached, &note),
    ];
    lines.extend(columns.baselines(&evaluation.baselines, "(the best on these very rows)"));
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

/// What is told of each way of choosing experts.
struct Columns {
    has_usd: bool,
}

impl Columns {
    /// Dollars have a column where any are known.
    fn of(usd: Option<f64>, baselines: &Baselines) -> Self {
        let known = baselines.named().map(|(_, baseline)| baseline.usd);
        Self {
            has_usd: usd.is_some() || known.iter().any(Option::is_some),
        }
    }

    fn head(&self, rows: usize) -> String {
        let dollars = self.dollars("dollars");
        let rows = format!("{rows} rows");
        format!("{rows:<14}{:>8}{:>10}{dollars}", "score", "active B")
    }

    fn line(
        &self,
        name: &str,
        (score, active_b, usd): (f64, Option<f64>, Option<f64>),
        note: &str,
    ) -> String {
        let dollars = self.dollars(&usd.map_or_else(|| "-".to_owned(), told));
        format!(
            "{name:<14}{score:>8.4}{:>10}{dollars}  {note}",
            size(active_b)
        )
        .trim_end()
        .to_owned()
    }

    fn dollars(&self, told: &str) -> String {
        if self.has_usd {
            format!("{told:>11}")
        } else {
            String::new()
        }
    }

    fn baselines(&self, baselines: &Baselines, of_best: &str) -> [String; 4] {
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
            let reached = (baseline.score, baseline.active_b, baseline.usd);
            self.line(name, reached, note.trim())
        })
    }
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
        format!("{title} (score on rows held back)"),
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
