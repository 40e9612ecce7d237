//! Raw → checked. Every check goes on after a mistake, so that all of them are reported at once.

mod delivery;
mod experts;
mod instruction;
mod learning;
mod mapping;
mod opened;

use std::{
    ffi::OsStr,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use secrecy::SecretString;

use crate::{
    cache::{self, CacheConfig},
    models,
};

use super::{
    ApiKey, EncoderConfig, Environment, Exposure, Limits, ModelsConfig, RouterConfig, ServerConfig,
    StoreConfig, document::Place, mistake::Mistakes, raw, units,
};

pub(super) use delivery::delivery;
pub(super) use experts::experts;
pub(super) use instruction::instruction;
pub(super) use learning::learning;
pub(super) use mapping::{Known, Layer, mapping};
pub(super) use opened::Depth;

/// What the encoder cannot do without: one of each list, the first for choice.
pub(super) const ENCODER_FILES: [&[&str]; 5] = [
    &["model.safetensors", "model.onnx"],
    &["tokenizer.json"],
    &["config.json"],
    &["special_tokens_map.json"],
    &["tokenizer_config.json"],
];

const DAY_S: u64 = 24 * 60 * 60;

/// What every check needs.
pub(super) struct Check<'a> {
    pub environment: &'a Environment,
    pub mistakes: &'a mut Mistakes,
    /// How deep it looks.
    pub depth: Depth,
    /// The model store; none where it is not known.
    pub models_dir: Option<PathBuf>,
}

pub(super) fn server(
    raw: &raw::Server,
    place: Place<'_>,
    exposure: Exposure,
    check: &mut Check<'_>,
) -> Option<ServerConfig> {
    let listen = raw.listen.trim().parse::<SocketAddr>();
    if listen.is_err() {
        let message = format!("`listen` is `{}`", raw.listen);
        let help = "write an IP address and a port, such as `127.0.0.1:8400`";
        check.wrong(place.at("listen"), message, help);
    }
    let is_open = |listen: &SocketAddr| !listen.ip().is_loopback() && raw.keys.is_empty();
    if exposure == Exposure::Guarded && listen.as_ref().is_ok_and(is_open) {
        let message = format!(
            "`{}` can be reached from other machines, and no key is configured",
            raw.listen
        );
        let help = "configure `keys`, listen on 127.0.0.1, or pass --insecure to let everyone in";
        check.wrong(place.at("listen"), message, help);
    }
    let body_bytes_max = check.size("body_max", &raw.body_max, place);
    let limits = Limits::written(raw.limits.as_ref(), Limits::default());
    let keys = keys(&raw.keys, limits, place.at("keys"), check);
    let grace = check.duration("grace", &raw.grace, place);
    Some(ServerConfig {
        listen: listen.ok()?,
        limits: if keys.is_empty() {
            limits
        } else {
            Limits::default()
        },
        keys,
        body_bytes_max: usize::try_from(body_bytes_max?).ok()?,
        grace: grace?,
    })
}

/// The keys; what one leaves open of its limits is as `house` says.
fn keys(raw: &[raw::Key], house: Limits, list: Place<'_>, check: &mut Check<'_>) -> Vec<ApiKey> {
    let mut names = Vec::new();
    let mut keys = Vec::<ApiKey>::new();
    for (key, place) in raw.iter().zip(list.maps()) {
        if let Some(name) = &key.name {
            let place = place.at("name");
            if name.trim().is_empty() {
                check.wrong(place, "`name` is empty", "say whose key it is");
            } else if names.contains(&name) {
                let help = "give each client a name of its own";
                check.wrong(place, format!("two keys are called `{name}`"), help);
            }
            names.push(name);
        }
        let sha256 = key.sha256.as_deref().map(units::sha256);
        if sha256 == Some(None) {
            let help = "write 64 hexadecimal digits: `printf %s KEY | sha256sum` prints them";
            check.wrong(place.at("sha256"), "`sha256` is no SHA-256 digest", help);
        }
        if let (Some(name), Some(Some(sha256))) = (key.name.clone(), sha256) {
            if let Some(same) = keys.iter().find(|known| known.sha256 == sha256) {
                let message = format!("`{}` and `{name}` have the same `sha256`", same.name);
                let help = "give each client a key of its own";
                check.wrong(place.at("sha256"), message, help);
            }
            let limits = Limits::written(key.limits.as_ref(), house);
            keys.push(ApiKey {
                name,
                sha256,
                limits,
            });
        }
    }
    keys
}

pub(super) fn store(
    raw: &raw::Store,
    place: Place<'_>,
    check: &mut Check<'_>,
) -> Option<StoreConfig> {
    // A colon in front: SQLite's name for a store in memory, which every connection would have its own of.
    let path = raw
        .url
        .strip_prefix("sqlite://")
        .filter(|path| !path.is_empty() && !path.starts_with(':'));
    if let Some(path) = path {
        opened::store(Path::new(path), place.at("url"), check);
    } else {
        let help = "write `sqlite://` and the path of a file, such as `sqlite://data/coterie.db`";
        check.wrong(place.at("url"), format!("`url` is `{}`", raw.url), help);
    }
    let keep = match raw.keep.trim() {
        "forever" => Some(None),
        time => units::duration(time).map(Some),
    };
    if keep.is_none() {
        let help = "write a time such as `90 days`, or `forever`";
        check.wrong(place.at("keep"), format!("`keep` is `{}`", raw.keep), help);
    }
    let keep_labelled = match raw.keep_labelled.trim() {
        "forever" => Some(None),
        time => units::duration_or_none(time).map(Some),
    };
    if keep_labelled.is_none() {
        let help =
            "write a time such as `1 year`, `forever`, or `0 days` for as long as all others";
        let message = format!("`keep_labelled` is `{}`", raw.keep_labelled);
        check.wrong(place.at("keep_labelled"), message, help);
    }
    let flush_interval = check.duration("flush_interval", &raw.flush_interval, place);
    Some(StoreConfig {
        path: path?.into(),
        content: raw.content,
        keep: keep?,
        keep_labelled: keep_labelled?,
        flush_interval: flush_interval?,
    })
}

pub(super) fn cache(
    raw: &raw::Cache,
    place: Place<'_>,
    check: &mut Check<'_>,
) -> Option<CacheConfig> {
    let bytes_max = raw.max.as_ref().map(|max| check.size("max", max, place));
    let keep = check.duration("keep", &raw.keep, place);
    if keep.is_some_and(|keep| keep > cache::KEEP_MAX) {
        let message = format!("`keep` is `{}`", raw.keep.0);
        let help = format!(
            "write a time of at most {} days",
            cache::KEEP_MAX.as_secs() / DAY_S
        );
        check.wrong(place.at("keep"), message, help);
    }
    Some(CacheConfig {
        bytes_max: bytes_max??,
        keep: keep?,
    })
}

pub(super) fn models(
    raw: &raw::Models,
    place: Place<'_>,
    environment: &Environment,
    mistakes: &mut Mistakes,
) -> Option<ModelsConfig> {
    let dir = models_dir(raw, environment);
    if dir.is_none() {
        let message = "there is no cache folder to keep models in: HOME is not set".to_owned();
        let help = "write `models.dir`, or set COTERIE_MODELS_DIR".to_owned();
        mistakes.add(place, message, help);
    }
    let (name, hub) = match environment.get("HF_ENDPOINT") {
        Some(hub) => ("the environment variable HF_ENDPOINT", hub),
        None => ("`hub`", raw.hub.as_str()),
    };
    let hub = units::base_url(hub);
    if let Err(wrong) = hub {
        let help = "write the address of a model hub, such as `https://huggingface.co`".to_owned();
        mistakes.add(place.at("hub"), format!("{name} {wrong}"), help);
    }
    Some(ModelsConfig {
        dir: dir?,
        hub: hub.ok()?,
        hub_token: environment.get("HF_TOKEN").map(SecretString::from),
    })
}

/// The environment wins: scripts and containers set it.
pub(super) fn models_dir(raw: &raw::Models, environment: &Environment) -> Option<PathBuf> {
    let named = environment.get("COTERIE_MODELS_DIR").or(raw.dir.as_deref());
    let in_cache = || Some(environment.cache_dir()?.join("models"));
    named.map(PathBuf::from).or_else(in_cache)
}

pub(super) fn router(
    raw: &raw::Router,
    place: Place<'_>,
    check: &mut Check<'_>,
) -> Option<RouterConfig> {
    let encoder = encoder(&raw.encoder, place.at("encoder"), check);
    let misroute_max = misroute_max(&raw.misroute_max);
    if misroute_max.is_none() {
        let help = "write a share above 0 and below 1, such as `5%`";
        let shown = match &raw.misroute_max {
            raw::Share::Number(number) => number.to_string(),
            raw::Share::Text(text) => text.clone(),
        };
        check.wrong(
            place.at("misroute_max"),
            format!("`misroute_max` is `{shown}`"),
            help,
        );
    }
    if place.at("features").is_empty_list() {
        let help = "name one of `sparse`, `static` and `transformer` at least, or leave it out for all three";
        check.wrong(place.at("features"), "`features` is empty", help);
    }
    let static_encoder = raw.static_encoder.as_deref().map(|dir| check.resolve(dir));
    opened::router(
        raw,
        static_encoder.as_ref().and_then(Option::as_deref),
        place,
        check,
    );
    Some(RouterConfig {
        encoder: encoder?,
        artefacts: PathBuf::from(&raw.artefacts),
        misroute_max: misroute_max?,
        features: raw.features.clone(),
        static_encoder: static_encoder.flatten(),
        artefact: raw.artefact.as_deref().map(PathBuf::from),
        sticky: raw.sticky,
        guard: raw.guard,
        instruction: None,
    })
}

/// A share strictly between nothing and all: a bound of 0 could never be kept, and one of 1 would bound nothing.
fn misroute_max(raw: &raw::Share) -> Option<f64> {
    let share = match raw {
        raw::Share::Number(number) => *number,
        raw::Share::Text(text) => units::share(text)?,
    };
    (share > 0.0 && share < 1.0).then_some(share)
}

fn encoder(raw: &raw::Encoder, place: Place<'_>, check: &mut Check<'_>) -> Option<EncoderConfig> {
    let raw::EncoderKind::Fastembed = raw.kind;
    let model_dir = check.resolve(&raw.model);
    let runtime = match check.environment.get("ORT_DYLIB_PATH") {
        Some(path) => Some(PathBuf::from(path)),
        None => check.resolve(&raw.runtime),
    };
    if let Some(dir) = &model_dir {
        let is_absent = |files: &&[&str]| !files.iter().any(|file| dir.join(file).is_file());
        if let Some([file, ..]) = ENCODER_FILES.into_iter().find(is_absent) {
            let message = format!("the encoder's `{}` is absent", dir.join(file).display());
            check.absent(place.at("model"), message, &raw.model);
        }
    }
    if let Some(library) = runtime.as_ref().filter(|path| !path.is_file()) {
        let message = format!("the ONNX Runtime library `{}` is absent", library.display());
        let help = "`scripts/models onnxruntime` brings it; or name a library of your own here or in ORT_DYLIB_PATH";
        check.wrong(place.at("runtime"), message, help);
    } else if let Some(library) = &runtime {
        opened::library(library, place.at("runtime"), check);
    }
    let model_dir = model_dir?;
    Some(EncoderConfig {
        name: model_dir.file_name()?.to_string_lossy().into_owned(),
        runtime: runtime?,
        model_dir,
    })
}

impl Check<'_> {
    fn wrong(&mut self, place: Place<'_>, message: impl Into<String>, help: impl Into<String>) {
        self.mistakes.add(place, message.into(), help.into());
    }

    /// The time under `key` of the map at `place`.
    fn duration(
        &mut self,
        key: &str,
        raw: &raw::DurationText,
        place: Place<'_>,
    ) -> Option<Duration> {
        let duration = units::duration(&raw.0);
        if duration.is_none() {
            let message = format!("`{key}` is `{}`", raw.0);
            let help = "write a time longer than nothing, such as `250ms`, `30s` or `5min`";
            self.wrong(place.at(key), message, help);
        }
        duration
    }

    /// Refuses what is written under `key` and longer than what stands under `most`.
    fn at_most(
        &mut self,
        (key, time): (&str, Option<Duration>),
        (most, longest): (&str, Option<Duration>),
        place: Place<'_>,
    ) {
        let at = place.at(key);
        if let (Some(time), Some(longest)) = (time, longest)
            && at.is_written()
            && time > longest
        {
            let message = format!("`{key}` is longer than `{most}`, which is {longest:?}");
            let help = format!("shorten it, or write a longer `{most}`");
            self.wrong(at, message, help);
        }
    }

    /// The size under `key` of the map at `place`, in bytes.
    fn size(&mut self, key: &str, raw: &raw::Size, place: Place<'_>) -> Option<u64> {
        match raw {
            raw::Size::Bytes(bytes) => Some(*bytes),
            raw::Size::Text(text) => units::bytes(text).or_else(|| {
                let help = "write bytes, or a whole number and B, KiB, MiB or GiB, such as `8 MiB`";
                self.wrong(place.at(key), format!("`{key}` is `{text}`"), help);
                None
            }),
        }
    }

    /// Where a path points; none where it is inside a model store that is nowhere.
    fn resolve(&self, path: &str) -> Option<PathBuf> {
        match &self.models_dir {
            Some(dir) => Some(models::resolve(dir, path)),
            None => models::inside_store(path).is_none().then(|| path.into()),
        }
    }

    /// A model or a library is not there; one of the model store can be fetched.
    fn absent(&mut self, place: Place<'_>, message: String, path: &str) {
        let name = models::inside_store(path).and_then(|inside| inside.iter().next());
        let is_known = |name: &&OsStr| {
            let name = name.to_string_lossy().into_owned();
            models::Manifest::embedded().choose(&[name]).is_ok()
        };
        let help = match name.filter(is_known) {
            Some(name) => {
                let name = name.to_string_lossy();
                format!("`scripts/models {name}` or `coterie models pull {name}` brings it")
            }
            None => "put it there, or name another path".to_owned(),
        };
        self.wrong(place, message, help);
    }
}
