//! The ONNX Runtime library of this process: loaded once, and never in a way that can panic.

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use ort::environment::Environment;

use super::EncoderError;

/// The oldest ONNX Runtime that `ort` works with: 1.this.
pub(super) const MINOR_VERSION_MIN: u32 = ort::MINOR_VERSION;

/// The library in use and the one environment that a process may have; kept for ever, since neither can be made anew.
static LOADED: Mutex<Option<(PathBuf, Environment)>> = Mutex::new(None);

/// The process's environment, made by the library at `path` the first time it is asked for.
///
/// `ort` looks for a library by itself, and panics without one, unless it has been given one before its first use: so
/// this comes before everything else that touches `ort`.
pub(super) fn environment(path: &Path) -> Result<Environment, EncoderError> {
    let unusable = |detail: String| EncoderError::RuntimeUnusable {
        path: path.to_owned(),
        detail,
    };
    if !path.exists() {
        return Err(EncoderError::RuntimeMissing {
            path: path.to_owned(),
        });
    }
    // A bare name would be looked for in the system's folders instead.
    let file = path
        .canonicalize()
        .map_err(|error| unusable(error.to_string()))?;
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((loaded, environment)) = &*loaded {
        return if *loaded == file {
            Ok(environment.clone())
        } else {
            Err(EncoderError::RuntimeAlreadyLoaded {
                path: path.to_owned(),
                loaded: loaded.clone(),
            })
        };
    }
    let environment = ort::init_from(&file)
        .map_err(|error| unusable(error.to_string()))?
        .with_name("coterie")
        .with_telemetry(false)
        .build()
        .map_err(|error| unusable(error.to_string()))?;
    *loaded = Some((file, environment.clone()));
    Ok(environment)
}
