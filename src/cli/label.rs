//! `coterie label`: what questions were about, said by a person, by an expert that judges, or by labelled questions nearby.

mod choices;
mod judge;
mod lines;
mod neighbours;
mod person;
mod screen;
mod session;
mod terminal;
mod text;
mod view;

use std::collections::HashSet;

use clap::{Args, ValueEnum};

use super::{CliError, ConfigArgs, load};
use crate::{
    config::{Config, Environment, Exposure},
    learning::{
        Candidate, Evidence,
        judge::REPLY_TOKENS,
        neighbours::is_seed,
        resolve::{self, Row, Rules},
        retrain::STATEMENTS_MAX,
    },
    query::Query,
    store::{Store, StoreError},
};

#[derive(Args)]
pub(super) struct LabelArgs {
    /// Who labels, for the record [default: the environment's USER].
    #[arg(long, value_name = "NAME", conflicts_with_all = ["judge", "neighbours"])]
    by: Option<String>,
    /// Let this expert label instead.
    #[arg(long, value_name = "EXPERT")]
    judge: Option<String>,
    #[command(flatten)]
    judging: JudgeArgs,
    /// Take labels over from labelled questions nearby, where those agree.
    #[arg(long, conflicts_with = "judge")]
    neighbours: bool,
    /// Share of right labels among those taken over, proved on the labelled questions with 95 % confidence.
    #[arg(long, value_name = "SHARE", default_value_t = 0.9, value_parser = precision, requires = "neighbours", conflicts_with = "judge")]
    agree: f64,
    /// With --judge and --neighbours: print what was done as one JSON document.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

#[derive(Args)]
struct JudgeArgs {
    /// What the judge says.
    #[arg(long, value_enum, default_value_t = What::Category, requires = "judge", conflicts_with = "neighbours")]
    what: What,
    /// Outcomes, or pairs of them, that it is asked about at most.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 200,
        requires = "judge",
        conflicts_with = "neighbours"
    )]
    limit: u32,
    /// Dollars that it may cost at most.
    #[arg(long, value_name = "D", value_parser = dollars, requires = "judge", conflicts_with = "neighbours")]
    usd_max: Option<f64>,
    /// Tokens of a reply at the most: a judge that thinks before it says needs more.
    #[arg(long, value_name = "N", default_value_t = REPLY_TOKENS, value_parser = clap::value_parser!(u32).range(1..), requires = "judge", conflicts_with = "neighbours")]
    reply_tokens: u32,
    /// Questions that it is asked at once.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=64), requires = "judge", conflicts_with = "neighbours")]
    concurrent: u8,
}

/// What a judge says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    /// What the question is about.
    Category,
    /// How good the recorded answer is, 0 to 1.
    Answer,
    /// Which of two experts' answers to one question is better.
    Pair,
}

pub(super) async fn run(args: LabelArgs, environment: &Environment) -> Result<(), CliError> {
    if args.json && args.judge.is_none() && !args.neighbours {
        return Err(CliError::Usage(
            "--json is for --judge and --neighbours; what people label is told line by line"
                .to_owned(),
        ));
    }
    let config = load(&args.config, environment, Exposure::Insecure)?;
    let store = Store::open(&config.store.path)
        .await
        .map_err(CliError::failed)?;
    let done = if let Some(expert) = &args.judge {
        Box::pin(judge::run(&store, &config, expert, &args)).await
    } else if args.neighbours {
        neighbours::run(&store, &config, &args).await
    } else {
        let by = args.by.as_deref().or_else(|| environment.get("USER"));
        let by = by.filter(|by| !by.is_empty()).unwrap_or("someone");
        person::run(&store, &config, by).await
    };
    let closed = store.close().await;
    done?;
    closed.map_err(CliError::failed)
}

/// Everything that was said, and the rows that come of what labels of people say.
async fn said(store: &Store, config: &Config) -> Result<(Vec<Evidence>, Vec<Row>), StoreError> {
    let evidence = store.evidence(STATEMENTS_MAX).await?.evidence;
    let routes = config.catalogue.routes.iter();
    let categories: Vec<_> = routes.map(|route| route.category.clone()).collect();
    let rules = Rules {
        without: &[],
        categories: &categories,
        client_share_max: resolve::CLIENT_SHARE_MAX,
    };
    let (mut rows, _) = resolve::resolve(&evidence, &rules);
    rows.retain(|row| is_seed(&row.origin));
    Ok((evidence, rows))
}

/// The texts of rows, as they are learnt.
fn texts(rows: &[Row]) -> HashSet<String> {
    rows.iter().map(|row| row.text.clone()).collect()
}

/// Whether a text was not seen yet; then it is from now on. A text is one row, however often it was asked.
fn is_new(seen: &mut HashSet<String>, candidate: &Candidate) -> bool {
    let text = Query::from_text(&candidate.question).text;
    !text.is_empty() && seen.insert(text)
}

fn precision(text: &str) -> Result<f64, String> {
    let share = text.parse().map_err(|_not| "write a share such as 0.9")?;
    if share > 0.0 && share < 1.0 {
        Ok(share)
    } else {
        Err("write a share between 0 and 1, such as 0.9".to_owned())
    }
}

fn dollars(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(usd) if usd >= 0.0 && f64::is_finite(usd) => Ok(usd),
        _ => Err("write dollars, such as 2.50".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Call {
        #[command(flatten)]
        _label: LabelArgs,
    }

    #[test]
    fn flags_that_would_do_nothing_are_refused() {
        let is_taken = |call: &[&str]| Call::try_parse_from([&["label"], call].concat()).is_ok();
        assert!(is_taken(&[
            "--judge",
            "big",
            "--limit",
            "5",
            "--usd-max",
            "1"
        ]));
        assert!(is_taken(&["--neighbours", "--agree", "0.95"]));
        for more in [["--limit", "5"], ["--usd-max", "1"], ["--what", "answer"]] {
            assert!(
                !is_taken(&[&["--neighbours"], &more[..]].concat()),
                "{more:?}"
            );
            assert!(!is_taken(&more), "{more:?}");
        }
        assert!(!is_taken(&["--judge", "big", "--agree", "0.95"]));
    }
}
