//! `coterie ask`.

use std::{
    io::Read,
    time::{Duration, Instant},
};

use clap::Args;
use futures_util::StreamExt;
use serde::Serialize;
use serde_json::json;

use super::{CliError, ConfigArgs, asking, load, output, signals::Signals};
use crate::{
    app::{App, Asked, Reply},
    cache::CacheWish,
    chat::{ChatRequest, Usage},
    composition::MODEL_NAME,
    config::{Environment, Exposure, Sticky},
    decision::{Decision, Reason},
    expert::{Answer, AnswerStream},
    mapping::Consent,
    session::Claim,
};

/// Longest question that is read from standard input, in bytes.
const QUESTION_BYTES_MAX: u64 = 1 << 20;

#[derive(Args)]
pub(super) struct AskArgs {
    /// The question; `-` reads it from standard input.
    question: String,
    #[command(flatten)]
    config: ConfigArgs,
    /// Ask this expert instead of letting the router choose.
    #[arg(long, value_name = "ID")]
    expert: Option<String>,
    /// Most tokens to answer with.
    #[arg(long, value_name = "N")]
    max_tokens: Option<u32>,
    /// Print one JSON document when the answer is complete, instead of streaming it.
    #[arg(long)]
    json: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Document<'a> {
    answer: &'a str,
    category: Option<&'a str>,
    confidence: f32,
    expert: &'a str,
    reason: &'a Reason,
    router: &'a str,
    outcome: &'a str,
    usage: Option<Usage>,
    tokens_per_second: Option<f64>,
    first_token_ms: Option<u128>,
    total_ms: u128,
}

pub(super) async fn run(args: AskArgs, environment: &Environment) -> Result<(), CliError> {
    let request = request(&args)?;
    let config = load(&args.config, environment, Exposure::Insecure)?;
    if let Some(id) = &args.expert {
        // Said before the models are loaded.
        asking::find(&config, id)?;
    }
    let mut signals = Signals::listen().map_err(CliError::failed)?;
    let app = App::open(config).await.map_err(CliError::failed)?;
    // Whatever ends it, the question's outcome is written before the command returns.
    let told = tokio::select! {
        told = ask(&app, request, args.json) => told,
        () = signals.received() => Err(CliError::Failed("interrupted".into())),
    };
    app.close().await;
    told
}

fn request(args: &AskArgs) -> Result<ChatRequest, CliError> {
    let mut question = args.question.clone();
    if question == "-" {
        question.clear();
        let read = std::io::stdin()
            .take(QUESTION_BYTES_MAX)
            .read_to_string(&mut question);
        read.map_err(|error| CliError::Usage(format!("standard input cannot be read: {error}")))?;
    }
    let model = args.expert.as_deref().unwrap_or(MODEL_NAME);
    let body = json!({
        "model": model,
        "messages": [{"role": "user", "content": question}],
        "stream": true,
        "max_tokens": args.max_tokens,
    });
    ChatRequest::parse(body).map_err(|invalid| CliError::Usage(invalid.to_string()))
}

async fn ask(app: &App, request: ChatRequest, as_json: bool) -> Result<(), CliError> {
    let asked = Asked {
        at: Instant::now(),
        claim: Claim {
            client: None,
            id: None,
            sticky: Sticky::Off,
        },
        prefer: None,
        cache: CacheWish::Avoid,
        explore: Consent::Given,
    };
    let reply = app
        .answer(request, asked.clone())
        .await
        .map_err(CliError::failed)?;
    let Reply {
        outcome_id,
        decision,
        expert,
        answer,
        ..
    } = reply;
    let Answer::Stream(pieces) = answer else {
        return Err(CliError::Failed(
            "the expert answered whole although a stream was asked for".into(),
        ));
    };
    if !as_json {
        output::note(&format!("{} → {expert}", because(&decision)));
    }
    let Some(heard) = listen(pieces, asked.at, as_json).await? else {
        return Ok(());
    };
    if !as_json {
        output::line("");
        output::note(&heard.summary());
        return Ok(());
    }
    let document = Document {
        answer: &heard.text,
        category: decision.category.as_ref().map(|category| category.as_str()),
        confidence: decision.confidence,
        expert: expert.as_str(),
        reason: &decision.reason,
        router: decision.router.as_str(),
        outcome: &outcome_id,
        usage: heard.usage,
        tokens_per_second: heard.tokens_per_second(),
        first_token_ms: heard.first_token.map(|time| time.as_millis()),
        total_ms: heard.total.as_millis(),
    };
    output::json(&document).map_err(CliError::failed)
}

/// Why the question goes where it goes, in words.
fn because(decision: &Decision) -> String {
    let percent = decision.confidence * 100.0;
    match &decision.reason {
        Reason::Routed => {
            let category = decision
                .category
                .as_ref()
                .map_or("", |category| category.as_str());
            format!("{category} ({percent:.0} %)")
        }
        Reason::Unsure {
            best,
            confidence_min,
        } => {
            format!(
                "unsure ({best} at {percent:.0} %, below {:.0} %)",
                confidence_min * 100.0
            )
        }
        Reason::OutOfDomain => "it belongs to no category".into(),
        Reason::Stayed { best } => format!("stays with its session, though {best} is likeliest"),
        Reason::Empty => "nothing to classify".into(),
        Reason::RouterFailed { detail } => format!("the router failed ({detail})"),
        Reason::CategoryNamed => "category as named".into(),
        Reason::ExpertNamed => "expert as named".into(),
    }
}

/// What came of an answer.
struct Heard {
    text: String,
    usage: Option<Usage>,
    first_token: Option<Duration>,
    total: Duration,
}

/// Hears an answer to its end; none if whoever reads standard output has left before it.
async fn listen(
    mut pieces: AnswerStream,
    asked_at: Instant,
    silent: bool,
) -> Result<Option<Heard>, CliError> {
    let mut heard = Heard {
        text: String::new(),
        usage: None,
        first_token: None,
        total: Duration::ZERO,
    };
    while let Some(piece) = pieces.next().await {
        let chunk = piece.map_err(CliError::failed)?;
        if let Some(text) = chunk.text() {
            heard.first_token.get_or_insert_with(|| asked_at.elapsed());
            heard.text.push_str(text);
            if !silent && output::piece(text).is_err() {
                return Ok(None);
            }
        }
        heard.usage = chunk.usage().or(heard.usage);
    }
    heard.total = asked_at.elapsed();
    Ok(Some(heard))
}

impl Heard {
    /// The pace of the answer after its first token; none for answers too short to have one.
    fn tokens_per_second(&self) -> Option<f64> {
        let tokens = self
            .usage?
            .completion_tokens
            .checked_sub(1)
            .filter(|&rest| rest > 0)?;
        let time = self.total.checked_sub(self.first_token?)?.as_secs_f64();
        (time > 0.0).then(|| tokens as f64 / time)
    }

    fn summary(&self) -> String {
        let tokens = self.usage.map_or_else(
            || "tokens not counted".into(),
            |usage| {
                format!(
                    "{} tokens read, {} written",
                    usage.prompt_tokens, usage.completion_tokens
                )
            },
        );
        let pace = self
            .tokens_per_second()
            .map_or_else(String::new, |pace| format!(", {pace:.0} tokens/s"));
        let first = self.first_token.map_or_else(String::new, |time| {
            format!(", first after {:.1} s", time.as_secs_f64())
        });
        format!(
            "{tokens}{pace}{first}, {:.1} s in all",
            self.total.as_secs_f64()
        )
    }
}
