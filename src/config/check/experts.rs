//! `experts`: who can answer, and how they are reached.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Read,
    path::Path,
};

use secrecy::SecretString;
use url::Url;

use crate::{
    config::{
        Capability, Dialect, ExpertConfig, ExpertKind, Prefill, RemoteConfig, RemotePlace,
        Timeouts, defaults, document::Place, raw, suggest::quoted, units,
    },
    ids::{ExpertId, is_expert_name},
    models::{self, ModelError},
};

use super::{Check, delivery};

/// The ends of addresses that name one endpoint instead of all.
const ENDPOINTS: [&str; 2] = ["/completions", "/messages"];

/// Model names that mean the whole composition.
const RESERVED: [&str; 2] = ["coterie", "auto"];

/// Capabilities that models in this process do not have.
const BEYOND_LOCAL: [&str; 4] = ["tools", "images", "json", "embeddings"];

/// The experts, in the order of the file; those that are mistaken are left out.
pub(in crate::config) fn experts(
    raw: &BTreeMap<String, raw::Expert>,
    place: Place<'_>,
    check: &mut Check<'_>,
) -> Vec<ExpertConfig> {
    if raw.is_empty() && place.keys().next().is_none() {
        let help = "define at least one, such as `general: { kind: local, model: … }`";
        check.wrong(place, "there is no expert", help);
    }
    for id in place.keys() {
        check_id(id, place.key(id), check);
    }
    let mut in_order: Vec<_> = raw.iter().collect();
    in_order.sort_by_key(|(id, _)| place.key(id).position);
    in_order
        .into_iter()
        .filter_map(|(id, raw)| expert(id, raw, place.at(id), check))
        .collect()
}

fn check_id(id: &str, place: Place<'_>, check: &mut Check<'_>) {
    if RESERVED.contains(&id) {
        let message = format!("an expert cannot be called `{id}`: the name stands for all of them");
        check.wrong(place, message, "choose another name");
    } else if !is_expert_name(id) {
        let message = format!("an expert cannot be called `{id}`");
        check.wrong(place, message, "use a to z, 0 to 9, `.`, `_` and `-` alone");
    }
}

fn expert(
    id: &str,
    raw: &raw::Expert,
    place: Place<'_>,
    check: &mut Check<'_>,
) -> Option<ExpertConfig> {
    let (kind, concurrent_max, prefill) = match raw {
        raw::Expert::Local(raw) => (
            local(raw, place, check),
            Some(defaults::LOCAL_CONCURRENT),
            Prefill::ContinueFinalMessage,
        ),
        raw::Expert::Remote(raw) => (
            remote(id, raw, place, check),
            raw.concurrent_max,
            raw.prefill.unwrap_or(match raw.dialect {
                Dialect::Openai => Prefill::None,
                Dialect::Anthropic => Prefill::LastMessage,
            }),
        ),
    };
    let common = raw.common();
    let (usd_in, usd_out) = raw.prices();
    let timeouts = timeouts(&common.timeouts, place.at("timeouts"), check);
    let retries = delivery::retries(&common.retries, place.at("retries"), check);
    let breaker = delivery::breaker(&common.breaker, place.at("breaker"), check);
    Some(ExpertConfig {
        id: ExpertId::new(id),
        kind: kind?,
        params_b: common.params_b,
        usd_in,
        usd_out,
        context_tokens: common.context_tokens,
        capabilities: raw.capabilities().to_vec(),
        concurrent_max,
        queue_max: common.queue_max,
        timeouts: timeouts?,
        retries: retries?,
        breaker: breaker?,
        prefill,
    })
}

fn local(raw: &raw::Local, place: Place<'_>, check: &mut Check<'_>) -> Option<ExpertKind> {
    for place in place.at("capabilities").texts() {
        if let Some(beyond) = place.text().filter(|text| BEYOND_LOCAL.contains(text)) {
            let message = format!("a local expert has no `{beyond}`");
            check.wrong(place, message, "it can `chat`; take the others out");
        }
    }
    let model = raw.model.as_deref()?;
    let path = check.resolve(model)?;
    let place = place.at("model");
    match models::gguf_in(&path) {
        Ok(model_file) if is_gguf(&model_file) => return Some(ExpertKind::Local { model_file }),
        Ok(model_file) => {
            let message = format!("`{}` is no GGUF file", model_file.display());
            check.wrong(
                place,
                message,
                "name a GGUF model; `coterie models list` tells whether a download is whole",
            );
        }
        Err(ModelError::ManyGguf { found, .. }) => {
            let names: Vec<_> = found
                .iter()
                .filter_map(|path| path.file_name()?.to_str())
                .collect();
            let message = format!("the folder `{}` holds several GGUF files", path.display());
            let help = format!("name one of them: {}", quoted(&names, "or"));
            check.wrong(place, message, help);
        }
        Err(_) if path.is_dir() => {
            let message = format!("the folder `{}` holds no GGUF file", path.display());
            check.absent(place, message, model);
        }
        Err(_) => {
            let message = format!("the model `{}` is absent", path.display());
            check.absent(place, message, model);
        }
    }
    None
}

/// Whether a file begins as GGUF files do; whether the rest of it holds a model is found out when it is loaded.
fn is_gguf(path: &Path) -> bool {
    let mut magic = [0; 4];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut magic));
    read.is_ok() && magic == *b"GGUF"
}

fn remote(
    id: &str,
    raw: &raw::Remote,
    place: Place<'_>,
    check: &mut Check<'_>,
) -> Option<ExpertKind> {
    let base_url = raw
        .base_url
        .as_deref()
        .and_then(|text| base_url(text, place.at("base_url"), check));
    if raw.dialect == Dialect::Anthropic && raw.capabilities.contains(&Capability::Embeddings) {
        let message = "Anthropic's dialect has no embeddings";
        let help = "take `embeddings` out of `capabilities`";
        check.wrong(place.at("capabilities"), message, help);
    }
    let api_key = match &raw.api_key {
        Some(secret) => secret_of(id, secret, place.at("api_key"), check).map(Some),
        None => Some(None),
    };
    let model = raw.model.as_deref().map(str::trim);
    if model == Some("") {
        let help = "write the provider's name for the model";
        check.wrong(place.at("model"), "`model` is empty", help);
    }
    let replicas = replicas(id, raw, place.at("replicas"), check);
    let first = RemotePlace {
        base_url: base_url?,
        api_key: api_key?,
    };
    let places = replicas.into_iter().map(|replica| RemotePlace {
        api_key: replica.api_key.or_else(|| first.api_key.clone()),
        ..replica
    });
    Some(ExpertKind::Remote(RemoteConfig {
        dialect: raw.dialect,
        model: model?.to_owned(),
        places: std::iter::once(first.clone()).chain(places).collect(),
    }))
}

/// Further endpoints; those that are mistaken are left out.
fn replicas(
    id: &str,
    raw: &raw::Remote,
    list: Place<'_>,
    check: &mut Check<'_>,
) -> Vec<RemotePlace> {
    let mut seen = vec![raw.base_url.as_deref()];
    let mut places = Vec::new();
    for (replica, place) in raw.replicas.iter().zip(list.maps()) {
        let text = replica.base_url.as_deref();
        if text.is_some() && seen.contains(&text) {
            let help = "name each endpoint once";
            check.wrong(place.at("base_url"), "the endpoint is here twice", help);
        }
        seen.push(text);
        let url = text.and_then(|text| base_url(text, place.at("base_url"), check));
        let key = match &replica.api_key {
            Some(secret) => secret_of(id, secret, place.at("api_key"), check).map(Some),
            None => Some(None),
        };
        if let (Some(base_url), Some(api_key)) = (url, key) {
            places.push(RemotePlace { base_url, api_key });
        }
    }
    places
}

fn base_url(text: &str, place: Place<'_>, check: &mut Check<'_>) -> Option<Url> {
    let help = "write the address up to and including `/v1`, such as `https://api.example.com/v1`";
    match units::base_url(text) {
        Ok(url) if ENDPOINTS.iter().any(|end| url.path().ends_with(end)) => {
            check.wrong(place, "`base_url` names one endpoint", help);
            None
        }
        Ok(url) => Some(url),
        Err(wrong) => {
            check.wrong(place, format!("`base_url` {wrong}"), help);
            None
        }
    }
}

fn secret_of(
    id: &str,
    raw: &raw::Secret,
    place: Place<'_>,
    check: &mut Check<'_>,
) -> Option<SecretString> {
    let (place, found) = match raw {
        raw::Secret::Env(name) => (place.at("env"), from_variable(id, name, check)),
        raw::Secret::File(path) => (place.at("file"), from_file(path)),
    };
    let usable = found.and_then(|secret| {
        let secret = secret.trim();
        let in_a_header = !secret.is_empty() && secret.chars().all(|c| c.is_ascii_graphic());
        in_a_header
            .then(|| SecretString::from(secret))
            .ok_or_else(|| {
                let message = "the key is empty, or holds what no HTTP header takes".to_owned();
                (message, "a key is one word of ASCII".to_owned())
            })
    });
    usable
        .map_err(|(message, help)| check.wrong(place, message, help))
        .ok()
}

/// What is wrong, and the way to mend it.
type Wrong = (String, String);

fn from_variable(id: &str, name: &str, check: &Check<'_>) -> Result<String, Wrong> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || !name.chars().all(is_name) {
        // Not shown: it may be the key.
        let message = "`env` is no name of an environment variable".to_owned();
        let help = "write the variable's name, such as `OPENAI_API_KEY`, not the key".to_owned();
        return Err((message, help));
    }
    check
        .environment
        .get(name)
        .map(str::to_owned)
        .ok_or_else(|| {
            let message = format!("the environment variable `{name}` is not set");
            (
                message,
                format!("set it to the key of `{id}`, or take `api_key` out"),
            )
        })
}

fn from_file(path: &str) -> Result<String, Wrong> {
    fs::read_to_string(path).map_err(|error| {
        let message = format!("the key file `{path}` cannot be read: {error}");
        (message, "put the key there, alone".to_owned())
    })
}

fn timeouts(raw: &raw::Timeouts, place: Place<'_>, check: &mut Check<'_>) -> Option<Timeouts> {
    let connect = check.duration("connect", &raw.connect, place);
    let first_token = check.duration("first_token", &raw.first_token, place);
    let idle = check.duration("idle", &raw.idle, place);
    let total = check.duration("total", &raw.total, place);
    check.at_most(("first_token", first_token), ("total", total), place);
    Some(Timeouts {
        connect: connect?,
        first_token: first_token?,
        idle: idle?,
        total: total?,
    })
}
