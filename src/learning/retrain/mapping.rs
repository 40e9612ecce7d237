//! The mapping's part of a retraining: outcomes → a proposed mapping → its file.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use super::Retrained;
use crate::{
    clock, composition,
    config::{Capability, Config},
    files,
    ids::ExpertId,
    learning::{
        Origin,
        remap::{self, EditError, Remapped},
        reward::Implicit,
        served,
    },
    store::{Store, StoreError},
};

/// Most outcomes that are read, the newest: a kilobyte or two each.
const OUTCOMES_MAX: u32 = 200_000;

/// How old they may be: experts change behind their names.
const SPAN: Duration = Duration::from_hours(30 * 24);

/// The mapping's file as it became, and as it was, beside the challenger's artefact.
const PROPOSED_FILE: &str = "mapping.yaml";
const REPLACED_FILE: &str = "mapping.before.yaml";

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
    #[error("{} is left as it is", path.display())]
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
pub(super) fn promote(config: &Config, retrained: &mut Retrained) -> Result<(), MappingError> {
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
    let [replaced, proposed] = kept_as(&retrained.folder);
    for (path, text) in [(replaced, &text), (proposed, &edited)] {
        files::write_whole(&path, text.as_bytes()).map_err(failed(&path))?;
    }
    files::write_whole(&file, edited.as_bytes()).map_err(failed(&file))?;
    retrained.mapping.promoted = true;
    Ok(())
}

/// Where the texts of a change are kept, before and after. The same router may be at home where the mapping changes once more:
/// what was kept of an earlier change stays, and the later ones are numbered.
fn kept_as(folder: &Path) -> [PathBuf; 2] {
    let mut paths = [REPLACED_FILE, PROPOSED_FILE].map(|name| folder.join(name));
    let mut number = 1;
    while paths.iter().any(|path| path.exists()) {
        number += 1;
        paths =
            ["before.yaml", "yaml"].map(|ending| folder.join(format!("mapping.{number}.{ending}")));
    }
    paths
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> MappingError {
    let path = path.to_owned();
    |source| MappingError::Io { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_of_an_earlier_change_stays() {
        let folder = tempfile::tempdir().unwrap();
        let names = || kept_as(folder.path()).map(|path| path.file_name().unwrap().to_owned());
        assert_eq!(names(), ["mapping.before.yaml", "mapping.yaml"]);
        fs::write(folder.path().join("mapping.before.yaml"), "").unwrap();
        assert_eq!(names(), ["mapping.2.before.yaml", "mapping.2.yaml"]);
        fs::write(folder.path().join("mapping.2.yaml"), "").unwrap();
        assert_eq!(names(), ["mapping.3.before.yaml", "mapping.3.yaml"]);
    }
}
