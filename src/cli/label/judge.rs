//! An expert labels.

mod answers;
mod category;

use std::pin::pin;

use futures_util::StreamExt as _;
use serde::Serialize;

use super::{
    super::{CliError, asking, output},
    LabelArgs, What,
};
use crate::{
    causes::in_full,
    config::{Config, ExpertConfig},
    expert::ErrorClass,
    learning::{
        agreement::Agreement,
        judge::{self, Asked, Bounds, Judge, Prompt, Question},
    },
    outcome::Prices,
    progress,
    store::Store,
};

/// Failures in a row after which a judge is given up.
const FAILURES_MAX: usize = 10;

/// What a judge did.
#[derive(Debug, Serialize)]
struct Judged {
    /// The expert, with the version of its prompt.
    given_by: String,
    #[serde(flatten)]
    tally: Tally,
    /// Dollars; none where its prices are not known.
    usd: Option<f64>,
    /// With whom it was compared.
    agreement_with: With,
    /// With people's labels, or with what clients say of the answers. None where nothing has both's word.
    agreement: Option<Agreement>,
}

/// With whom a judge is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum With {
    People,
    Clients,
}

/// What became of the questions.
#[derive(Debug, Default, Serialize)]
struct Tally {
    /// Replies that came.
    asked: usize,
    /// Of these, replies that said something.
    labelled: usize,
    /// Replies that did not say what they were asked for in the form that they were asked in.
    unparsable: usize,
    /// Pairs on which both orders did not give the same verdict: they count for nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    inconsistent: Option<usize>,
    /// Questions that the judge failed on, or refused.
    failed: usize,
    /// Outcomes that were pruned before the reply came.
    gone: usize,
    /// Questions that were not asked, because they might have cost more than was left.
    unaffordable: usize,
    /// Whether it was given up.
    gave_up: bool,
}

/// What a reply was good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    Labelled,
    Unparsable,
    /// The outcome is not there any more.
    Gone,
    /// Together with another that is still to come.
    Later,
    Inconsistent,
}

pub(super) async fn run(
    store: &Store,
    config: &Config,
    expert: &str,
    args: &LabelArgs,
) -> Result<(), CliError> {
    let expert = asking::find(config, expert)?;
    let judge = open(config, expert, args).await?;
    let limit = args.judging.limit;
    let (given_by, agreement_with, (tally, agreement)) = match args.judging.what {
        What::Category => {
            let given_by = judge::of_categories(&expert.id, &expert.kind, &config.catalogue);
            let done = category::run(store, config, &judge, (&given_by, limit)).await?;
            (given_by, With::People, done)
        }
        What::Answer => {
            let given_by = Prompt::Answer.given_by(&expert.id);
            let done = answers::grade(store, &judge, &given_by, limit).await?;
            (given_by, With::Clients, done)
        }
        What::Pair => {
            let given_by = Prompt::Pair.given_by(&expert.id);
            let done = answers::compare(store, &judge, &given_by, limit).await?;
            (given_by, With::Clients, done)
        }
    };
    let judged = Judged {
        given_by,
        tally,
        usd: judge.spent_usd(),
        agreement_with,
        agreement,
    };
    if args.json {
        output::json(&judged).map_err(CliError::failed)?;
    } else {
        tell(&judged);
    }
    if judged.tally.gave_up {
        return Err(CliError::Failed(format!(
            "the judge failed {FAILURES_MAX} times in a row and was given up; what it said before is kept"
        )));
    }
    Ok(())
}

async fn open(config: &Config, expert: &ExpertConfig, args: &LabelArgs) -> Result<Judge, CliError> {
    if args.judging.usd_max.is_some() && Prices::of(expert).is_none() {
        return Err(CliError::Usage(format!(
            "--usd-max needs to know what `{}` costs; give it `usd_in` and `usd_out` in the configuration",
            expert.id
        )));
    }
    let bounds = Bounds {
        usd_max: args.judging.usd_max,
        concurrent: args.judging.concurrent.into(),
        reply_tokens_max: args.judging.reply_tokens,
        tries_max: expert.retries.max.saturating_add(1),
    };
    asking::open(config, expert, bounds).await
}

/// Asks everything, and hands over each reply as it comes; no words where the judge would not, or could not, answer this very
/// question.
async fn ask<T>(
    judge: &Judge,
    questions: Vec<Question<T>>,
    mut take: impl AsyncFnMut(T, Option<&str>) -> Result<Use, CliError>,
) -> Result<Tally, CliError> {
    let bar = progress::bar(questions.len() as u64, "asking the judge");
    let mut tally = Tally::default();
    let mut failures = 0;
    let mut replies = pin!(judge.ask_all(questions));
    while let Some((about, asked)) = replies.next().await {
        bar.inc(1);
        match asked {
            Asked::Said(_) | Asked::CutOff => {
                failures = 0;
                tally.asked += 1;
                tally.count(take(about, Some(asked.words())).await?);
            }
            Asked::Failed(error) => {
                tally.failed += 1;
                tracing::warn!("the judge failed: {}", in_full(&error));
                if is_the_questions(error.class()) {
                    take(about, None).await?;
                } else {
                    failures += 1;
                }
            }
            Asked::Unaffordable => tally.unaffordable += 1,
        }
        if failures == FAILURES_MAX {
            tally.gave_up = true;
            break;
        }
    }
    bar.finish_and_clear();
    Ok(tally)
}

/// Whether a failure is that of the one question, which would fail again, and says nothing of the others.
fn is_the_questions(class: ErrorClass) -> bool {
    matches!(
        class,
        ErrorClass::BadRequest
            | ErrorClass::ContextTooLong
            | ErrorClass::OutOfTime
            | ErrorClass::PolicyRefused
    )
}

impl Tally {
    fn count(&mut self, it: Use) {
        match it {
            Use::Labelled => self.labelled += 1,
            Use::Unparsable => self.unparsable += 1,
            Use::Gone => self.gone += 1,
            Use::Inconsistent => *self.inconsistent.get_or_insert(0) += 1,
            Use::Later => {}
        }
    }
}

fn tell(judged: &Judged) {
    let Tally {
        asked,
        labelled,
        unparsable,
        inconsistent,
        failed,
        unaffordable,
        gone,
        ..
    } = judged.tally;
    let mut parts = vec![
        format!("{asked} replies of {}", judged.given_by),
        format!("{labelled} kept"),
        format!("{unparsable} not in the form asked for"),
        format!("{failed} failed"),
    ];
    parts.extend(inconsistent.map(|it| format!("{it} pairs not judged alike in both orders")));
    if gone > 0 {
        parts.push(format!("{gone} about outcomes that are gone meanwhile"));
    }
    if unaffordable > 0 {
        parts.push(format!("{unaffordable} not asked for want of dollars"));
    }
    parts.extend(judged.usd.map(|usd| format!("{usd:.4} dollars")));
    output::line(&parts.join(", "));
    let with = match judged.agreement_with {
        With::People => "people",
        With::Clients => "clients",
    };
    let Some(found) = judged.agreement else {
        output::line(&format!(
            "agreement with {with}: not measured, nothing has both's word yet"
        ));
        return;
    };
    let kappa = found.kappa;
    let kappa = kappa.map_or_else(|| "not defined".to_owned(), |kappa| format!("{kappa:.3}"));
    output::line(&format!(
        "agreement with {with}: Cohen's kappa {kappa}, n = {} ({:.1} % alike)",
        found.n,
        found.observed * 100.0
    ));
}
