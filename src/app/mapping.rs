//! Keeps the mapping in force the one that its file holds: looks at the file again and again, and takes what it says
//! whole or not at all.
//!
//! The file is read rather than watched: that sees every change on every file system, whether an editor writes into the
//! file, renames another over it or takes it away for a moment. What has just changed is judged once it has stayed the
//! same from one look to the next, so that half of a file that is still being written is not taken for a mapping. Of the
//! quality model that it names, which is large, only the length and the time of the last change are looked at.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use metrics::{counter, gauge};
use sha2::{Digest, Sha256};
use tokio::{
    select,
    task::spawn_blocking,
    time::{MissedTickBehavior, interval},
};
use tracing::{info, warn};

use super::App;
use crate::{
    composition,
    config::{Config, MappingConfig, Mistakes, quality_named, read_mapping},
    ids::MappingId,
};

/// Time between two looks: a change is in force within two of them. A look costs the reading of one small file.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Why a file's mapping is not put in force.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("{path}: the file cannot be read: {source}", path = path.display())]
    Unread { path: PathBuf, source: io::Error },
    #[error("{0}")]
    Mistaken(Mistakes),
}

/// What the file was like at one look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sight {
    Content {
        sha256: [u8; 32],
        /// What the quality model was like that it names.
        quality: Option<Beside>,
    },
    Unreadable(io::ErrorKind),
}

/// What a file beside it was like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Beside {
    Present {
        bytes: u64,
        modified: Option<SystemTime>,
    },
    Absent(io::ErrorKind),
}

/// The quality model that a content names, so that what has not changed is not taken apart at each look.
#[derive(Clone, Debug)]
struct Named {
    sha256: [u8; 32],
    quality: Option<PathBuf>,
}

/// One look.
struct Look {
    sight: Sight,
    named: Option<Named>,
    read: Result<Vec<u8>, Refused>,
}

/// What has been seen of the file so far.
#[derive(Debug, Default)]
struct Sightings {
    last: Option<Sight>,
    /// The last that was judged, for better or worse.
    judged: Option<Sight>,
}

impl App {
    /// Keeps the mapping up with its file until the app closes; returns at once where it has none.
    pub async fn follow_mapping(self: Arc<Self>) {
        let Some(file) = self.config.mapping_source.file() else {
            return;
        };
        let mut sightings = Sightings::default();
        let mut named = None;
        let mut tick = interval(LOOK_INTERVAL);
        // After a pause the next look must not follow at once: nothing would have had time to settle.
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let is_wanted = select! {
                () = self.cancel.cancelled() => return,
                () = self.mapping_look.notified() => true,
                _ = tick.tick() => false,
            };
            let (path, known) = (file.clone(), named.take());
            let Ok(look) = spawn_blocking(move || Look::at(path, known)).await else {
                continue;
            };
            named = look.named;
            if sightings.are_due(look.sight) || is_wanted {
                sightings.judged = Some(look.sight);
                self.judge_mapping(look.read).await;
            }
        }
    }

    /// Has the mapping's file judged now, whether or not it seems to have changed.
    pub fn look_at_mapping(&self) {
        self.mapping_look.notify_one();
    }

    /// Brings those gauges up to date that nothing else does.
    pub fn publish_gauges(&self) {
        show(self.composition.mapping().id(), 1.0);
        self.publish_router();
        self.publish_spending();
        self.experts.publish_gauges();
    }

    async fn judge_mapping(&self, read: Result<Vec<u8>, Refused>) {
        let config = Arc::clone(&self.config);
        let judged = spawn_blocking(move || read.and_then(|bytes| judge(&config, &bytes))).await;
        match judged {
            Ok(Ok(mapping)) => self.take_mapping(mapping),
            Ok(Err(refused)) => {
                counter!("coterie_mapping_changes_total", "result" => "refused").increment(1);
                let id = self.composition.mapping().id().clone();
                warn!(mapping = %id, "the mapping {id} stays in force; its file is not taken:\n{refused}");
            }
            Err(panic) => warn!("the mapping's file could not be judged: {panic}"),
        }
    }

    fn take_mapping(&self, config: MappingConfig) {
        let warned = config.clone();
        let mapping = composition::open_mapping(config, &self.config.experts);
        let (old, new) = (
            self.composition.mapping().id().clone(),
            mapping.id().clone(),
        );
        if old == new {
            return;
        }
        warn_of(&warned);
        self.composition.replace_mapping(mapping);
        counter!("coterie_mapping_changes_total", "result" => "taken").increment(1);
        show(&old, 0.0);
        show(&new, 1.0);
        info!(mapping = %new, before = %old, "the mapping {new} is in force");
    }
}

/// Says what of a mapping will do nothing.
pub(super) fn warn_of(config: &MappingConfig) {
    for warning in config.warnings() {
        warn!("{warning}");
    }
}

impl Sightings {
    /// Whether what is seen now is new, and the same as at the last look.
    fn are_due(&mut self, now: Sight) -> bool {
        let is_settled = self.last.replace(now) == Some(now);
        is_settled && self.judged != Some(now)
    }
}

impl Look {
    /// `known`: what was named at the last look.
    fn at(path: PathBuf, known: Option<Named>) -> Self {
        let bytes = match read_mapping(&path) {
            Ok(bytes) => bytes,
            Err(source) => {
                return Self {
                    sight: Sight::Unreadable(source.kind()),
                    named: None,
                    read: Err(Refused::Unread { path, source }),
                };
            }
        };
        let sha256 = Sha256::digest(&bytes).into();
        let known = known.filter(|known| known.sha256 == sha256);
        let named = known.unwrap_or_else(|| Named {
            sha256,
            quality: quality_named(&path, &bytes),
        });
        Self {
            sight: Sight::Content {
                sha256,
                quality: named.quality.as_deref().map(Beside::of),
            },
            named: Some(named),
            read: Ok(bytes),
        }
    }
}

impl Beside {
    fn of(path: &Path) -> Self {
        match fs::metadata(path) {
            Ok(found) => Self::Present {
                bytes: found.len(),
                modified: found.modified().ok(),
            },
            Err(error) => Self::Absent(error.kind()),
        }
    }
}

fn judge(config: &Config, bytes: &[u8]) -> Result<MappingConfig, Refused> {
    let judged = config.mapping_source.judge(bytes);
    judged.map_err(Refused::Mistaken)
}

/// Says of a mapping whether it is in force.
fn show(id: &MappingId, in_force: f64) {
    gauge!("coterie_mapping_in_force", "mapping" => id.to_string()).set(in_force);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_due_once_it_has_settled_and_only_once() {
        let content = |byte| Sight::Content {
            sha256: [byte; 32],
            quality: None,
        };
        let mut sightings = Sightings::default();
        let mut looks = |sight| {
            let is_due = sightings.are_due(sight);
            if is_due {
                sightings.judged = Some(sight);
            }
            is_due
        };
        assert!(!looks(content(1)) && looks(content(1)) && !looks(content(1)));
        assert!(!looks(content(2)), "half written");
        assert!(
            !looks(Sight::Unreadable(io::ErrorKind::NotFound)),
            "being renamed"
        );
        assert!(!looks(content(3)) && looks(content(3)));
        assert!(!looks(content(1)) && looks(content(1)), "restored");
    }

    #[test]
    fn a_quality_model_that_comes_later_or_changes_is_a_change() {
        let folder = tempfile::tempdir().unwrap();
        let (file, model) = (folder.path().join("m.yaml"), folder.path().join("q.st"));
        fs::write(&file, "quality: q.st\ndefault: a\n").unwrap();
        let (mut sightings, mut named) = (Sightings::default(), None);
        let mut looks = || {
            let look = Look::at(file.clone(), named.take());
            named = look.named;
            let is_due = sightings.are_due(look.sight);
            if is_due {
                sightings.judged = Some(look.sight);
            }
            is_due
        };
        assert!(!looks() && looks() && !looks(), "the model is not there");
        fs::write(&model, "half").unwrap();
        assert!(!looks(), "it is still being written");
        fs::write(&model, "half and half").unwrap();
        assert!(!looks() && looks() && !looks());
        fs::remove_file(&model).unwrap();
        assert!(!looks() && looks() && !looks());
    }
}
