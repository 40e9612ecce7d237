//! The models that Coterie knows by name, their files, and where these come from: `config/models.json`.
//!
//! `scripts/models` reads the same file; the key `package` is for the script alone.

use std::{
    env::consts::{ARCH, OS},
    sync::LazyLock,
};

use serde::Deserialize;

use super::{ModelError, Sha256};

/// How like a known name an unknown one must be to be taken for a slip of the pen (Jaro-Winkler, 0 to 1).
const SIMILARITY_MIN: f64 = 0.75;

static EMBEDDED: LazyLock<Manifest> = LazyLock::new(|| {
    #[expect(
        clippy::expect_used,
        reason = "the text is compiled in, and a test parses it"
    )]
    Manifest::parse(include_str!("../../config/models.json")).expect("config/models.json is valid")
});

/// The models that are known by name.
#[derive(Clone, Debug, Deserialize)]
pub struct Manifest {
    /// In the order in which they are listed and fetched.
    pub models: Vec<Model>,
}

/// A model: one folder of the store.
#[derive(Clone, Debug, Deserialize)]
pub struct Model {
    /// The folder's name.
    pub name: String,
    /// What it is, in one line.
    pub about: String,
    /// Whether the default configuration needs it.
    pub default: bool,
    /// Where it lies on a model hub; none if it is on none.
    pub hub: Option<HubRepo>,
    /// Its files, for this platform.
    pub files: Vec<ModelFile>,
}

/// A repository of a model hub, at one revision.
#[derive(Clone, Debug, Deserialize)]
pub struct HubRepo {
    /// `owner/name`.
    pub repo: String,
    /// A commit.
    pub revision: String,
}

/// A file of a model.
#[derive(Clone, Debug, Deserialize)]
pub struct ModelFile {
    /// Its name in the model's folder.
    pub name: String,
    /// `os-processor`; none if it is the same everywhere.
    platform: Option<String>,
    /// What the file may be: the first is preferred, each is good.
    pub editions: Vec<Edition>,
}

/// One version of a file, byte for byte.
#[derive(Clone, Debug, Deserialize)]
pub struct Edition {
    /// Its size.
    pub bytes: u64,
    /// Its digest.
    pub sha256: Sha256,
    /// Its path in the model's repository on a hub.
    pub hub: Option<String>,
}

impl Manifest {
    /// The manifest that comes with this binary.
    pub fn embedded() -> &'static Self {
        &EMBEDDED
    }

    /// Reads a manifest, and keeps of it what is for this platform.
    ///
    /// # Errors
    /// The text is no JSON of this form.
    pub fn parse(json: &str) -> Result<Self, serde_json::Error> {
        let mut manifest: Self = serde_json::from_str(json)?;
        for model in &mut manifest.models {
            model.files.retain(ModelFile::is_for_this_platform);
        }
        Ok(manifest)
    }

    /// The models of these names; without names, those that the default configuration needs.
    ///
    /// # Errors
    /// [`ModelError::UnknownModel`]
    pub fn choose(&self, names: &[String]) -> Result<Vec<&Model>, ModelError> {
        if names.is_empty() {
            return Ok(self.models.iter().filter(|model| model.default).collect());
        }
        names.iter().map(|name| self.model(name)).collect()
    }

    fn model(&self, name: &str) -> Result<&Model, ModelError> {
        self.models
            .iter()
            .find(|model| model.name == name)
            .ok_or_else(|| ModelError::UnknownModel {
                name: name.to_owned(),
                nearest: self.nearest(name),
            })
    }

    fn nearest(&self, name: &str) -> Option<String> {
        let similarity =
            |model: &Model| strsim::jaro_winkler(&model.name.to_lowercase(), &name.to_lowercase());
        self.models
            .iter()
            .map(|model| (similarity(model), &model.name))
            .filter(|(similarity, _)| *similarity >= SIMILARITY_MIN)
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .map(|(_, name)| name.clone())
    }
}

impl ModelFile {
    /// The edition that is on a model hub, and its path there.
    pub fn on_hub(&self) -> Option<(&Edition, &str)> {
        self.editions
            .iter()
            .find_map(|edition| Some((edition, edition.hub.as_deref()?)))
    }

    fn is_for_this_platform(&self) -> bool {
        self.platform
            .as_ref()
            .is_none_or(|platform| *platform == this_platform())
    }
}

/// Operating system and processor, as in `linux-x86_64`.
pub(super) fn this_platform() -> String {
    format!("{OS}-{ARCH}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_manifest_is_whole() {
        let manifest = Manifest::embedded();
        for model in &manifest.models {
            for file in &model.files {
                assert!(!file.editions.is_empty(), "{}/{}", model.name, file.name);
                if file.on_hub().is_some() {
                    assert!(model.hub.is_some(), "{} names no repository", model.name);
                }
            }
        }
        let default = manifest.choose(&[]).unwrap();
        let names: Vec<&str> = default.iter().map(|model| model.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "all-MiniLM-L6-v2",
                "smollm2-135m-instruct",
                "qwen2.5-coder-0.5b-instruct",
                "onnxruntime"
            ]
        );
    }

    #[test]
    fn an_unknown_name_is_met_with_the_nearest_one() {
        let nearest = |name: &str| match Manifest::embedded().choose(&[name.to_owned()]) {
            Err(ModelError::UnknownModel { nearest, .. }) => nearest,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            nearest("all-minilm-l6-v2").as_deref(),
            Some("all-MiniLM-L6-v2")
        );
        assert_eq!(nearest("zzz"), None);
    }

    #[test]
    fn files_of_other_platforms_are_left_out() {
        let json = format!(
            r#"{{"models": [{{"name": "m", "about": "", "default": true, "files": [
                {{"name": "a.so", "platform": "beos-ppc", "editions": []}},
                {{"name": "a.so", "platform": "{}", "editions": []}}]}}]}}"#,
            this_platform()
        );
        assert_eq!(Manifest::parse(&json).unwrap().models[0].files.len(), 1);
    }
}
