//! `POST /v1/embeddings`: the router's own encoder, or a remote embedding model under its id.

use std::sync::Arc;

use axum::{
    Extension, Json,
    extract::State,
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{ApiError, ApiState, auth::Caller, body::JsonBody};
use crate::{
    chat::{InvalidRequest, Usage, fields},
    composition::{MODEL_ALIAS, MODEL_NAME},
    mapping::BYTES_PER_TOKEN,
    quota::{Estimate, OverQuota, Quota, TokensTaken},
    router::encoder::{Reading, TEXTS_MAX},
};

/// Turns texts into vectors.
pub(super) async fn embed(
    State(state): State<ApiState>,
    Extension(caller): Extension<Caller>,
    body: JsonBody,
) -> Result<Response, ApiError> {
    let body = fields::body(body.value)?;
    let model = fields::required_string(&body, "model")?;
    let quota = state.app.quotas.of(caller.key_name.as_deref());
    if let Some(remote) = state.app.experts.embedder(&model) {
        let tokens = admit(quota, &body)?;
        let answer = remote.embed(&body).await?;
        if let Some(tokens) = tokens {
            match counted(&answer) {
                Some(used) => tokens.settle(used),
                None => tokens.keep(),
            }
        }
        return Ok(Json(answer).into_response());
    }
    let encoder = state.app.composition.router().encoder();
    if model != encoder.name() && model != MODEL_NAME && model != MODEL_ALIAS {
        return Err(match state.app.composition.target(&model) {
            Some(_) => ApiError::EmbedsNothing { model },
            None => ApiError::UnknownModel { model },
        });
    }
    let format = Format::of(&body)?;
    let texts = texts(&body)?;
    let tokens = admit(quota, &body)?;
    let readings = encoder.embed(texts).await?;
    if let Some(tokens) = tokens {
        tokens.settle(pieces(&readings) as u64);
    }
    let wanted = fields::count(&body, "dimensions")?;
    let dimensions = encoder.dimensions();
    if wanted.is_some_and(|wanted| wanted as usize != dimensions) {
        let message = format!(
            "`{}` gives {dimensions} dimensions and no other number",
            encoder.name()
        );
        return Err(InvalidRequest::at("dimensions", message).into());
    }
    Ok(Json(response(encoder.name(), &readings, format)).into_response())
}

/// Takes what a request may use of its client's quota, where it has one: as many tokens as its input may have.
fn admit(
    quota: Option<&Arc<Quota>>,
    body: &Map<String, Value>,
) -> Result<Option<TokensTaken>, OverQuota> {
    let Some(quota) = quota else {
        return Ok(None);
    };
    let admitted = quota.admit(Estimate {
        prompt_tokens: body.get("input").map_or(0, tokens_of),
        answer_tokens: 0,
    })?;
    Ok(admitted.begin())
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
