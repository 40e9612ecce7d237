//! A folder with routes that have few examples, and the configuration over them.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::PathBuf, sync::Arc};

use coterie::{
    app::App,
    config::{self, Config, Environment, Exposure},
    serve::Server,
    train::labels::Labelled,
};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

/// Clients that ask.
pub(crate) const KEYS: usize = 8;

pub(crate) struct House {
    pub(crate) folder: TempDir,
}

impl House {
    /// `features`: what routers read. Experts are not asked unless `upstream` is somebody's address.
    pub(crate) fn new(examples: &[Labelled], features: &str, upstream: &str) -> Self {
        let experts = format!(
            "experts: {{ mock: {{ kind: remote, base_url: 'http://{upstream}/v1', model: mock }} }}\n\
             mapping: {{ default: mock }}\n"
        );
        Self::of_experts(examples, features, &experts)
    }

    /// `experts`: who answers what, as it stands in the configuration.
    pub(crate) fn of_experts(examples: &[Labelled], features: &str, experts: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let house = Self { folder };
        house.write_routes(examples);
        let keys: String = (0..KEYS)
            .map(|at| {
                let sha256 = hex::encode(Sha256::digest(key(at)));
                format!("{{ name: client-{at}, sha256: '{sha256}' }}, ")
            })
            .collect();
        let path = house.folder.path().display();
        let yaml = format!(
            "server: {{ listen: '127.0.0.1:0', keys: [{keys}] }}\n\
             store: {{ url: 'sqlite://{path}/coterie.db', content: full }}\n\
             router: {{ features: {features}, artefacts: '{path}/routers', routes: '{path}/routes' }}\n\
             {experts}"
        );
        fs::write(house.config_file(), yaml).unwrap();
        house
    }

    fn write_routes(&self, examples: &[Labelled]) {
        let mut routes: BTreeMap<&str, String> = BTreeMap::new();
        for row in examples {
            let yaml = routes.entry(row.category.as_str()).or_insert_with(|| {
                format!("description: Questions of {}.\nexamples:\n", row.category)
            });
            // A JSON string is a YAML string.
            writeln!(yaml, "  - {}", json!(row.query.text)).unwrap();
        }
        let folder = self.folder.path().join("routes");
        fs::create_dir_all(&folder).unwrap();
        for (category, yaml) in routes {
            fs::write(folder.join(format!("{category}.yaml")), yaml).unwrap();
        }
    }

    /// Runs a server over it while something is done, which gets its address.
    pub(crate) async fn serve(&self, work: impl AsyncFnOnce(&str, &App)) {
        let server = Server::bind(self.config(), Exposure::Guarded)
            .await
            .unwrap();
        let base = format!("http://{}", server.address());
        let app = Arc::clone(server.app());
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let serving = server.run(async move {
            stopped.await.ok();
        });
        let working = async {
            work(&base, &app).await;
            drop(app);
            stop.send(()).unwrap();
        };
        tokio::join!(serving, working);
    }

    pub(crate) fn config_file(&self) -> PathBuf {
        self.folder.path().join("coterie.yaml")
    }

    pub(crate) fn config(&self) -> Config {
        let file = self.config_file();
        config::load(Some(&file), &Environment::from_process(), Exposure::Guarded).unwrap()
    }
}

/// The key of a client.
pub(crate) fn key(client: usize) -> String {
    format!("key-of-{client}")
}
