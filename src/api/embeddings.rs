//! `POST /v1/embeddings`: the router's own encoder, or a remote embedding model under its id.

use std::sync::Arc;

use axum::{
    Extension, Json,
    extract::State,
    http::header::CONTENT_TYPE,
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{ApiError, ApiState, auth::Caller, body::JsonBody};
use crate::{
    app::App,
    chat::{InvalidRequest, Usage, fields},
    composition::{MODEL_ALIAS, MODEL_NAME},
    heavy,
    ids::ExpertId,
    mapping::BYTES_PER_TOKEN,
    outcome::{Reservations, Sum, Used},
    quota::{Admitted, Estimate, OverQuota, Quota},
    router::encoder::Reading,
};

/// Most texts of one request, as many as OpenAI takes.
const TEXTS_MAX: usize = 2048;

/// Turns texts into vectors.
pub(super) async fn embed(
    State(state): State<ApiState>,
    Extension(caller): Extension<Caller>,
    body: JsonBody,
) -> Result<Response, ApiError> {
    state.refuse_unless_ready()?;
    let body = fields::body(body.value)?;
    let model = fields::required_string(&body, "model")?;
    let quota = state.app.quotas.of(caller.key_name.as_deref());
    if let Some(remote) = state.app.experts.embedder(&model) {
        let expert = ExpertId::new(model);
        let reserved = reserve(&state.app, quota, &expert, &body)?;
        let answer = remote.embed(&body).await?;
        let tokens = counted(&answer);
        reserved.settle(Used {
            is_something: true,
            usd: Sum::of(tokens.map(|tokens| state.app.usd_of_reading(&expert, tokens))),
            tokens: Sum::of(tokens),
            tokens_streamed: 0,
        });
        return Ok(Json(answer).into_response());
    }
    let router = state.app.composition.router();
    let encoder = router.encoder();
    if model != encoder.name() && model != MODEL_NAME && model != MODEL_ALIAS {
        return Err(match state.app.composition.target(&model) {
            Some(_) => ApiError::EmbedsNothing { model },
            None => ApiError::UnknownModel { model },
        });
    }
    let format = Format::of(&body)?;
    let texts = texts(&body)?;
    let wanted = fields::count(&body, "dimensions")?;
    let dimensions = encoder.dimensions();
    if wanted.is_some_and(|wanted| wanted as usize != dimensions) {
        let message = format!(
            "`{}` gives {dimensions} dimensions and no other number",
            encoder.name()
        );
        return Err(InvalidRequest::at("dimensions", message).into());
    }
    let tokens = admit(quota, &body)?.begin();
    let readings = encoder.embed_all(&texts).await?;
    if let Some(tokens) = tokens {
        tokens.settle(pieces(&readings) as u64);
    }
    let bytes = readings.len() * dimensions * size_of::<f32>();
    let write = || response(encoder.name(), &readings, format).to_string();
    let written = heavy::on(bytes, write);
    Ok(([(CONTENT_TYPE, "application/json")], written).into_response())
}

/// Takes what a request may use of its client's quota, where it has one: as many tokens as its input may have.
fn admit(quota: Option<&Arc<Quota>>, body: &Map<String, Value>) -> Result<Admitted, OverQuota> {
    let Some(quota) = quota else {
        return Ok(Admitted::default());
    };
    quota.admit(Estimate {
        prompt_tokens: input_tokens(body),
        answer_tokens: 0,
    })
}

/// The same, and the dollars that a remote model may cost.
fn reserve(
    app: &App,
    quota: Option<&Arc<Quota>>,
    expert: &ExpertId,
    body: &Map<String, Value>,
) -> Result<Reservations, ApiError> {
    let admitted = admit(quota, body)?;
    let tokens = input_tokens(body);
    let dollars = app.reserve_reading(expert, tokens, quota.map(Arc::as_ref))?;
    Ok(Reservations {
        tokens: admitted.begin(),
        ..dollars
    })
}

/// Tokens of what is to be read, estimated.
fn input_tokens(body: &Map<String, Value>) -> u64 {
    body.get("input").map_or(0, tokens_of)
}

/// Tokens of an input, estimated: of texts by their length; numbers are tokens already.
fn tokens_of(input: &Value) -> u64 {
    match input {
        Value::String(text) => text.len().div_ceil(BYTES_PER_TOKEN) as u64,
        Value::Array(inputs) => inputs.iter().map(tokens_of).sum(),
        Value::Number(_) => 1,
        Value::Null | Value::Bool(_) | Value::Object(_) => 0,
    }
}

/// Tokens, as the provider counted them.
fn counted(answer: &Map<String, Value>) -> Option<u64> {
    let usage = Usage::deserialize(answer.get("usage")?).ok()?;
    Some(usage.tokens())
}

/// How vectors are written: OpenAI's Python client asks for base64 unless told otherwise.
#[derive(Clone, Copy)]
enum Format {
    Float,
    Base64,
}

impl Format {
    fn of(body: &Map<String, Value>) -> Result<Self, InvalidRequest> {
        match body
            .get("encoding_format")
            .filter(|format| !format.is_null())
        {
            None => Ok(Self::Float),
            Some(Value::String(format)) if format == "float" => Ok(Self::Float),
            Some(Value::String(format)) if format == "base64" => Ok(Self::Base64),
            Some(_) => Err(InvalidRequest::at(
                "encoding_format",
                "`encoding_format` must be float or base64",
            )),
        }
    }

    fn write(self, vector: &[f32]) -> Value {
        match self {
            Self::Float => json!(vector),
            Self::Base64 => {
                let bytes: Vec<u8> = vector
                    .iter()
                    .flat_map(|number| number.to_le_bytes())
                    .collect();
                STANDARD.encode(bytes).into()
            }
        }
    }
}

fn texts(body: &Map<String, Value>) -> Result<Vec<String>, InvalidRequest> {
    let wrong = || {
        InvalidRequest::at(
            "input",
            "`input` must be a text or a list of texts, none empty; tokens are not supported",
        )
    };
    let texts = match body.get("input") {
        Some(Value::String(text)) => vec![text.clone()],
        Some(Value::Array(texts)) => texts
            .iter()
            .map(|text| text.as_str().map(str::to_owned))
            .collect::<Option<Vec<_>>>()
            .ok_or_else(wrong)?,
        _ => return Err(wrong()),
    };
    if texts.len() > TEXTS_MAX {
        let message = format!(
            "`input` has {} texts; send at most {TEXTS_MAX} at once",
            texts.len()
        );
        return Err(InvalidRequest::at("input", message));
    }
    let fine = !texts.is_empty() && texts.iter().all(|text| !text.is_empty());
    if fine { Ok(texts) } else { Err(wrong()) }
}

/// Tokens that the encoder read.
fn pieces(readings: &[Reading]) -> usize {
    readings.iter().map(|reading| reading.pieces).sum()
}

fn response(model: &str, readings: &[Reading], format: Format) -> Value {
    let data: Vec<Value> = readings
        .iter()
        .enumerate()
        .map(|(index, reading)| {
            let embedding = format.write(&reading.vector);
            json!({"object": "embedding", "index": index, "embedding": embedding})
        })
        .collect();
    let tokens = pieces(readings);
    json!({
        "object": "list",
        "data": data,
        "model": model,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    })
}
