//! The whole way from files to the configuration, and every way in which it can fail.

use std::{fs, path::Path};

use proptest::prelude::*;
use secrecy::ExposeSecret;
use tempfile::TempDir;

use super::*;

/// A configuration in a folder of its own, with two routes, two experts and placeholders for every model.
struct House {
    dir: TempDir,
    environment: Environment,
}

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
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let house = Self {
            environment: Environment::of([(
                "COTERIE_MODELS_DIR",
                &dir.path().join("store").display().to_string(),
            )]),
            dir,
        };
        for file in [
            "store/all-MiniLM-L6-v2/model.onnx",
            "store/all-MiniLM-L6-v2/tokenizer.json",
            "store/onnxruntime/libonnxruntime.so",
            "store/small/small.gguf",
        ] {
            house.write(file, "");
        }
        house.write(
            "routes/coding.yaml",
            "description: Code\nexamples: [Fix my loop]\n",
        );
        house.write(
            "routes/math.yaml",
            "description: Sums\nexamples: [2 + 2?]\n",
        );
        house
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        let store = self.dir.path().join("store").display().to_string();
        self.environment = Environment::of([("COTERIE_MODELS_DIR", &store), (name, value)]);
        self
    }

    fn write(&self, file: &str, text: impl AsRef<[u8]>) {
        let path = self.dir.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Writes the configuration; `router` is completed with the folder of routes.
    fn config(&self, text: &str) -> &Self {
        let routes = self.dir.path().join("routes");
        let router = format!("router: {{ routes: '{}' }}", routes.display());
        self.write("coterie.yaml", text.replace("ROUTER", &router));
        self
    }

    fn load(&self) -> Result<Config, Mistakes> {
        load(
            Some(&self.dir.path().join("coterie.yaml")),
            &self.environment,
        )
    }

    /// The mistakes as they are shown, with paths relative to the house.
    fn mistakes(&self) -> Vec<String> {
        let prefix = format!("{}/", self.dir.path().display());
        let mistakes = self.load().unwrap_err();
        mistakes
            .iter()
            .map(|mistake| mistake.to_string().replace(&prefix, ""))
            .collect()
    }
}

/// The mistakes of a configuration whose first lines are `text`, followed by what it lacks.
fn mistakes_of(text: &str) -> Vec<String> {
    let mut text = text.trim_start().to_owned();
    for (key, part) in [
        ("ROUTER", "\nROUTER\n"),
        ("experts:", EXPERTS),
        ("mapping:", MAPPING),
    ] {
        if !text.contains(key) && !(key == "ROUTER" && text.contains("router:")) {
            text.push_str(part);
        }
    }
    House::new().config(&text).mistakes()
}

#[test]
fn show() {
    for text in [
        "server: { lisen: 1 }",
        "server: { zebra: 1 }",
        "sever: {}",
        "server:",
        "server: { listen: here, body_max: 8MB, grace: 0s }",
        "server: { grace: 30, body_max: -3, keys: [7, {name: a}, {name: a, sha256: abc}, {name: a, sha256: abc}] }",
        "store: { url: postgres://x, content: all, keep: long, flush_interval: [] }",
        "server: { grace: 1s }\nserver: { grace: 2s }",
        "ROUTER\nmodels: { hub: ftp://x }",
        "experts:\n  auto: { kind: local, model: models/small }\n  general: { kind: lokal, model: x }\n  gpt: { model: x }\n",
        "experts: {}",
        "experts: [a]",
        "experts:\n  general: { kind: local }\n  gpt: { kind: remote, api_key: sk-secret }\n",
        "experts:\n  general: { kind: local, model: models/absent, params_b: 0, queue_max: 1.5 }\n  gpt: { kind: remote, api_key: { env: NO_KEY }, base_url: 'https://', model: x, capabilities: [chatt] }\n",
        "mapping: { coding: gtp, math: { fallbacks: [gpt, gpt] }, codng: gpt, out_of_domain: gpt }",
        "mapping:\n  default: general\n  budget: { usd_per_question: 0.02 }\n  math: gpt",
        "router: { confidence_min: 1.4, routes: /nowhere }",
    ] {
        println!("----\n{text}\n");
        for m in mistakes_of(text) {
            println!("  {m}");
        }
    }
    for text in [
        "a: [1\nb: }",
        "",
        "- x",
        "just text",
        "? [a, b]\n: c",
        "1: 2",
        "x: &a [*a]",
        "x: !!binary zzz",
        "---\na: 1\n---\nb: 2",
        "null: 3",
    ] {
        println!("----\n{text}\n");
        for m in House::new().config(text).mistakes() {
            println!("  {m}");
        }
    }
}
