//! The process's environment, read once.

use std::{collections::HashMap, fmt, path::PathBuf};

use directories::ProjectDirs;

/// The environment variables and the user's cache folder. Never printed: variables hold secrets.
#[derive(Clone, Default)]
pub struct Environment {
    variables: HashMap<String, String>,
    cache_dir: Option<PathBuf>,
}

impl Environment {
    /// What the process was started with. Variables that are not UTF-8 are left out.
    pub fn from_process() -> Self {
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let dirs = ProjectDirs::from("", "", "coterie");
        Self {
            variables,
            cache_dir: dirs.map(|dirs| dirs.cache_dir().to_owned()),
        }
    }

    /// These variables and no others, and no cache folder.
    pub fn of(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        Self {
            variables: variables.into_iter().collect(),
            cache_dir: None,
        }
    }

    /// The value of a variable; one that is empty counts as not set.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let value = self.variables.get(name)?;
        (!value.is_empty()).then_some(value)
    }

    /// The folder of what Coterie can fetch again.
    pub(super) fn cache_dir(&self) -> Option<&PathBuf> {
        self.cache_dir.as_ref()
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment").finish_non_exhaustive()
    }
}
