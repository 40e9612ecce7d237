//! The configuration, checked: what `config/coterie.yaml` says, with every name resolved and every bound verified.
//! The only reader of the environment. Knows nothing of HTTP or SQL.
//!
//! Relative paths are relative to the working directory; a path that begins with `models/` is inside `models.dir`.

mod cards;
mod check;
mod defaults;
mod delivery;
mod document;
mod embedded;
mod environment;
mod load;
mod mapping;
mod mistake;
mod raw;
mod routes;
mod schema;
mod server;
mod shape;
mod suggest;
#[cfg(test)]
mod tests;
mod units;

use std::{path::PathBuf, sync::Arc, time::Duration};

use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Serialize, Serializer};
use url::Url;

pub use cards::write as write_cards;
pub use delivery::{
    BreakerConfig, Delivery, DeliveryConfig, PolicyRefusals, Prefill, Retries, RouteTimeouts,
    StreamRecovery,
};
pub use environment::Environment;
pub use load::{
    DEFAULT_PATH, embedded_routes, load, load_models, load_routes, load_to_serve, source_name,
};
pub use mapping::{MappingSource, quality_named, read as read_mapping};
pub use mistake::{Mistake, Mistakes};
pub use schema::{cards_schema, config_schema, mapping_schema, route_schema};
pub use server::{ApiKey, Limits, ServerConfig};

use crate::{
    cache::CacheConfig,
    catalogue::Catalogue,
    ids::{CategoryId, ExpertId},
    instruction::InstructionConfig,
    learning::{Origin, gate::Measure},
    mapping::{Explore, QualityModel},
};

/// The keys of `mapping`, which no category may be called.
pub const MAPPING_KEYS: &[&str] = &raw::MAPPING_KEYS;

/// Whether a name is a key of `mapping`, so that no category may be called so.
pub fn is_mapping_key(name: &str) -> bool {
    raw::MAPPING_KEYS.contains(&name)
}

/// Everything that `serve` needs to know before it binds.
#[derive(Debug)]
pub struct Config {
    /// Where to listen, for whom, and how much to take in.
    pub server: ServerConfig,
    /// Where outcomes go.
    pub store: StoreConfig,
    /// Where models lie.
    pub models: ModelsConfig,
    /// How questions are classified.
    pub router: RouterConfig,
    /// The experts, in the order of the file.
    pub experts: Vec<ExpertConfig>,
    /// Which expert answers which category.
    pub mapping: MappingConfig,
    /// Where that is written, to read it once more.
    pub mapping_source: MappingSource,
    /// How answers are brought to clients.
    pub delivery: DeliveryConfig,
    /// What is learnt from the traffic.
    pub learning: LearningConfig,
    /// What is kept of answers; none: nothing.
    pub cache: Option<CacheConfig>,
    /// The categories, with their examples.
    pub catalogue: Catalogue,
    /// The folder that they are read from; none: they are built in.
    pub routes_folder: Option<PathBuf>,
}

/// Whether a server without keys may be reached from other machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exposure {
    /// It may not: that is a mistake.
    Guarded,
    /// It may (`--insecure`), or nothing listens.
    Insecure,
}

/// `store`.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// The SQLite file (`sqlite://PATH`).
    pub path: PathBuf,
    /// How much of questions and answers is kept.
    pub content: ContentPolicy,
    /// How long outcomes are kept; none: for ever.
    pub keep: Option<Duration>,
    /// The same of questions of which somebody said what they were about, with what learning needs of them; none: for ever.
    pub keep_labelled: Option<Duration>,
    /// Longest time that an outcome waits to be written: what `kill -9` can lose.
    pub flush_interval: Duration,
}

/// How much of a question's and an answer's text is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum ContentPolicy {
    /// No text.
    None,
    /// Text with e-mail addresses, phone numbers, card numbers and keys masked.
    Redacted,
    /// Text as it came.
    Full,
}

/// `learning`.
#[derive(Clone, Debug)]
pub struct LearningConfig {
    /// By what a challenger has to be better.
    pub measure: Measure,
    /// Share of its rows that a category may lose, 0 to 1.
    pub category_margin: f64,
    /// Share of the rows from feedback that one client may give, and of an expert's rewards in a category, above 0.
    pub client_share_max: f64,
    /// Origins of labels that do not count.
    pub without: Vec<Origin>,
    /// Questions in which drift may be reported falsely once, on average.
    pub questions_per_false_alarm: f64,
}

/// `models`.
#[derive(Clone, Debug)]
pub struct ModelsConfig {
    /// The model store.
    pub dir: PathBuf,
    /// The model hub (`HF_ENDPOINT`).
    pub hub: Url,
    /// The hub's token (`HF_TOKEN`).
    pub hub_token: Option<SecretString>,
}

/// `router`.
#[derive(Clone, Debug)]
pub struct RouterConfig {
    /// Text → vector.
    pub encoder: EncoderConfig,
    /// The folder of fitted routers.
    pub artefacts: PathBuf,
    /// Share of the routed questions that may be misrouted, above 0 and below 1.
    pub misroute_max: f64,
    /// What is read of a question.
    pub features: Vec<FeatureKind>,
    /// The folder of the static encoder; none: that of the router that is built in.
    pub static_encoder: Option<PathBuf>,
    /// The folder of the trained router to use; none: the one that is built in, or that the routes make of it.
    pub artefact: Option<PathBuf>,
    /// Whether a session may hold on to its category.
    pub sticky: Sticky,
    /// Whether a question whose beginning and end are about different things is doubted.
    pub guard: Guard,
    /// An expert that is asked what a question demands; none: nobody is.
    pub instruction: Option<InstructionConfig>,
}

/// What is read of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum FeatureKind {
    /// Words and pieces of words.
    Sparse,
    /// The static encoder's vector.
    Static,
    /// The transformer's vectors.
    Transformer,
}

impl FeatureKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Sparse, Self::Static, Self::Transformer];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sparse => "sparse",
            Self::Static => "static",
            Self::Transformer => "transformer",
        }
    }
}

/// Whether a session may hold on to its category.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Sticky {
    /// It may, unless the evidence is against it.
    On,
    /// Every question is routed by what it says itself.
    Off,
}

/// Whether a question whose beginning and end are about different things is doubted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Guard {
    /// It is: somebody may have put the end there so that it is routed elsewhere.
    On,
    /// It is not.
    Off,
}

/// `router.encoder`, of kind `fastembed`.
#[derive(Clone, Debug)]
pub struct EncoderConfig {
    /// The name that `/v1/embeddings` knows it by: the folder's name.
    pub name: String,
    /// Folder with `model.safetensors` (or `model.onnx`), `tokenizer.json`, `config.json` and their like.
    pub model_dir: PathBuf,
    /// The ONNX Runtime library (`ORT_DYLIB_PATH` wins over the configuration).
    pub runtime: PathBuf,
}

/// One entry of `experts`.
#[derive(Clone, Debug)]
pub struct ExpertConfig {
    /// Its key.
    pub id: ExpertId,
    /// How it is reached.
    pub kind: ExpertKind,
    /// Size in billions of parameters.
    pub params_b: Option<f64>,
    /// Dollars per million tokens read; local experts cost 0 unless the file says otherwise.
    pub usd_in: Option<f64>,
    /// Dollars per million tokens written.
    pub usd_out: Option<f64>,
    /// Most tokens of conversation and answer together; none: unknown.
    pub context_tokens: Option<u32>,
    /// What it can do.
    pub capabilities: Vec<Capability>,
    /// Requests that it works on at once (a local expert always works on one); none: as many as prove to go well.
    pub concurrent_max: Option<usize>,
    /// Requests that may wait for it; one more gets 429.
    pub queue_max: usize,
    /// Its clocks.
    pub timeouts: Timeouts,
    /// When it is asked once more.
    pub retries: Retries,
    /// When it is left alone.
    pub breaker: BreakerConfig,
    /// How it takes up an answer that somebody else began.
    pub prefill: Prefill,
}

/// How an expert is reached.
#[derive(Clone, Debug)]
pub enum ExpertKind {
    /// A GGUF file, run in this process.
    Local {
        /// The file.
        model_file: PathBuf,
    },
    /// One or more endpoints elsewhere.
    Remote(RemoteConfig),
}

/// A model behind endpoints.
#[derive(Clone, Debug)]
pub struct RemoteConfig {
    /// What they speak.
    pub dialect: Dialect,
    /// The provider's name for the model.
    pub model: String,
    /// Where it answers, at least one.
    pub places: Vec<RemotePlace>,
}

/// One endpoint.
#[derive(Clone, Debug)]
pub struct RemotePlace {
    /// Up to and including `/v1`, without a slash at the end.
    pub base_url: Url,
    /// Sent as the dialect has it; never printed.
    pub api_key: Option<SecretString>,
}

/// What a remote expert speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Dialect {
    /// OpenAI's chat completions.
    #[default]
    Openai,
    /// Anthropic's messages.
    Anthropic,
}

/// What an expert can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Capability {
    /// Answers conversations.
    Chat,
    /// Calls tools.
    Tools,
    /// Reads pictures.
    Images,
    /// Keeps to a JSON schema.
    Json,
    /// Turns texts into vectors.
    Embeddings,
}

/// How long an expert may take.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// To connect (remote).
    pub connect: Duration,
    /// From the request to the first token, waiting in the queue not counted.
    pub first_token: Duration,
    /// Between one token and the next.
    pub idle: Duration,
    /// For the whole answer.
    pub total: Duration,
}

/// `mapping`, wherever it is written.
#[derive(Clone, Debug, Serialize)]
pub struct MappingConfig {
    /// Who answers what no category covers.
    pub default: ExpertId,
    /// Who is asked next if that fails, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub default_fallbacks: Vec<ExpertId>,
    /// Who answers each category that has an entry; the others go to the default expert.
    pub categories: Vec<(CategoryId, Assignment)>,
    /// Experts whose answer may cost more than this many dollars are passed over (`budget.usd_per_question`).
    pub usd_per_question_max: Option<f64>,
    /// What all answers of a day may cost together, in dollars (`budget.usd_per_day`).
    pub usd_per_day_max: Option<f64>,
    /// What counts where experts differ in quality and in cost.
    pub prefer: Prefer,
    /// What clients may prefer instead.
    pub prefer_allowed: Vec<Preference>,
    /// What predicts experts' success question by question.
    pub quality: Option<QualityFile>,
    /// Categories whose questions are put to a cheaper expert first.
    pub cascades: Vec<(CategoryId, CascadeConfig)>,
    /// How often another expert is tried out, and which; none: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub explore: Option<Explore>,
}

impl MappingConfig {
    /// Who answers a category; none where it has no entry, so that the default expert does.
    pub fn assigned(&self, category: &CategoryId) -> Option<&Assignment> {
        let mut categories = self.categories.iter();
        categories.find_map(|(known, assigned)| (known == category).then_some(assigned))
    }
}

/// Who answers a category.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Assignment {
    /// Who is asked first.
    pub expert: ExpertId,
    /// Who is asked next if that fails, in order.
    pub fallbacks: Vec<ExpertId>,
}

/// What counts where experts differ in quality and in cost.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Prefer {
    /// A word for it.
    Word(Preference),
    /// The predicted score that a unit of cost must bring, at least 0.
    CostWeight(f64),
}

/// A word for what counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Preference {
    /// The best answer, whatever it costs.
    Quality,
    /// Quality where it is worth its cost.
    Balanced,
    /// The cheapest answer that is likely to do.
    Economy,
}

impl Preference {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Quality, Self::Balanced, Self::Economy];

    /// The preference of a word, if it is one.
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == word)
    }

    /// The word itself.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Quality => "quality",
            Self::Balanced => "balanced",
            Self::Economy => "economy",
        }
    }
}

/// `mapping.quality`: a file, and what it held when the mapping was read.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct QualityFile {
    /// The file.
    pub path: PathBuf,
    /// SHA-256 of its bytes, in hexadecimal.
    pub sha256: String,
    /// The model.
    #[serde(skip)]
    pub model: Arc<QualityModel>,
}

/// A cheaper expert that is asked first.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CascadeConfig {
    /// Who is asked before the category's own expert.
    pub first: ExpertId,
    /// What its answer must pass to be taken.
    pub accept: Accept,
    /// Longest wait for the answer and its checks.
    #[serde(rename = "within_ms", serialize_with = "millis")]
    pub within: Duration,
}

fn millis<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u128(duration.as_millis())
}

/// What a first expert's answer must pass: all that is set, at least one.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Accept {
    /// The least mean log-probability of its tokens by the model itself, at most 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub likelihood_min: Option<f64>,
    /// Its code must parse.
    pub code_parses: bool,
    /// Who is asked whether it is right.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub judge: Option<ExpertId>,
    /// The least predicted success, 0 to 1, below which the first expert is not asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub predicted_success_min: Option<f64>,
}
