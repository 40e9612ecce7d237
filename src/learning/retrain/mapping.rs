//! The mapping's part of a retraining: outcomes → a proposed mapping → its file.

use std::{fs, io, path::PathBuf, time::Duration};

use super::{RetrainError, Retrained};
use crate::{
    clock, composition,
    config::{Capability, Config},
    ids::ExpertId,
    learning::{
        Origin,
        remap::{self, EditError, Remapped},
        reward::Implicit,
        served,
    },
    store::{Store, StoreError},
    train::files,
};

/// Most outcomes that are read, the newest: a kilobyte or two each.
const OUTCOMES_MAX: u32 = 200_000;

/// How old they may be: experts change behind their names.
const SPAN: Duration = Duration::from_hours(30 * 24);

/// The mapping's file as it would be, and as it was, beside the challenger's artefact.
pub const PROPOSED_FILE: &str = "mapping.yaml";
pub const REPLACED_FILE: &str = "mapping.before.yaml";

/// Why a mapping that passed was not put in force.
#[derive(Debug, thiserror::Error)]
pub enum MappingError {
    /// A file cannot be read or written.
    #[error("{} cannot be read or written", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file cannot be changed by a program.
    #[error("{} is left as it is; the report says what to change", path.display())]
    Edit {
        /// The file.
        path: PathBuf,
        /// Why.
        source: EditError,
    },
}

/// Which mapping the outcomes speak for.
///
/// # Errors
/// The store cannot be read.
pub(super) async fn propose(
    config: &Config,
    store: &Store,
    without: &[Origin],
) -> Result<Remapped, StoreError> {
    let span_ms = i64::try_from(SPAN.as_millis()).unwrap_or(i64::MAX);
    let since_ms = clock::now_ms().saturating_sub(span_ms);
    let mut served = store.served_since(since_ms, OUTCOMES_MAX).await?.served;
    served::notice_repeats(&mut served);
    if without.contains(&Origin::Judge) {
        served::leave_judges_out(&mut served);
    }
    let chat = config
        .experts
        .iter()
        .filter(|expert| expert.capabilities.contains(&Capability::Chat));
    let experts: Vec<ExpertId> = chat.map(|expert| expert.id.clone()).collect();
    let open = |mapping| composition::open_mapping(mapping, &config.experts);
    Ok(remap::remap(
        &served,
        &config.mapping,
        &experts,
        open,
        remap::Rules {
            implicit: Implicit::Counts,
            client_share_max: config.learning.client_share_max,
        },
    ))
}

/// Puts a mapping that passed in force, where it has a file of its own; both texts are kept beside the report. A running
/// server takes the file up by itself.
///
/// # Errors
/// The file cannot be read, changed or written.
pub(super) fn promote(config: &Config, retrained: &mut Retrained) -> Result<(), RetrainError> {
    let (Some(file), true) = (config.mapping_source.file(), retrained.mapping.passed) else {
        return Ok(());
    };
    let text = fs::read_to_string(&file).map_err(failed(&file))?;
    let changes = &retrained.mapping.changes;
    let wanted = remap::proposed(&config.mapping, changes);
    let edited = remap::edited(&text, changes, (&config.mapping_source, &wanted));
    let edited = edited.map_err(|source| MappingError::Edit {
        path: file.clone(),
        source,
    })?;
    for (name, text) in [(REPLACED_FILE, &text), (PROPOSED_FILE, &edited)] {
        let path = retrained.folder.join(name);
        files::write_whole(&path, text.as_bytes()).map_err(failed(&path))?;
    }
    files::write_whole(&file, edited.as_bytes()).map_err(failed(&file))?;
    retrained.mapping.promoted = true;
    Ok(())
}

fn failed(path: &std::path::Path) -> impl FnOnce(io::Error) -> MappingError {
    let path = path.to_owned();
    |source| MappingError::Io { path, source }
}
