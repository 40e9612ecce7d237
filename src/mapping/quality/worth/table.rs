//! What choosing question by question is worth, as text.

use super::{Aim, Reached, Worth};
use crate::{
    config::Prefer,
    mapping::{
        fit::{amount::told, table::size},
        quality::prefer::CostUnit,
    },
};

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
        "{:<14}{:>8}{:>10}{head}   {by_category}   λ",
        "per question", "score", "active B"
    )];
    for aim in &worth.aims {
        let [low, high] = aim.gain_ci95;
        lines.push(format!(
            "{:<14}{}   {}   {:.3e}   gain {:+.4} ({low:+.4} to {high:+.4})",
            name(aim),
            reached(&aim.per_question, has_usd),
            reached(&aim.by_category, has_usd),
            aim.lambda,
            aim.gain,
        ));
    }
    if let Some(pair) = &worth.pair {
        lines.extend([String::new(), pair.table().trim_end().to_owned()]);
    }
    lines.extend([String::new(), verdict(worth)]);
    lines.join("\n") + "\n"
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
