//! A configuration in a folder of its own.

use std::{fs, path::PathBuf};

use tempfile::TempDir;

use crate::config::{
    Config, Environment, Exposure, Mistakes, check::ENCODER_FILES, load, load_to_serve,
};

/// Two routes, placeholders for the models, and an environment that points at them.
pub(in crate::config) struct House {
    dir: TempDir,
    variables: Vec<(String, String)>,
    pub(in crate::config) environment: Environment,
}

const ROUTER: &str = "\nrouter: { routes: ROUTES }\n";

const EXPERTS: &str = "
experts:
  general: { kind: local, model: models/small }
  gpt: { kind: remote, base_url: 'https://api.example.com/v1', model: big }
";

const MAPPING: &str = "
mapping:
  default: general
  coding: { expert: gpt, fallbacks: [general] }
";

impl House {
    pub(in crate::config) fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let store = dir.path().join("store").display().to_string();
        let house = Self {
            dir,
            variables: Vec::new(),
            environment: Environment::default(),
        }
        .with("COTERIE_MODELS_DIR", &store);
        for file in ENCODER_FILES.map(|choice| choice[0]) {
            house.write(&format!("store/all-MiniLM-L6-v2/{file}"), "");
        }
        house.write("store/onnxruntime/libonnxruntime.so", "");
        house.write("store/small/small.gguf", "GGUF");
        house.write(
            "routes/coding.yaml",
            "description: Code\nexamples: [Fix my loop]\n",
        );
        house.write(
            "routes/math.yaml",
            "description: Sums\nexamples: [What is 2 + 2?]\n",
        );
        house
    }

    /// Sets an environment variable.
    pub(in crate::config) fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self.environment = Environment::of(self.variables.clone());
        self
    }

    pub(in crate::config) fn path(&self, file: &str) -> PathBuf {
        self.dir.path().join(file)
    }

    pub(in crate::config) fn write(&self, file: &str, text: impl AsRef<[u8]>) {
        let path = self.path(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Writes the configuration, completed by the sections that `text` lacks; `ROUTES` is the folder of routes.
    pub(in crate::config) fn config(&self, text: &str) -> &Self {
        let mut text = text.trim_start().to_owned();
        for (section, usual) in [
            ("router:", ROUTER),
            ("experts:", EXPERTS),
            ("mapping:", MAPPING),
        ] {
            if !text.contains(section) {
                text.push_str(usual);
            }
        }
        let routes = format!("'{}'", self.path("routes").display());
        self.write("coterie.yaml", text.replace("ROUTES", &routes));
        self
    }

    /// The mistakes that keep a server from starting, as they are shown, with paths relative to the house.
    pub(in crate::config) fn mistakes_to_serve(&self) -> Vec<String> {
        let config = self.path("coterie.yaml");
        self.shown(load_to_serve(
            Some(&config),
            &self.environment,
            Exposure::Guarded,
        ))
    }

    pub(in crate::config) fn load(&self) -> Result<Config, Mistakes> {
        load(
            Some(&self.path("coterie.yaml")),
            &self.environment,
            Exposure::Guarded,
        )
    }

    /// The mistakes as they are shown, with paths relative to the house.
    pub(in crate::config) fn mistakes(&self) -> Vec<String> {
        self.shown(self.load())
    }

    fn shown(&self, loaded: Result<Config, Mistakes>) -> Vec<String> {
        let prefix = format!("{}/", self.dir.path().display());
        match loaded {
            Ok(_) => Vec::new(),
            Err(mistakes) => mistakes
                .iter()
                .map(|mistake| mistake.to_string().replace(&prefix, ""))
                .collect(),
        }
    }
}

/// Asserts that a configuration, completed by what it lacks, has these mistakes and no others.
#[track_caller]
pub(in crate::config) fn assert_mistakes(text: &str, expected: &[&str]) {
    assert_eq!(House::new().config(text).mistakes(), expected, "{text}");
}
