//! A comparison for a person to read, as Markdown.

use std::fmt::Write as _;

use super::{Comparison, Pair};
use crate::learning::gate::Ending;

impl Comparison {
    /// The comparison as Markdown.
    pub fn markdown(&self) -> String {
        let mut text = format!("# Router {} in shadow\n\n", self.shadow);
        let real: Vec<_> = self.real.iter().map(ToString::to_string).collect();
        // Writing to a text cannot fail.
        let _ = writeln!(
            text,
            "Trial {}: {} outcomes of {} conversations, decided by {}.",
            self.trial,
            self.outcomes,
            self.conversations,
            if real.is_empty() {
                "nobody yet".to_owned()
            } else {
                real.join(", ")
            }
        );
        if self.is_cut {
            text.push_str("There are more, older ones, which were not read.\n");
        }
        if self.stayed > 0 {
            let _ = writeln!(
                text,
                "{} of them stayed with their session's category, and count for the latency alone.",
                self.stayed
            );
        }
        self.figures(&mut text);
        self.disagreements(&mut text);
        self.judged(&mut text);
        text
    }

    fn figures(&self, text: &mut String) {
        let Some(agreement) = &self.agreement else {
            return;
        };
        let interval = agreement.interval;
        let _ = writeln!(
            text,
            "\nBoth agree on {:.1} % ({:.0} % interval {:.1} to {:.1}).\n",
            100.0 * agreement.share,
            100.0 * interval.confidence,
            100.0 * interval.low,
            100.0 * interval.high
        );
        text.push_str("| | decided | in shadow |\n| --- | ---: | ---: |\n");
        let mut line = |name: &str, pair: Option<Pair>, digits: usize, factor: f64, unit: &str| {
            if let Some(Pair { real, shadow }) = pair {
                let [real, shadow] = [real, shadow].map(|figure| figure * factor);
                let _ = writeln!(
                    text,
                    "| {name} | {real:.digits$} {unit} | {shadow:.digits$} {unit} |"
                );
            }
        };
        line("sent to a category", self.routed, 1, 100.0, "%");
        line("refused", self.refused, 1, 100.0, "%");
        line("median time", self.p50_us, 0, 1.0, "µs");
        text.push_str(
            "\nThe time of what was decided includes the choice of the expert, and waiting beside other questions.\n",
        );
    }

    fn disagreements(&self, text: &mut String) {
        if self.disagreements.is_empty() {
            return;
        }
        text.push_str(
            "\n## Where they disagree\n| decided | in shadow | questions |\n| --- | --- | ---: |\n",
        );
        for it in &self.disagreements {
            let _ = writeln!(text, "| {} | {} | {} |", it.from, it.to, it.count);
        }
    }

    fn judged(&self, text: &mut String) {
        text.push_str("\n## Who is right\n");
        if self.learnt > 0 {
            let _ = writeln!(
                text,
                "{} texts of which somebody said what they are about judge nobody, since one of both has learnt them.\n",
                self.learnt
            );
        }
        let Some(judgement) = &self.judgement else {
            text.push_str(
                "Nobody said of any of these outcomes what it was about: `POST /v1/feedback` with a `category`, or `coterie label`.\n",
            );
            return;
        };
        let _ = writeln!(
            text,
            "By the {} outcomes of which somebody said what they were about: {}.\n",
            judgement.rows, judgement.reason
        );
        for check in &judgement.checks {
            let mark = match check.ending {
                Ending::Passed => "passed",
                Ending::Failed => "failed",
                Ending::Skipped => "not judged",
            };
            let _ = writeln!(text, "- {mark}: {}", check.words);
        }
    }
}
