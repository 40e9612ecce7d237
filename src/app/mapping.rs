//! Keeps the mapping in force the one that its file holds: looks at the file again and again, and takes what it says
//! whole or not at all.
//!
//! The file is read rather than watched: that sees every change on every file system, whether an editor writes into the
//! file, renames another over it or takes it away for a moment. What has just changed is judged once it has stayed the
//! same from one look to the next, so that half of a file that is still being written is not taken for a mapping.

use std::{io, path::PathBuf, sync::Arc, time::Duration};

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
    config::{Config, MappingConfig, Mistakes, read_mapping},
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
    Content([u8; 32]),
    Unreadable(io::ErrorKind),
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
        let mut tick = interval(LOOK_INTERVAL);
        // After a pause the next look must not follow at once: nothing would have had time to settle.
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let is_wanted = select! {
                () = self.cancel.cancelled() => return,
                () = self.mapping_look.notified() => true,
                _ = tick.tick() => false,
            };
            let Ok((sight, read)) = spawn_blocking({
                let file = file.clone();
                move || look(file)
            })
            .await
            else {
                continue;
            };
            if sightings.are_due(sight) || is_wanted {
                sightings.judged = Some(sight);
                self.judge_mapping(read).await;
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
        let mapping = composition::open_mapping(config, &self.config.experts);
        let (old, new) = (
            self.composition.mapping().id().clone(),
            mapping.id().clone(),
        );
        if old == new {
            return;
        }
        self.composition.replace_mapping(mapping);
        counter!("coterie_mapping_changes_total", "result" => "taken").increment(1);
        show(&old, 0.0);
        show(&new, 1.0);
        info!(mapping = %new, before = %old, "the mapping {new} is in force");
    }
}

impl Sightings {
    /// Whether what is seen now is new, and the same as at the last look.
    fn are_due(&mut self, now: Sight) -> bool {
        let is_settled = self.last.replace(now) == Some(now);
        is_settled && self.judged != Some(now)
    }
}

fn look(path: PathBuf) -> (Sight, Result<Vec<u8>, Refused>) {
    match read_mapping(&path) {
        Ok(bytes) => (Sight::Content(Sha256::digest(&bytes).into()), Ok(bytes)),
        Err(source) => {
            let sight = Sight::Unreadable(source.kind());
            (sight, Err(Refused::Unread { path, source }))
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
        let content = |byte| Sight::Content([byte; 32]);
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
}
