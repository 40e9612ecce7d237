//! `coterie models`.

use clap::{Args, Subcommand};
use indicatif::{DecimalBytes, ProgressBar, ProgressStyle};
use serde_json::json;
use tracing::warn;

use crate::{
    config::ModelsConfig,
    models::{FileState, Hub, Manifest, ModelError, ModelStatus, ModelStore, Step, Trust},
};

/// The width of the bar, rate and remaining time beside it included, fits 80 columns with a short file name.
const PROGRESS: &str = "{wide_msg} {bar:20} {decimal_bytes:>9} of {decimal_total_bytes:9} {decimal_bytes_per_sec:>11} {eta:>4}";

#[derive(Args)]
pub(super) struct ModelsArgs {
    #[command(subcommand)]
    command: ModelsCommand,
}

#[derive(Subcommand)]
enum ModelsCommand {
    /// Show every known model: its files, their size, and whether they are there and right.
    List {
        /// Read every file again instead of trusting sums that were taken earlier.
        #[arg(long)]
        verify: bool,
        /// Print one JSON document.
        #[arg(long)]
        json: bool,
    },
    /// Download models from a model hub (`HF_ENDPOINT`, `HF_TOKEN`), go on where an earlier download was cut, and verify
    /// them. Without a hub, `scripts/models` takes the same files from packages.
    Pull {
        /// The models; without names, those that the default configuration needs.
        #[arg(value_name = "NAME")]
        names: Vec<String>,
    },
}

/// Runs the command; `line` takes what goes to standard output, a line at a time.
pub(super) async fn run(
    args: ModelsArgs,
    config: &ModelsConfig,
    line: &mut (dyn FnMut(&str) + Send),
) -> Result<(), ModelError> {
    let store = ModelStore::new(config.dir.clone(), Manifest::embedded().clone());
    match args.command {
        ModelsCommand::List { verify, json } => {
            let trust = if verify {
                Trust::Nothing
            } else {
                Trust::SumsTaken
            };
            let models = store.list(trust).await?;
            if json {
                line(&document(config, &models).to_string());
            } else {
                table(&models).iter().for_each(|row| line(row));
                let total = DecimalBytes(bytes_on_disk(&models));
                line(&format!("{total} in {}", config.dir.display()));
            }
            Ok(())
        }
        ModelsCommand::Pull { names } => {
            let hub = Hub::new(config.hub.clone(), config.hub_token.clone())?;
            let mut progress = Progress::hidden();
            let mut report = |step: Step<'_>| progress.show(&step, line);
            store.pull(&names, &hub, &mut report).await
        }
    }
}

fn document(config: &ModelsConfig, models: &[ModelStatus]) -> serde_json::Value {
    json!({ "dir": config.dir, "bytes": bytes_on_disk(models), "models": models })
}

/// What the files take that are there, right or wrong.
fn bytes_on_disk(models: &[ModelStatus]) -> u64 {
    let files = models.iter().flat_map(|model| &model.files);
    files
        .filter(|file| matches!(file.state, FileState::Ok | FileState::WrongChecksum))
        .map(|file| file.bytes)
        .sum()
}

/// Rows of model, file, size and state, the columns as wide as their widest cell.
fn table(models: &[ModelStatus]) -> Vec<String> {
    let mut rows = vec![["MODEL", "FILE", "SIZE", "STATE"].map(str::to_owned)];
    for model in models {
        if model.files.is_empty() {
            let state = "not packaged for this platform";
            rows.push([&model.name, "", "", state].map(str::to_owned));
        }
        rows.extend(model.files.iter().map(|file| {
            let size = DecimalBytes(file.bytes).to_string();
            [
                model.name.clone(),
                file.name.clone(),
                size,
                in_words(file.state).to_owned(),
            ]
        }));
    }
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let [model_width, file_width, size_width] = [0, 1, 2].map(|column| width(column).unwrap_or(0));
    rows.iter()
        .map(|[model, file, size, state]| {
            format!("{model:model_width$}  {file:file_width$}  {size:>size_width$}  {state}")
        })
        .collect()
}

fn in_words(state: FileState) -> &'static str {
    match state {
        FileState::Ok => "ok",
        FileState::Missing => "missing",
        FileState::Partial => "partial",
        FileState::WrongChecksum => "wrong checksum",
    }
}

/// A bar on a terminal, nothing in a pipe; and a line for each file that is done.
struct Progress {
    bar: ProgressBar,
}

impl Progress {
    fn hidden() -> Self {
        Self {
            bar: ProgressBar::hidden(),
        }
    }

    fn show(&mut self, step: &Step<'_>, line: &mut (dyn FnMut(&str) + Send)) {
        match step {
            Step::Waiting => warn!("another process fills the store; waiting for it"),
            Step::Present { file } => line(&format!("{file}: present")),
            Step::Started { file, bytes } => self.bar = bar(file, *bytes),
            Step::Received { bytes } => self.bar.set_position(*bytes),
            Step::Retrying { error, pause } => self
                .bar
                .suspend(|| warn!("{error}; trying again in {pause:?}")),
            Step::Stored { file, bytes } => {
                self.bar.finish_and_clear();
                line(&format!("{file}: {}, verified", DecimalBytes(*bytes)));
            }
        }
    }
}

/// Draws to standard error, if that is a terminal.
fn bar(file: &str, bytes: u64) -> ProgressBar {
    let style =
        ProgressStyle::with_template(PROGRESS).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(bytes)
        .with_style(style)
        .with_message(file.to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use url::Url;

    use super::*;

    #[derive(Parser)]
    struct Call {
        #[command(flatten)]
        models: ModelsArgs,
    }

    async fn lines(dir: &std::path::Path, call: &[&str]) -> Result<Vec<String>, ModelError> {
        let config = ModelsConfig {
            dir: dir.to_owned(),
            hub: Url::parse("http://127.0.0.1:9").unwrap(),
            hub_token: None,
        };
        let args = Call::try_parse_from([&["models"], call].concat())
            .unwrap()
            .models;
        let mut lines = Vec::new();
        run(args, &config, &mut |line| lines.push(line.to_owned())).await?;
        Ok(lines)
    }

    #[tokio::test]
    async fn an_empty_store_is_listed_as_missing() {
        let dir = tempfile::tempdir().unwrap();
        let lines = lines(dir.path(), &["list"]).await.unwrap();
        assert!(lines[0].starts_with("MODEL"));
        assert!(lines[1].starts_with("all-MiniLM-L6-v2"));
        assert!(lines[1].ends_with("missing"), "{}", lines[1]);
        assert_eq!(
            *lines.last().unwrap(),
            format!("0 B in {}", dir.path().display())
        );
    }

    #[tokio::test]
    async fn json_is_one_document_with_a_state_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let model = dir.path().join("all-MiniLM-L6-v2");
        std::fs::create_dir(&model).unwrap();
        std::fs::write(model.join("config.json"), "{}").unwrap();
        let lines = lines(dir.path(), &["list", "--json"]).await.unwrap();
        let [line] = &lines[..] else {
            panic!("{lines:?}")
        };
        let document: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(document["bytes"], 2);
        assert_eq!(document["models"][0]["files"][0]["state"], "wrong_checksum");
        assert_eq!(document["models"][0]["files"][1]["state"], "missing");
    }

    #[tokio::test]
    async fn an_unknown_name_is_a_mistake_of_the_call() {
        let dir = tempfile::tempdir().unwrap();
        let error = lines(dir.path(), &["pull", "smollm2-135m"])
            .await
            .unwrap_err();
        assert!(error.is_usage());
        assert!(
            error.to_string().contains("smollm2-135m-instruct"),
            "{error}"
        );
    }

    #[test]
    fn the_template_of_the_bar_is_valid() {
        assert!(ProgressStyle::with_template(PROGRESS).is_ok());
    }
}
