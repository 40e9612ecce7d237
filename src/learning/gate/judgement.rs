//! What the gate says, as data and in words.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::sample::Sample;
use crate::ids::CategoryId;

/// Whether a challenger may replace the champion, and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Judgement {
    /// Whether it may.
    pub passed: bool,
    /// Why, in one sentence.
    pub reason: String,
    /// Rows that were judged.
    pub rows: usize,
    /// Conversations that they are of.
    pub conversations: usize,
    /// Everything that was checked; just the number of rows where they were too few.
    pub checks: Vec<Check>,
}

/// One thing that was checked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// What it is about.
    pub subject: Subject,
    /// The category, where it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub category: Option<CategoryId>,
    /// How it ended.
    pub ending: Ending,
    /// The champion's figure, in the subject's unit.
    pub champion: Option<f64>,
    /// The challenger's figure.
    pub challenger: Option<f64>,
    /// The challenger's figure less the champion's.
    pub difference: Option<f64>,
    /// What the difference lies between.
    pub interval: Option<Interval>,
    /// How likely a figure this far beyond what is to be ruled out would be by chance, 0 to 1; of a category, after the
    /// correction for there being several.
    pub p_value: Option<f64>,
    /// What the difference was compared with; of [`Subject::Rows`] and of the latencies, what the subject says.
    pub bound: f64,
    /// All of that for a person to read.
    pub words: String,
}

/// What a check is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// Whether there are enough rows, and all of them readable; the bound is a number of conversations.
    Rows,
    /// The measure that was chosen: the share of rows whose category is right, or the mean of Brier's score, of which less
    /// is better.
    Better,
    /// That share in one category.
    Category,
    /// That share in the categories with too few rows to be judged each by itself.
    SmallCategories,
    /// That share of the newest rows.
    Newest,
    /// The share of rows that go to their category, or are refused where none covers them.
    Settled,
    /// The share of rows that do not go to a wrong category.
    Misrouted,
    /// Expected calibration error.
    Calibration,
    /// Area under the ROC curve of the out-of-domain score.
    OutOfDomain,
    /// The share of right rows of the router that is to be put in force, which learnt from them, beside that of what was judged.
    Itself,
    /// Median time of a decision, microseconds; the bound is how many times as long it may be.
    LatencyP50,
    /// What 99 of 100 decisions take at most, microseconds; the bound is how many times as long it may be.
    LatencyP99,
}

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// It is as it should be.
    Passed,
    /// It is not: the challenger is refused.
    Failed,
    /// It could not be judged; the words say why.
    Skipped,
}

/// What a difference lies between.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Its lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
    /// How sure that is, 0 to 1.
    pub confidence: f64,
}

impl Judgement {
    /// Sums up: passed if nothing failed and the challenger was found to be better.
    pub(super) fn new(sample: &Sample<'_>, checks: Vec<Check>) -> Self {
        let failed: Vec<&Check> = of(&checks, Ending::Failed).collect();
        let better = of(&checks, Ending::Passed).any(|check| check.subject == Subject::Better);
        let reason = match failed.first() {
            Some(check) if failed.len() == 1 => format!("refused: {}", check.words),
            Some(check) => format!(
                "refused: {}; and {} more checks failed",
                check.words,
                failed.len() - 1
            ),
            None => "passed every check that could be made".to_owned(),
        };
        Self {
            passed: failed.is_empty() && better,
            reason,
            rows: sample.rows().len(),
            conversations: sample.conversations(),
            checks,
        }
    }
}

impl Judgement {
    /// Refused without a check.
    pub fn refused(reason: String) -> Self {
        Self {
            passed: false,
            reason,
            rows: 0,
            conversations: 0,
            checks: Vec::new(),
        }
    }
}

fn of(checks: &[Check], ending: Ending) -> impl Iterator<Item = &Check> {
    checks.iter().filter(move |check| check.ending == ending)
}

impl Check {
    /// A check that only says something; figures are added to it.
    pub(super) fn new(subject: Subject, ending: Ending, bound: f64, words: String) -> Self {
        Self {
            subject,
            category: None,
            ending,
            champion: None,
            challenger: None,
            difference: None,
            interval: None,
            p_value: None,
            bound,
            words,
        }
    }

    pub(super) fn with_figures(mut self, [champion, challenger]: [f64; 2]) -> Self {
        self.champion = finite(champion);
        self.challenger = finite(challenger);
        self.difference = finite(challenger - champion);
        self
    }

    pub(super) fn with_doubt(mut self, interval: Interval, p_value: f64) -> Self {
        self.interval = (interval.low.is_finite() && interval.high.is_finite()).then_some(interval);
        self.p_value = finite(p_value);
        self
    }
}

/// JSON has no other numbers.
fn finite(figure: f64) -> Option<f64> {
    figure.is_finite().then_some(figure)
}

impl Ending {
    pub(super) fn passed_if(passed: bool) -> Self {
        if passed { Self::Passed } else { Self::Failed }
    }
}

impl Interval {
    /// The same interval in percentage points.
    pub(super) fn points(self) -> Self {
        Self {
            low: 100.0 * self.low,
            high: 100.0 * self.high,
            ..self
        }
    }
}

impl fmt::Display for Interval {
    /// Such as `95 % interval +1.2 to +4.8`, with the precision asked for.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(1);
        write!(
            f,
            "{:.0} % interval {:+.digits$} to {:+.digits$}",
            100.0 * self.confidence,
            self.low,
            self.high
        )
    }
}
