//! Files → the checked configuration, or every mistake in them.

use std::path::{Path, PathBuf};

use crate::catalogue::Catalogue;

use super::{
    Config, Environment, Exposure, MappingSource, ModelsConfig, RouterConfig,
    check::{self, Check, Depth},
    defaults,
    document::{Document, Place},
    embedded,
    mistake::Mistakes,
    raw,
    routes::{self, Routes},
    schema, shape,
};

/// Where the configuration is looked for unless a path is given.
pub const DEFAULT_PATH: &str = "config/coterie.yaml";

/// Reads and checks the configuration and its routes, for a command that may need only a part of what they name.
///
/// Routes are read from `router.routes` if the file has that key, else from `routes` if there is that, else they are the
/// embedded ones. Without `path`, [`DEFAULT_PATH`] is read; where that file does not exist, the embedded default with the embedded
/// routes. A `path` that does not exist is a mistake.
pub fn load(
    path: Option<&Path>,
    environment: &Environment,
    exposure: Exposure,
) -> Result<Config, Mistakes> {
    loaded(path, environment, exposure, Depth::Named)
}

/// Reads and checks as [`load`] does, and looks into what a server opens at its start: `serve` and `check` do both.
///
/// Nothing is made, and nothing is changed.
pub fn load_to_serve(
    path: Option<&Path>,
    environment: &Environment,
    exposure: Exposure,
) -> Result<Config, Mistakes> {
    loaded(path, environment, exposure, Depth::Opened)
}

fn loaded(
    path: Option<&Path>,
    environment: &Environment,
    exposure: Exposure,
    depth: Depth,
) -> Result<Config, Mistakes> {
    let source = Source::choose(path);
    let mut mistakes = Mistakes::default();
    let config = source.config(environment, (exposure, depth), &mut mistakes);
    mistakes.or(config)
}

/// Reads `models` alone, for commands that must work before the models are there.
pub fn load_models(
    path: Option<&Path>,
    environment: &Environment,
) -> Result<ModelsConfig, Mistakes> {
    let source = Source::choose(path);
    let mut mistakes = Mistakes::default();
    let models = source.document(&mut mistakes).and_then(|document| {
        let place = document.place();
        let raw = match place.get("models") {
            Some(models) => {
                shape::read("`models`", models, &schema::models_schema(), &mut mistakes)?
            }
            None => raw::Models::default(),
        };
        check::models(&raw, place.at("models"), environment, &mut mistakes)
    });
    mistakes.or(models)
}

/// Reads the routes of a folder alone.
///
/// # Errors
/// Every mistake in them.
pub fn load_routes(folder: &Path) -> Result<Catalogue, Mistakes> {
    let mut mistakes = Mistakes::default();
    let named_at = Place::start("--routes");
    let catalogue = routes::read(folder, named_at, &mut mistakes).catalogue;
    mistakes.or(Some(catalogue))
}

/// The routes that are built in. That nothing is wrong with them is tested.
pub fn embedded_routes() -> Catalogue {
    routes::embedded(&mut Mistakes::default()).catalogue
}

/// How the configuration that [`load`] reads is called in messages.
pub fn source_name(path: Option<&Path>) -> String {
    Source::choose(path).name()
}

/// Where the configuration is.
enum Source<'a> {
    File(&'a Path),
    Embedded,
}

impl<'a> Source<'a> {
    fn choose(path: Option<&'a Path>) -> Self {
        match path {
            Some(path) => Self::File(path),
            None if Path::new(DEFAULT_PATH).exists() => Self::File(Path::new(DEFAULT_PATH)),
            None => Self::Embedded,
        }
    }

    fn name(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Embedded => format!("{DEFAULT_PATH} (embedded)"),
        }
    }

    fn document(&self, mistakes: &mut Mistakes) -> Option<Document> {
        match self {
            Self::File(path) => Document::read(path, mistakes),
            Self::Embedded => Document::parse(self.name(), embedded::CONFIG, mistakes),
        }
    }

    fn routes(&self, folder: &str, named_at: Place<'_>, mistakes: &mut Mistakes) -> Routes {
        match self.routes_folder(folder, named_at) {
            Some(folder) => routes::read(&folder, named_at, mistakes),
            None => routes::embedded(mistakes),
        }
    }

    /// Where the routes are read from; none: they are built in. What is there by that name and no folder is read, and refused.
    fn routes_folder(&self, folder: &str, named_at: Place<'_>) -> Option<PathBuf> {
        match self {
            Self::File(_) if named_at.is_written() || Path::new(folder).exists() => {
                Some(PathBuf::from(folder))
            }
            Self::File(_) | Self::Embedded => None,
        }
    }

    fn config(
        &self,
        environment: &Environment,
        (exposure, depth): (Exposure, Depth),
        mistakes: &mut Mistakes,
    ) -> Option<Config> {
        let Some(document) = self.document(mistakes) else {
            // The routes may be mistaken as well; where they are by default is the best guess.
            if Path::new(defaults::ROUTES).exists() {
                self.routes(defaults::ROUTES, Place::start(&self.name()), mistakes);
            }
            return None;
        };
        let place = document.place();
        let raw: raw::Config = shape::read("the file", place, &schema::config_schema(), mistakes)?;
        let named_at = place.at("router").at("routes");
        let routes = self.routes(&raw.router.routes, named_at, mistakes);
        let routes_folder = self.routes_folder(&raw.router.routes, named_at);
        let models = check::models(&raw.models, place.at("models"), environment, mistakes);
        let mut check = Check {
            environment,
            mistakes,
            depth,
            models_dir: check::models_dir(&raw.models, environment),
        };
        let server = check::server(&raw.server, place.at("server"), exposure, &mut check);
        let store = check::store(&raw.store, place.at("store"), &mut check);
        let router = check::router(&raw.router, place.at("router"), &mut check);
        let categories: Vec<String> = routes.categories().map(str::to_owned).collect();
        let delivery =
            check::delivery(&raw.delivery, &categories, place.at("delivery"), &mut check);
        let learning = check::learning(&raw.learning, place.at("learning"), &mut check);
        let cache = raw.cache.as_ref();
        let cache = cache.and_then(|raw| check::cache(raw, place.at("cache"), &mut check));
        let experts = raw.experts.as_ref();
        let checked = experts.map(|raw| check::experts(raw, place.at("experts"), &mut check));
        let instruction = raw.router.instruction.as_ref().map(|raw| {
            let place = place.at("router").at("instruction");
            check::instruction(raw, checked.as_deref(), place, &mut check)
        });
        let mapping_source = raw.mapping.map(|mapping| MappingSource {
            mapping,
            experts: raw.experts,
            categories,
            clients_pay: raw.server.limits_dollars(),
            document,
        })?;
        let mapping = mapping_source.read(mistakes);
        Some(Config {
            server: server?,
            store: store?,
            models: models?,
            router: RouterConfig {
                instruction: instruction.flatten(),
                ..router?
            },
            experts: checked?,
            mapping: mapping?,
            mapping_source,
            delivery,
            learning: learning?,
            cache,
            routes_folder,
            catalogue: routes.catalogue,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::house::House;

    #[test]
    fn the_embedded_default_loads_without_any_file_of_its_own() {
        let house = House::new();
        house.write("store/smollm2-135m-instruct/model.gguf", "GGUF");
        house.write("store/qwen2.5-coder-0.5b-instruct/model.gguf", "GGUF");
        let mut mistakes = Mistakes::default();
        let how = (Exposure::Guarded, Depth::Named);
        let config = Source::Embedded.config(&house.environment, how, &mut mistakes);
        let config = mistakes.or(config).unwrap();
        assert_eq!(config.catalogue.routes.len(), embedded::ROUTES.len() - 1);
        assert!(!config.catalogue.out_of_domain.is_empty());
        assert_eq!(config.mapping.default.as_str(), "general");
    }

    #[test]
    fn a_plain_file_named_as_the_routes_is_read_instead_of_those_built_in() {
        let house = House::new();
        house.write("routes-file", "");
        let file = house.path("routes-file");
        let (source, name) = (
            Source::File(Path::new("coterie.yaml")),
            file.to_string_lossy(),
        );
        let unwritten = Place::start("coterie.yaml");
        assert_eq!(source.routes_folder(&name, unwritten), Some(file.clone()));
        let mut mistakes = Mistakes::default();
        source.routes(&name, unwritten, &mut mistakes);
        let told = mistakes.iter().next().unwrap().to_string();
        assert!(told.contains("routes-file` cannot be read: "), "{told}");
        let absent = house.path("absent").display().to_string();
        assert_eq!(source.routes_folder(&absent, unwritten), None);
    }
}
