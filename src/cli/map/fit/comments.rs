//! What a mapping's file says of how it came about.

use std::time::{Duration, UNIX_EPOCH};

use super::FitArgs;
use crate::{
    clock,
    mapping::{
        fit::{report::Report, written::BY_COMMENT},
        quality::worth::Worth,
    },
};

impl FitArgs {
    /// A line each: the call, the rows, what the mapping is worth and what it is held against.
    pub(super) fn comments(&self, report: &Report) -> Vec<String> {
        let now = Duration::from_millis(clock::now_ms().unsigned_abs());
        let figures = &report.figures;
        let mut comments = vec![
            format!(
                "Fitted by `coterie map fit` {}.",
                humantime::format_rfc3339_seconds(UNIX_EPOCH + now)
            ),
            format!("command: {}", self.command()),
        ];
        comments.extend(self.by.as_ref().map(|by| format!("{BY_COMMENT}{by}")));
        comments.extend([
            format!("rows: {}", report.rows),
            format!("score: {:.4} ({})", figures.score, figures.confidence()),
            format!(
                "parameters: {} active, {} resident",
                size(figures.active_b),
                size(figures.resident_b)
            ),
        ]);
        for (name, baseline) in report.baselines.named() {
            let expert = baseline.expert.as_ref();
            let expert = expert.map_or_else(String::new, |expert| format!(" ({expert})"));
            comments.push(format!(
                "{name}{expert}: {:.4} at {}",
                baseline.score,
                size(baseline.active_b)
            ));
        }
        comments.push(report.in_words());
        comments.extend(report.per_question.as_ref().map(Worth::in_words));
        // A line break in a name must not end the comment.
        let lines = comments.into_iter();
        lines.map(|line| line.replace(['\n', '\r'], " ")).collect()
    }

    /// The call, but for what changes nothing in the mapping.
    fn command(&self) -> String {
        let (rows, limits, rules) = (&self.rows, &self.limits, &self.rules);
        let mut words = vec!["coterie map fit --outcomes".to_owned()];
        words.extend(self.outcomes.iter().map(|path| path.display().to_string()));
        if self.per_question {
            words.push("--per-question".to_owned());
        }
        let mut flag = |name: &str, value: Option<String>| {
            words.extend(value.map(|value| format!("--{name} {value}")));
        };
        for path in &rows.models {
            flag("models", Some(path.display().to_string()));
        }
        flag("by", self.by.clone());
        let experts = Some(self.experts.join(","));
        flag("experts", experts.filter(|experts| !experts.is_empty()));
        flag(
            "weights",
            Some(format!("{:?}", rows.weights).to_lowercase()),
        );
        flag("prefer", self.prefer.map(|word| word.as_str().to_owned()));
        let number = |limit: Option<f64>| limit.map(|limit| limit.to_string());
        flag("budget-active", number(limits.budget_active));
        flag("budget-resident", number(limits.budget_resident));
        flag("budget-usd", number(limits.budget_usd));
        flag("experts-max", limits.experts_max.map(|n| n.to_string()));
        for (category, expert) in &rules.pin {
            flag("pin", Some(format!("{category}={expert}")));
        }
        for (category, expert) in &rules.forbid {
            flag("forbid", Some(format!("{category}={expert}")));
        }
        for (category, score) in &rules.score_min {
            flag("score-min", Some(format!("{category}={score}")));
        }
        flag("seed", Some(self.seed.to_string()));
        words.join(" ")
    }
}

fn size(params_b: Option<f64>) -> String {
    params_b.map_or_else(|| "unknown".to_owned(), |b| format!("{b:.2} B"))
}
