//! What choosing question by question is worth, as text.

use super::{Aim, Reached, Worth};
use crate::{
    config::Prefer,
    mapping::{
        fit::{
            amount::told,
            table::{CAVEAT, size},
        },
        quality::prefer::{CostUnit, Point},
    },
};

/// Points of a frontier that are shown; the JSON has all.
const POINTS_SHOWN: usize = 12;

/// The whole, ending with the verdict.
pub(super) fn of(worth: &Worth) -> String {
    let has_usd = worth.aims.iter().any(|aim| aim.per_question.usd.is_some());
    let head = if has_usd {
        format!("{:>11}", "dollars")
    } else {
        String::new()
    };
    let by_category = format!("{:<1$}", "by category alone", 18 + head.len());
    let mut lines = vec![format!(
        "{:<14}{:>8}{:>10}{head}   {by_category}   {:<9}   gain (95 % confidence{CAVEAT})",
        "per question", "score", "active B", "λ"
    )];
    for aim in &worth.aims {
        let [low, high] = aim.gain_ci95;
        lines.push(format!(
            "{:<14}{}   {}   {:<9.3e}   {:+.4} ({low:+.4} to {high:+.4})",
            name(aim),
            reached(&aim.per_question, has_usd),
            reached(&aim.by_category, has_usd),
            aim.lambda,
            aim.gain,
        ));
    }
    lines.extend(frontier(worth));
    if let Some(pair) = &worth.pair {
        lines.extend([String::new(), pair.table().trim_end().to_owned()]);
    }
    lines.extend([String::new(), verdict(worth)]);
    lines.join("\n") + "\n"
}

/// Score against cost as λ grows: points that no other betters, at even distances along them.
fn frontier(worth: &Worth) -> Vec<String> {
    let (title, unit) = match worth.cost_unit {
        Some(CostUnit::ParamsB) => ("active parameters", "active B"),
        Some(CostUnit::Usd) => ("dollars a question", "dollars"),
        None => return Vec::new(),
    };
    let points = thinned(undominated(&worth.frontier));
    let mut lines = vec![
        String::new(),
        format!(
            "frontier question by question: score against {title} (score on rows held back, λ chosen with hindsight)"
        ),
        format!("{unit:>10}  {:>8}  {:>9}", "score", "λ"),
    ];
    lines.extend(points.iter().map(|point| {
        let cost = match worth.cost_unit {
            Some(CostUnit::Usd) => told(point.cost),
            _ => size(Some(point.cost)),
        };
        format!("{cost:>10}  {:>8.4}  {:>9.3e}", point.score, point.lambda)
    }));
    lines
}

/// The cheapest first, each with a higher score than those before it.
fn undominated(points: &[Point]) -> Vec<Point> {
    let mut points = points.to_vec();
    points.sort_by(|a, b| {
        let by_cost = a.cost.total_cmp(&b.cost);
        by_cost.then_with(|| b.score.total_cmp(&a.score))
    });
    let mut best = f64::NEG_INFINITY;
    points.retain(|point| {
        let is_better = point.score > best;
        best = best.max(point.score);
        is_better
    });
    points
}

/// The first, the last and so many between them that a person can read them.
fn thinned(points: Vec<Point>) -> Vec<Point> {
    if points.len() <= POINTS_SHOWN {
        return points;
    }
    let last = points.len() - 1;
    let shown = 0..POINTS_SHOWN;
    shown
        .map(|at| points[at * last / (POINTS_SHOWN - 1)])
        .collect()
}

/// Whether it pays, in a sentence.
pub(super) fn verdict(worth: &Worth) -> String {
    let unit = match worth.cost_unit {
        Some(CostUnit::ParamsB) => "billion active parameters",
        Some(CostUnit::Usd) => "dollars",
        None => "",
    };
    let by = |aim: &Aim| {
        let is_charged = matches!(aim.prefer, Prefer::Word(_)) && aim.lambda > 0.0;
        let per_cost = if is_charged && !unit.is_empty() {
            format!(
                ", with the {unit} that it saves or spends at {:.2e} a piece",
                aim.lambda
            )
        } else {
            String::new()
        };
        format!(
            "worth {:+.4} ± {:.4} over the mapping of categories alone{per_cost}",
            aim.worth, aim.worth_standard_error
        )
    };
    let Some(asked) = worth.aims.first() else {
        return "choosing question by question cannot keep to the budget: the mapping goes by categories alone".to_owned();
    };
    let (words, here) = (by(asked), figure(&asked.per_question));
    let plain = figure(&asked.plain);
    if worth.pays {
        return format!(
            "choosing question by question pays: {here} instead of {}, {words}. The mapping of categories alone for the best \
             score: {plain}",
            figure(&asked.by_category)
        );
    }
    let elsewhere = worth.aims.iter().skip(1).find(|aim| aim.pays());
    let advice = elsewhere.map_or_else(String::new, |aim| {
        format!("; with `--prefer {}` it would be {}", name(aim), by(aim))
    });
    let kept = if asked.is_for_less_cost() {
        format!(", still at `{}`", name(asked))
    } else {
        String::new()
    };
    format!(
        "choosing question by question does not pay here: {here}, {words}. The mapping goes by categories alone{kept}: \
         {}{advice}",
        figure(asked.otherwise())
    )
}

fn figure(reached: &Reached) -> String {
    format!("{:.4} at {} B", reached.score, size(reached.active_b))
}

fn name(aim: &Aim) -> String {
    match aim.prefer {
        Prefer::Word(word) => word.as_str().to_owned(),
        Prefer::CostWeight(_) => "within budget".to_owned(),
    }
}

fn reached(reached: &Reached, has_usd: bool) -> String {
    let usd = reached.usd.map_or_else(|| "-".to_owned(), told);
    let usd = if has_usd {
        format!("{usd:>11}")
    } else {
        String::new()
    };
    format!("{:>8.4}{:>10}{usd}", reached.score, size(reached.active_b))
}
