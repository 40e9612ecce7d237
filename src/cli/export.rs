//! `coterie export`.

use std::{
    io::{self, BufWriter},
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use clap::Args;
use indicatif::ProgressBar;
use tokio::select;

use super::{CliError, ConfigArgs, load, output, signals::Signals};
use crate::{
    clock,
    config::{Environment, Exposure},
    progress,
    store::Store,
    transfer::{Format, Selection, export},
};

#[derive(Args)]
pub(super) struct ExportArgs {
    /// jsonl (an object a line) or parquet [default: parquet where FILE ends so, else jsonl].
    #[arg(long)]
    format: Option<Format>,
    /// Where to write; the file takes its name once it is whole [default: standard output, for jsonl].
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Only what was asked at this moment or later: `2026-01-31`, `2026-01-31T08:00:00Z` (UTC), or how
    /// long ago, such as `7 days`.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<i64>,
    /// Only what was asked before this moment.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<i64>,
    /// Only what was taken to be of this category.
    #[arg(long, value_name = "CATEGORY")]
    category: Option<String>,
    /// Only what this expert answered.
    #[arg(long, value_name = "ID")]
    expert: Option<String>,
    #[command(flatten)]
    config: ConfigArgs,
}

pub(super) async fn run(args: ExportArgs, environment: &Environment) -> Result<(), CliError> {
    let is_parquet_name = |path: &PathBuf| path.extension().is_some_and(|it| it == "parquet");
    let format = args.format.unwrap_or_else(|| {
        if args.out.as_ref().is_some_and(is_parquet_name) {
            Format::Parquet
        } else {
            Format::Jsonl
        }
    });
    if format == Format::Parquet && args.out.is_none() {
        let what = "Parquet is no text for a terminal or a pipe; name a file with --out";
        return Err(CliError::Usage(what.to_owned()));
    }
    in_order(args.since, args.until)?;
    let config = load(&args.config, environment, Exposure::Insecure)?;
    let path = &config.store.path;
    if !path.exists() {
        let what = format!(
            "there is no store at {}: nothing was asked yet",
            path.display()
        );
        return Err(CliError::Failed(what));
    }
    let store = Store::open(path).await.map_err(CliError::failed)?;
    let selection = Selection {
        since_ms: args.since,
        until_ms: args.until,
        category: args.category,
        expert: args.expert,
    };
    let exported = export(&store, &selection, format, args.out.as_deref()).await;
    let closed = store.close().await;
    let rows = exported?;
    closed.map_err(CliError::failed)?;
    output::note(&format!("{rows} outcomes exported"));
    Ok(())
}

async fn export(
    store: &Store,
    selection: &Selection,
    format: Format,
    out: Option<&Path>,
) -> Result<u64, CliError> {
    // What was written so far goes away with the call.
    let mut signals = Signals::listen().map_err(CliError::failed)?;
    let all = store.count_of(selection).await.map_err(CliError::failed)?;
    let bar = match out {
        Some(_) => progress::bar(all, "exporting"),
        // The lines themselves show how far it is.
        None => ProgressBar::hidden(),
    };
    let exporting = async {
        match out {
            Some(path) => {
                export::to_file(store, selection, format, path, |rows| bar.inc(rows)).await
            }
            None => {
                let out = BufWriter::new(io::stdout());
                export::to_writer(store, selection, format, out, |_rows| {}).await
            }
        }
    };
    let exported = select! {
        exported = exporting => exported,
        () = signals.received() => {
            return Err(CliError::Failed("stopped; nothing was exported".to_owned()));
        }
    };
    bar.finish_and_clear();
    match exported {
        Err(error) if error.is_reader_gone() => Ok(0),
        exported => exported.map_err(CliError::failed),
    }
}

/// Nothing lies between a moment and one before it: they are mostly in each other's place.
pub(super) fn in_order(since: Option<i64>, until: Option<i64>) -> Result<(), CliError> {
    match (since, until) {
        (Some(since), Some(until)) if since >= until => Err(CliError::Usage(
            "--since is no earlier than --until, so nothing lies between them; `--since \"2 days\" --until \"1 day\"` is \
             the day before the last"
                .to_owned(),
        )),
        _ => Ok(()),
    }
}

/// A moment in milliseconds since 1970 UTC.
pub(super) fn moment(text: &str) -> Result<i64, String> {
    moment_before(text, clock::now_ms())
}

fn moment_before(text: &str, now_ms: i64) -> Result<i64, String> {
    let text = text.trim();
    let written = humantime::parse_rfc3339_weak(text)
        .or_else(|_error| humantime::parse_rfc3339_weak(&format!("{text} 00:00:00")));
    if let Ok(moment) = written {
        return Ok(since_1970_ms(moment));
    }
    match humantime::parse_duration(text) {
        Ok(ago) => Ok(now_ms.saturating_sub(in_ms(ago))),
        Err(_error) => {
            Err("write a day such as `2026-01-31`, a moment such as `2026-01-31T08:00:00Z`, or how long ago, such as \
                 `7 days`"
                .to_owned())
        }
    }
}

fn since_1970_ms(moment: SystemTime) -> i64 {
    match moment.duration_since(UNIX_EPOCH) {
        Ok(since) => in_ms(since),
        Err(before) => -in_ms(before.duration()),
    }
}

fn in_ms(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_in_each_others_place_are_refused() {
        assert_eq!(in_order(Some(2), Some(1)).unwrap_err().exit_code(), 2);
        assert!(in_order(Some(1), Some(1)).is_err());
        assert!(in_order(Some(1), Some(2)).is_ok());
        assert!(in_order(Some(1), None).is_ok() && in_order(None, Some(1)).is_ok());
    }

    #[test]
    fn moments_are_days_times_of_day_or_ages() {
        let day_ms = 86_400_000;
        for (text, expected) in [
            ("1970-01-02", day_ms),
            ("1970-01-02 00:00:01", day_ms + 1000),
            ("1970-01-02T00:00:01Z", day_ms + 1000),
            ("2 days", 8 * day_ms),
            ("1h 30min", 10 * day_ms - 5_400_000),
        ] {
            assert_eq!(moment_before(text, 10 * day_ms), Ok(expected), "{text}");
        }
        for wrong in ["yesterday", "2026-13-01", "", "7"] {
            assert!(moment_before(wrong, 0).is_err(), "{wrong}");
        }
    }
}
