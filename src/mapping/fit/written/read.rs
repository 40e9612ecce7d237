//! A mapping's file → who answers what, for evaluations: neither the experts nor the routes need to be configured here.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use super::{Answering, BY_COMMENT, SecondStage, Written};
use crate::{
    config::{Prefer, Preference, is_mapping_key},
    ids::{CategoryId, ExpertId},
};

/// What may stand in a mapping beside categories, and says nothing of who answers.
const SETTINGS: [&str; 4] = ["budget", "prefer_allowed", "cascade", "explore"];

/// Why a mapping's file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum WrittenError {
    /// The file cannot be opened.
    #[error("{} cannot be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It is not YAML, or not a mapping.
    #[error("{} is no mapping; `coterie map fit --out` writes one", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        source: Box<serde_saphyr::Error>,
    },
    /// An entry says nothing of who answers.
    #[error("{}: `{key}` is neither an expert nor `{{ expert, fallbacks }}`", path.display())]
    NoExpert {
        /// The file.
        path: PathBuf,
        /// The entry's key.
        key: String,
    },
    /// It does not say who answers what no category covers.
    #[error("{} lacks `default`; write `default: EXPERT`", path.display())]
    NoDefault {
        /// The file.
        path: PathBuf,
    },
}

/// An entry of the file.
#[derive(Deserialize)]
#[serde(untagged)]
enum Entry {
    Expert(String),
    Number(f64),
    Answering(Assigned),
    Other(serde::de::IgnoredAny),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Assigned {
    expert: String,
    #[serde(default)]
    fallbacks: Vec<String>,
}

/// A mapping, and the field of outcomes that it was fitted by, if its file says so.
///
/// # Errors
/// The file cannot be read or is no mapping.
pub fn read(path: &Path) -> Result<(Written, Option<String>), WrittenError> {
    let path_buf = || path.to_owned();
    let text = fs::read_to_string(path).map_err(|source| WrittenError::Unreadable {
        path: path_buf(),
        source,
    })?;
    let entries: BTreeMap<String, Entry> =
        serde_saphyr::from_str(&text).map_err(|source| WrittenError::Malformed {
            path: path_buf(),
            source: Box::new(source),
        })?;
    let (mut default, mut quality) = (None, None);
    let mut prefer = Prefer::Word(Preference::Balanced);
    let mut categories = Vec::new();
    for (key, entry) in entries {
        match (key.as_str(), entry) {
            (key, _) if SETTINGS.contains(&key) => {}
            ("default", Entry::Expert(expert)) => default = Some(answering(expert, Vec::new())),
            ("default", Entry::Answering(Assigned { expert, fallbacks })) => {
                default = Some(answering(expert, fallbacks));
            }
            ("quality", Entry::Expert(file)) => quality = Some(file),
            ("prefer", Entry::Number(lambda)) => prefer = Prefer::CostWeight(lambda),
            ("prefer", Entry::Expert(word)) if let Some(word) = Preference::of(&word) => {
                prefer = Prefer::Word(word);
            }
            (_, Entry::Expert(expert)) if !is_mapping_key(&key) => {
                categories.push((CategoryId::new(key), answering(expert, Vec::new())));
            }
            (_, Entry::Answering(Assigned { expert, fallbacks })) if !is_mapping_key(&key) => {
                categories.push((CategoryId::new(key), answering(expert, fallbacks)));
            }
            _ => {
                return Err(WrittenError::NoExpert {
                    path: path_buf(),
                    key,
                });
            }
        }
    }
    let by = text
        .lines()
        .find_map(|line| line.strip_prefix("# ")?.strip_prefix(BY_COMMENT));
    let default = default.ok_or_else(|| WrittenError::NoDefault { path: path_buf() })?;
    Ok((
        Written {
            default,
            categories,
            second_stage: quality.map(|quality| SecondStage { quality, prefer }),
        },
        by.map(|by| by.trim().to_owned()),
    ))
}

fn answering(expert: String, fallbacks: Vec<String>) -> Answering {
    Answering {
        expert: ExpertId::new(expert),
        fallbacks: fallbacks.into_iter().map(ExpertId::new).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<(Written, Option<String>), WrittenError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mapping.yaml");
        fs::write(&path, text).unwrap();
        read(&path)
    }

    #[test]
    fn what_is_written_is_read_again() {
        let answering = |expert: &str, fallbacks: &[&str]| Answering {
            expert: ExpertId::new(expert),
            fallbacks: fallbacks
                .iter()
                .map(|expert| ExpertId::new(*expert))
                .collect(),
        };
        let written = Written {
            default: answering("Llama-2-7b(base)", &["large", "405"]),
            categories: vec![
                (
                    CategoryId::new("computer science"),
                    answering("405", &["no"]),
                ),
                (CategoryId::new("math"), answering("large", &[])),
            ],
            second_stage: Some(SecondStage {
                quality: "mapping.quality.safetensors".into(),
                prefer: Prefer::CostWeight(0.00125),
            }),
        };
        let comments = [format!("{BY_COMMENT}task")];
        let (read, by) = read_text(&written.yaml(&comments)).unwrap();
        assert_eq!((read, by.as_deref()), (written, Some("task")));
    }

    #[test]
    fn settings_are_no_categories_and_short_entries_are_experts() {
        let text = "default: a\nprefer: balanced\nquality: q.safetensors\nbudget: { usd_per_day: 5 }\nmath: b\n";
        let (read, by) = read_text(text).unwrap();
        assert_eq!(by, None);
        assert_eq!(read.categories.len(), 1);
        let second_stage = SecondStage {
            quality: "q.safetensors".into(),
            prefer: Prefer::Word(Preference::Balanced),
        };
        assert_eq!(read.second_stage, Some(second_stage));
        assert_eq!(read.expert(&CategoryId::new("math")).as_str(), "b");
        assert_eq!(read.expert(&CategoryId::new("art")).as_str(), "a");
    }

    #[test]
    fn what_is_no_mapping_is_refused() {
        assert!(matches!(
            read_text("math: b"),
            Err(WrittenError::NoDefault { .. })
        ));
        assert!(matches!(
            read_text("[1"),
            Err(WrittenError::Malformed { .. })
        ));
        assert!(matches!(
            read(Path::new("absent.yaml")),
            Err(WrittenError::Unreadable { .. })
        ));
    }
}
