//! `coterie instruct generate`.

use std::{collections::BTreeMap, path::PathBuf, pin::pin};

use clap::Args;
use futures_util::StreamExt as _;
use serde::Serialize;
use time::UtcDateTime;

use super::super::{CliError, ConfigArgs, asking, load, output};
use crate::{
    catalogue::Cards,
    causes::in_full,
    clock,
    config::{Config, Environment, ExpertConfig, Exposure, write_cards},
    files,
    ids::{CategoryId, ExpertId},
    instruction::{
        ask::means,
        prompt::Means,
        writing::{self, State},
    },
    learning::{
        judge::{Asked, Bounds, CUT_OFF, Question},
        reward::{Implicit, reward},
    },
    progress,
    store::Store,
};

/// The file of cards in a folder of routes.
const FILE: &str = "_cards.yaml";

/// Outcomes that are looked through for questions that an expert answered well, the newest.
const OUTCOMES_MAX: u32 = 20_000;

/// How good an answer must have been.
const GOOD_MIN: f64 = 0.8;

/// Fewest questions from which a card is written.
const QUESTIONS_MIN: usize = 3;

#[derive(Args)]
pub(super) struct GenerateArgs {
    /// Write the card of this expert alone: from questions that it answered well, else from the examples of the categories
    /// that are mapped to it.
    #[arg(long, value_name = "ID", conflicts_with = "category")]
    expert: Option<String>,
    /// Write the card of this category alone.
    #[arg(long, value_name = "NAME")]
    category: Option<String>,
    /// The expert that writes [default: that of `router.instruction`, else the default expert].
    #[arg(long, value_name = "ID")]
    by: Option<String>,
    /// Write those anew that are fresh, or were written or changed by hand, as well.
    #[arg(long)]
    again: bool,
    /// The file to write [default: `_cards.yaml` in the folder of routes].
    #[arg(long, value_name = "F.yaml")]
    out: Option<PathBuf>,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

/// Whose card it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Owner {
    Category(CategoryId),
    Expert(ExpertId),
}

/// A card that is to be written.
struct Due {
    owner: Owner,
    questions: Vec<String>,
    /// The digest of what it is made from.
    from: String,
}

/// What became of the cards.
#[derive(Debug, Default, Serialize)]
struct Generated {
    written: Vec<String>,
    /// Left as they are.
    kept: Vec<String>,
    /// Why others were not written.
    failed: BTreeMap<String, String>,
    file: PathBuf,
}

pub(super) async fn run(args: GenerateArgs, environment: &Environment) -> Result<(), CliError> {
    let config = load(&args.config, environment, Exposure::Insecure)?;
    let file = file(&args, &config)?;
    let by = writer(&args, &config)?;
    let mut generated = Generated {
        file,
        ..Generated::default()
    };
    let due = due(&args, &config, &mut generated).await?;
    let mut cards = config.catalogue.cards.clone();
    if !due.is_empty() {
        write_all(&config, by, due, &mut cards, &mut generated).await?;
    }
    if !generated.written.is_empty() {
        let file = &generated.file;
        files::write_whole(file, write_cards(&cards).as_bytes()).map_err(|error| {
            CliError::Failed(format!("{} cannot be written: {error}", file.display()))
        })?;
    }
    tell(&generated, args.json)
}

fn file(args: &GenerateArgs, config: &Config) -> Result<PathBuf, CliError> {
    let beside = config
        .routes_folder
        .as_ref()
        .map(|folder| folder.join(FILE));
    args.out.clone().or(beside).ok_or_else(|| {
        CliError::Usage(
            "the routes are built in, so that there is no folder to write their cards to; name a file with --out, or write `router.routes`".into(),
        )
    })
}

fn writer<'c>(args: &GenerateArgs, config: &'c Config) -> Result<&'c ExpertConfig, CliError> {
    let configured = config
        .router
        .instruction
        .as_ref()
        .map(|it| it.expert.as_str());
    let by = args.by.as_deref().or(configured);
    asking::find(config, by.unwrap_or(config.mapping.default.as_str()))
}

/// The cards that are to be written.
async fn due(
    args: &GenerateArgs,
    config: &Config,
    generated: &mut Generated,
) -> Result<Vec<Due>, CliError> {
    let mut due = Vec::new();
    let of_categories = args.expert.is_none();
    let of_experts = args.category.is_none();
    let named = args.category.as_deref();
    for route in config.catalogue.routes.iter().filter(|_| of_categories) {
        if named.is_some_and(|named| named != route.category.as_str()) {
            continue;
        }
        let card = config.catalogue.cards.categories.get(&route.category);
        let it = Due {
            owner: Owner::Category(route.category.clone()),
            questions: route.examples.clone(),
            from: route.digest(),
        };
        let state = writing::state(card, std::slice::from_ref(&it.from));
        choose(args.again, state, it, &mut due, generated);
    }
    if named.is_some() && due.is_empty() && generated.kept.is_empty() {
        return Err(CliError::Usage(format!(
            "there is no route `{}`",
            named.unwrap_or_default()
        )));
    }
    if let Some(id) = &args.expert {
        asking::find(config, id)?;
    }
    let experts: Vec<&ExpertConfig> = config
        .experts
        .iter()
        .filter(|expert| {
            of_experts
                && args
                    .expert
                    .as_deref()
                    .is_none_or(|id| id == expert.id.as_str())
        })
        .collect();
    let answered = if experts.is_empty() {
        BTreeMap::new()
    } else {
        answered_well(config).await?
    };
    for expert in experts {
        let examples = writing::mapped_to(config, &expert.id);
        let from = [
            writing::from_answers(expert),
            writing::from_examples(expert, &examples),
        ];
        let state = writing::state(config.catalogue.cards.experts.get(&expert.id), &from);
        let [from_answers, from_examples] = from;
        let good = answered
            .get(&expert.id)
            .filter(|questions| questions.len() >= QUESTIONS_MIN);
        let (questions, from) = match good {
            Some(good) => (good.clone(), from_answers),
            None => (examples, from_examples),
        };
        let owner = Owner::Expert(expert.id.clone());
        let it = Due {
            owner,
            questions,
            from,
        };
        choose(args.again, state, it, &mut due, generated);
    }
    Ok(due)
}

fn choose(again: bool, state: State, it: Due, due: &mut Vec<Due>, generated: &mut Generated) {
    let is_due = again || matches!(state, State::Missing | State::Stale);
    if !is_due {
        generated.kept.push(it.owner.to_string());
    } else if it.questions.len() < QUESTIONS_MIN {
        let why = format!(
            "there are {} questions to write it from; {QUESTIONS_MIN} are the least",
            it.questions.len()
        );
        generated.failed.insert(it.owner.to_string(), why);
    } else {
        due.push(it);
    }
}

/// Questions whose answers were good, by the expert that gave them, spread over all that there are.
async fn answered_well(config: &Config) -> Result<BTreeMap<ExpertId, Vec<String>>, CliError> {
    if !config.store.path.exists() {
        return Ok(BTreeMap::new());
    }
    let store = Store::open(&config.store.path)
        .await
        .map_err(CliError::failed)?;
    let served = store
        .served_since(0, OUTCOMES_MAX)
        .await
        .map_err(CliError::failed)?;
    store.close().await.map_err(CliError::failed)?;
    let mut good: BTreeMap<ExpertId, Vec<String>> = BTreeMap::new();
    for served in &served.served {
        let (Some(expert), Some(question)) = (&served.answered_by, &served.question) else {
            continue;
        };
        if reward(served, expert, Implicit::Counts).is_some_and(|reward| reward >= GOOD_MIN) {
            good.entry(expert.clone())
                .or_default()
                .push(question.clone());
        }
    }
    Ok(good
        .into_iter()
        .map(|(expert, questions)| (expert, spread(questions)))
        .collect())
}

/// As many as an expert is shown, from all over the list.
fn spread(texts: Vec<String>) -> Vec<String> {
    let stride = texts.len().div_ceil(writing::QUESTIONS_MAX).max(1);
    texts.into_iter().step_by(stride).collect()
}

/// Asks for each card that is due; one that fails leaves the others.
async fn write_all(
    config: &Config,
    by: &ExpertConfig,
    due: Vec<Due>,
    cards: &mut Cards,
    generated: &mut Generated,
) -> Result<(), CliError> {
    let bounds = Bounds {
        usd_max: None,
        concurrent: 1,
        reply_tokens_max: writing::CARD_TOKENS_MAX,
        tries_max: by.retries.max.saturating_add(1),
    };
    let judge = asking::open(config, by, bounds).await?;
    let means = means(by);
    let on = today();
    let bar = progress::bar(due.len() as u64, "writing cards");
    let questions = due.into_iter().map(|due| Question {
        body: writing::question(&due.questions, means),
        about: due,
    });
    let mut replies = pin!(judge.ask_all(questions));
    while let Some((due, asked)) = replies.next().await {
        let name = due.owner.to_string();
        match instruction_of(asked, means) {
            Ok(instruction) => {
                due.take_in(instruction, by, &on, cards);
                generated.written.push(name);
            }
            Err(why) => drop(generated.failed.insert(name, why)),
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(())
}

/// The card that was asked for, or why there is none.
fn instruction_of(asked: Asked, means: Means) -> Result<String, String> {
    match asked {
        Asked::Said(words) => {
            writing::card_of(&words, means).map_err(|unusable| unusable.to_string())
        }
        Asked::CutOff => Err(CUT_OFF.to_owned()),
        Asked::Failed(error) => Err(in_full(&error)),
        Asked::Unaffordable => Err("it was not asked".to_owned()),
    }
}

impl Due {
    /// Puts the card in its place.
    fn take_in(self, instruction: String, by: &ExpertConfig, on: &str, cards: &mut Cards) {
        let old = match &self.owner {
            Owner::Category(category) => cards.categories.get(category),
            Owner::Expert(expert) => cards.experts.get(expert),
        };
        let card = writing::card(instruction, old, by, on.to_owned(), self.from);
        match self.owner {
            Owner::Category(category) => drop(cards.categories.insert(category, card)),
            Owner::Expert(expert) => drop(cards.experts.insert(expert, card)),
        }
    }
}

/// The day, as `2026-11-28`.
fn today() -> String {
    let now = UtcDateTime::from_unix_timestamp(clock::now_ms() / 1000);
    let date = now.unwrap_or(UtcDateTime::UNIX_EPOCH).date();
    format!(
        "{:04}-{:02}-{:02}",
        date.year(),
        u8::from(date.month()),
        date.day()
    )
}

fn tell(generated: &Generated, as_json: bool) -> Result<(), CliError> {
    if as_json {
        output::json(generated).map_err(CliError::failed)?;
    } else {
        for name in &generated.written {
            output::line(&format!("written     {name}"));
        }
        for name in &generated.kept {
            output::line(&format!("kept        {name}"));
        }
        if !generated.written.is_empty() {
            output::line(&format!("file        {}", generated.file.display()));
        }
    }
    for (name, why) in &generated.failed {
        output::note(&format!("warning: no card for {name}: {why}"));
    }
    if generated.written.is_empty() && generated.kept.is_empty() {
        return Err(CliError::Failed("no card was written".into()));
    }
    Ok(())
}

impl std::fmt::Display for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Category(category) => write!(f, "the category {category}"),
            Self::Expert(expert) => write!(f, "the expert {expert}"),
        }
    }
}
