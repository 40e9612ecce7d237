//! `coterie route`.

mod words;

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
};

use clap::Args;
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};

use super::{CliError, ConfigArgs, asking, load, output};
use crate::{
    bom,
    composition::{self, Composition, Wish},
    config::{Environment, Exposure},
    decision::Explained,
    instruction::Instructed,
    mapping::Chance,
    registry,
    router::{
        TierName,
        explain::{Explanation, FeatureShare},
    },
};

/// Rows that are decided at once: enough for the encoder to work in batches.
const ROWS_AT_ONCE: usize = 32;

/// How many categories are shown to a person.
const SCORES_SHOWN: usize = 4;

#[derive(Args)]
#[command(group = clap::ArgGroup::new("what").required(true))]
pub(super) struct RouteArgs {
    /// The question.
    #[arg(group = "what")]
    text: Option<String>,
    /// A file with a JSON object a line, each with `text` or `messages`, and an `id` or none; a table of decisions is printed.
    #[arg(long, value_name = "F.jsonl", group = "what")]
    file: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigArgs,
    /// Decide with the router in this folder instead of the one in force.
    #[arg(long, value_name = "DIR")]
    router: Option<PathBuf>,
    /// Tell all that the decision was made from: words and pieces that spoke for a category, and what the instruction tier
    /// was asked and said.
    #[arg(long, conflicts_with = "file")]
    explain: bool,
    /// Print decisions as JSON, which tells all.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: RouteArgs, environment: &Environment) -> Result<(), CliError> {
    let config = load(&args.config, environment, Exposure::Insecure)?;
    let router = registry::open(&config, args.router.as_deref())
        .await
        .map_err(CliError::failed)?;
    let instruction = asking::tier(&config, &router).await?;
    let composition = Composition::new(&config, router).with_instruction(instruction);
    match (&args.text, &args.file) {
        (Some(text), _) => {
            let explained = explain(&composition, json!({"text": text}))
                .await
                .map_err(CliError::Usage)?;
            if args.json {
                print_json(None, &explained)
            } else {
                tell(&explained, args.explain)
            }
        }
        (None, Some(file)) => route_file(&composition, file, args.json).await,
        (None, None) => Err(CliError::Usage("give a question or --file".into())),
    }
}

async fn route_file(composition: &Composition, path: &Path, as_json: bool) -> Result<(), CliError> {
    let unreadable =
        |error: io::Error| CliError::Usage(format!("{} cannot be read: {error}", path.display()));
    let mut file = BufReader::new(File::open(path).map_err(unreadable)?);
    bom::skip(&mut file).map_err(unreadable)?;
    let rows = file.lines().enumerate();
    let mut questions = 0_usize;
    let mut decided = stream::iter(rows)
        .map(|(at, line)| async move {
            let place =
                |what: String| CliError::Usage(format!("{}:{}: {what}", path.display(), at + 1));
            let line = line.map_err(|error| place(error.to_string()))?;
            if line.trim().is_empty() {
                return Ok(None);
            }
            let row: Value =
                serde_json::from_str(&line).map_err(|error| place(error.to_string()))?;
            let id = row.get("id").cloned();
            let explained = explain(composition, row).await.map_err(place)?;
            Ok(Some((id, explained)))
        })
        .buffered(ROWS_AT_ONCE);
    while let Some(decision) = decided.next().await {
        let Some((id, explained)) = decision? else {
            continue;
        };
        questions += 1;
        if as_json {
            print_json(id, &explained)?;
        } else {
            if questions == 1 {
                output::line(&COLUMNS.join("\t"));
            }
            let at = id.map_or_else(|| questions.to_string(), |id| in_a_column(&id));
            output::line(&format!("{at}\t{}", summary(&explained)));
        }
    }
    some(questions, path)
}

/// A file without questions is mostly another one than was meant.
fn some(questions: usize, path: &Path) -> Result<(), CliError> {
    if questions > 0 {
        return Ok(());
    }
    let what = "holds no questions; write a JSON object a line, with `text` or `messages`";
    Err(CliError::Usage(format!("{} {what}", path.display())))
}

async fn explain(composition: &Composition, row: Value) -> Result<Explained, String> {
    let request = composition::dry_run(row).map_err(|invalid| invalid.to_string())?;
    let wish = Wish {
        chance: Chance::Told,
        ..Wish::default()
    };
    composition
        .explain(&request, &wish)
        .await
        .map_err(|undecided| undecided.to_string())
}

fn print_json(id: Option<Value>, explained: &Explained) -> Result<(), CliError> {
    let mut document = serde_json::to_value(explained).map_err(CliError::failed)?;
    if let Some(id) = id {
        document["id"] = id;
    }
    output::json(&document).map_err(CliError::failed)
}

/// What stands in a line of a table of decisions, one tab between two.
const COLUMNS: [&str; 6] = ["id", "category", "confidence", "tier", "expert", "reason"];

/// The id that a row of a file gave itself, without what would break the table.
fn in_a_column(id: &Value) -> String {
    let plain = id.as_str().map_or_else(|| id.to_string(), str::to_owned);
    plain.replace(|c: char| c.is_control(), " ")
}

/// One decision in one line, behind its id: see [`COLUMNS`].
fn summary(explained: &Explained) -> String {
    let category = explained
        .category
        .as_ref()
        .map_or("-", |category| category.as_str());
    format!(
        "{category}\t{:.3}\t{}\t{}\t{}",
        explained.confidence,
        explained.tier.map_or("-", |tier| tier.as_str()),
        explained.expert,
        explained.reason.kind()
    )
}

/// One decision at length.
fn tell(explained: &Explained, at_length: bool) -> Result<(), CliError> {
    let category = explained
        .category
        .as_ref()
        .map_or("-", |category| category.as_str());
    output::line(&format!("category    {category}"));
    output::line(&format!("confidence  {:.3}", explained.confidence));
    let fallbacks = explained
        .fallbacks
        .iter()
        .map(|expert| format!(", then {expert}"))
        .collect::<String>();
    output::line(&format!("expert      {}{fallbacks}", explained.expert));
    if let Some(cascade) = &explained.mapping.cascade {
        output::line(&format!(
            "first       {}, if its answer passes",
            cascade.first
        ));
    }
    if explained.propensity < 1.0 {
        output::line(&format!(
            "propensity  {:.4}; others are tried out with the rest",
            explained.propensity
        ));
    }
    for passed_over in &explained.mapping.passed_over {
        output::line(&format!("passed over {}", words::limit(passed_over)));
    }
    output::line(&format!("reason      {}", words::reason(explained)));
    let scores = explained.scores.iter().take(SCORES_SHOWN);
    let scores: Vec<String> = scores
        .map(|s| format!("{} {:.3}", s.category, s.probability))
        .collect();
    output::line(&format!("scores      {}", scores.join(", ")));
    if let Some(explanation) = &explained.explanation {
        let tier = explained.tier.unwrap_or(explanation.tier);
        tell_why(explanation, tier);
    }
    if let Some(instructed) = &explained.instruction {
        tell_instruction(instructed, at_length);
    }
    output::line(&format!("router      {}", explained.router));
    output::line(&format!("mapping     {}", explained.mapping.id));
    output::line(&format!(
        "took        {:.1} ms",
        explained.took_us as f64 / 1000.0
    ));
    Ok(())
}

/// What the instruction tier was asked, and what came of it.
fn tell_instruction(instructed: &Instructed, at_length: bool) {
    let detail = instructed
        .detail
        .as_ref()
        .map(|detail| format!(": {detail}"));
    let (mode, result) = (instructed.mode.as_str(), instructed.result);
    let took_ms = instructed.took_us as f64 / 1000.0;
    output::line(&format!(
        "asked       {} ({mode}), {result}{}, {took_ms:.1} ms",
        instructed.expert,
        detail.unwrap_or_default()
    ));
    if let Some(instruction) = &instructed.instruction {
        output::line(&format!("demands     {instruction}"));
    }
    for (who, what) in words::compared(instructed) {
        output::line(&format!("{who:<11} {what}"));
    }
    if !at_length {
        return;
    }
    for near in &instructed.nearest {
        output::line(&format!(
            "card        {} {}, cosine {:.3}",
            near.of, near.id, near.cosine
        ));
    }
    for part in &instructed.parts {
        output::line(&format!(
            "part        {}: router {:.3}, instruction {:.3}, both {:.3}",
            part.category, part.router, part.said, part.both
        ));
    }
    if let Some(usage) = instructed.usage {
        let usd = instructed.cost_usd.map(|usd| format!(", ${usd:.6}"));
        output::line(&format!(
            "tokens      {} read, {} written{}",
            usage.prompt_tokens,
            usage.completion_tokens,
            usd.unwrap_or_default()
        ));
    }
}

/// What the router's likeliest class has over the next one. `tier`: which one settled the question.
fn tell_why(why: &Explanation, tier: TierName) {
    let settles = |from| format!("; the cheap one settles from {from:.3}");
    let settles = why.settled_from.map_or_else(String::new, settles);
    output::line(&format!("tier        {}{settles}", tier.as_str()));
    let (margin, from) = (why.margin, why.confidence_min);
    output::line(&format!(
        "margin      {margin:.3} by the router, which routes from {from:.3}"
    ));
    for (class, shares) in [
        (&why.winner, &why.features_for),
        (&why.runner_up, &why.features_against),
    ] {
        let named = |share: &FeatureShare| format!("{} {:.2}", share.feature, share.share.abs());
        let shares: Vec<String> = shares.iter().map(named).collect();
        output::line(&format!("spoke for   {class}: {}", shares.join(", ")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_questions_is_refused() {
        let error = some(0, Path::new("empty.jsonl")).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("empty.jsonl holds no questions; write")
        );
        assert!(some(1, Path::new("one.jsonl")).is_ok());
    }
}
