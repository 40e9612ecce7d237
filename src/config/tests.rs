//! The whole way from files to the configuration, and every way in which it can fail.

mod delivery;
mod dialects;
mod exploring;
pub(super) mod house;
mod limits;
mod mapping_file;
mod mistaken_config;
mod mistaken_routes;
mod opened;

use std::{fs, path::Path, time::Duration};

use proptest::prelude::*;
use secrecy::ExposeSecret;

use super::*;
use house::House;

#[test]
fn a_short_file_is_completed_by_the_defaults() {
    let house = House::new();
    let config = house.config("").load().unwrap();
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:8400");
    assert_eq!(config.server.body_bytes_max, 8 << 20);
    assert_eq!(config.server.grace, Duration::from_secs(30));
    assert_eq!(config.store.path, Path::new("data/coterie.db"));
    assert_eq!(config.store.content, ContentPolicy::Redacted);
    assert_eq!(config.store.keep, Some(Duration::from_secs(90 * 86_400)));
    let year = humantime::parse_duration("1 year").unwrap();
    assert_eq!(config.store.keep_labelled, Some(year));
    assert_eq!(config.store.flush_interval, Duration::from_millis(100));
    assert_eq!(config.models.hub.as_str(), "https://huggingface.co/");
    assert_eq!(config.router.encoder.name, "all-MiniLM-L6-v2");
    assert!((config.router.misroute_max - 0.05).abs() < f64::EPSILON);
    assert_eq!(config.router.features, FeatureKind::ALL);
    assert_eq!(config.router.static_encoder, None);
    assert_eq!(config.router.sticky, Sticky::On);
}

#[test]
fn a_bound_on_misrouted_questions_is_a_number_or_a_share() {
    for (written, expected) in [
        ("0.1", 0.1),
        ("2.5%", 0.025),
        ("' 10 % '", 0.1),
        ("'0.02'", 0.02),
    ] {
        let house = House::new();
        let config = house.config(&format!(
            "router: {{ misroute_max: {written}, routes: ROUTES }}"
        ));
        let share = config.load().unwrap().router.misroute_max;
        assert!((share - expected).abs() < 1e-12, "{written}: {share}");
    }
}

#[test]
fn what_is_read_of_a_question_and_by_what_static_encoder_can_be_chosen() {
    let house = House::new();
    let config = house.config(
        "router: { features: [sparse, static], static_encoder: models/small-table, routes: ROUTES }",
    );
    let router = config.load().unwrap().router;
    assert_eq!(router.features, [FeatureKind::Sparse, FeatureKind::Static]);
    let static_encoder = router.static_encoder.unwrap();
    assert!(static_encoder.ends_with("store/small-table"));
}

#[test]
fn questions_of_no_category_and_hard_negatives_are_read_with_the_routes() {
    let house = House::new();
    house.write(
        "routes/_other.yaml",
        "description: Small talk\nexamples: [Good morning, Thanks]\n",
    );
    house.write(
        "routes/poem.yaml",
        "description: P\nexamples: [Write a haiku]\nnegatives: [Count the lines of this file]\n",
    );
    let catalogue = house.config("").load().unwrap().catalogue;
    let categories: Vec<&str> = catalogue
        .routes
        .iter()
        .map(|route| route.category.as_str())
        .collect();
    assert_eq!(categories, ["coding", "math", "poem"]);
    assert_eq!(catalogue.out_of_domain, ["Good morning", "Thanks"]);
    assert_eq!(
        catalogue.routes[2].negatives,
        ["Count the lines of this file"]
    );
}

#[test]
fn sessions_can_be_kept_from_holding_on() {
    let house = House::new();
    let config = house.config("router: { sticky: off, routes: ROUTES }");
    assert_eq!(config.load().unwrap().router.sticky, Sticky::Off);
}

#[test]
fn experts_and_categories_keep_the_order_of_the_file() {
    let house = House::new();
    let config = house
        .config(
            "
experts:
  zed: { kind: local, model: models/small }
  amy: { kind: remote, base_url: 'https://api.example.com/v1/', model: big, usd_in: 1, usd_out: 2 }
mapping: { math: amy, default: zed, coding: { expert: zed, fallbacks: [amy] } }
",
        )
        .load()
        .unwrap();
    let ids: Vec<&str> = config
        .experts
        .iter()
        .map(|expert| expert.id.as_str())
        .collect();
    assert_eq!(ids, ["zed", "amy"]);
    let categories: Vec<&str> = config
        .mapping
        .categories
        .iter()
        .map(|(category, _)| category.as_str())
        .collect();
    assert_eq!(categories, ["math", "coding"]);
    assert_eq!(
        config.mapping.categories[1].1.fallbacks,
        [ExpertId::new("amy")]
    );
}

#[test]
fn a_local_expert_costs_nothing_and_works_on_one_answer() {
    let config = House::new().config("").load().unwrap();
    let general = &config.experts[0];
    assert_eq!((general.usd_in, general.usd_out), (Some(0.0), Some(0.0)));
    assert_eq!(general.concurrent_max, Some(1));
    let ExpertKind::Local { model_file } = &general.kind else {
        panic!("{general:?}");
    };
    assert!(model_file.ends_with("store/small/small.gguf"));
}

#[test]
fn the_environment_wins_over_the_file() {
    let house = House::new()
        .with("HF_ENDPOINT", "http://mirror.example.com")
        .with("HF_TOKEN", "hf_token")
        .with("ORT_DYLIB_PATH", "/dev/null");
    // Not a file, although it is there.
    let mistakes = house.config("").mistakes();
    assert_eq!(mistakes.len(), 1, "{mistakes:?}");
    house.write("ort.so", "");
    let library = house.path("ort.so");
    let house = house.with("ORT_DYLIB_PATH", library.to_str().unwrap());
    let config = house.load().unwrap();
    assert_eq!(config.models.dir, house.path("store"));
    assert_eq!(config.models.hub.as_str(), "http://mirror.example.com/");
    assert_eq!(config.models.hub_token.unwrap().expose_secret(), "hf_token");
    assert_eq!(config.router.encoder.runtime, library);
}

#[test]
fn the_models_are_known_before_they_are_there() {
    let house = House::new();
    house.config("models: { hub: 'https://hub.example.com' }\nexperts: { a: { kind: local, model: models/absent } }");
    let models = load_models(Some(&house.path("coterie.yaml")), &house.environment).unwrap();
    assert_eq!(models.dir, house.path("store"));
    assert_eq!(models.hub.as_str(), "https://hub.example.com/");
}

#[test]
fn keys_come_from_the_environment_or_a_file_and_are_never_printed() {
    let house = House::new()
        .with("BIG_KEY", "sk-from-env")
        .with("HF_TOKEN", "hf_secret");
    house.write("key", "sk-from-file\n");
    let file = house.path("key");
    let text = format!(
        "
experts:
  general: {{ kind: remote, base_url: 'https://a.example.com/v1', model: a, api_key: {{ env: BIG_KEY }} }}
  gpt: {{ kind: remote, base_url: 'https://b.example.com/v1', model: b, api_key: {{ file: '{}' }} }}
",
        file.display()
    );
    let config = house.config(&text).load().unwrap();
    let keys: Vec<&str> = config
        .experts
        .iter()
        .filter_map(|expert| match &expert.kind {
            ExpertKind::Remote(remote) => remote.places[0].api_key.as_ref(),
            ExpertKind::Local { .. } => None,
        })
        .map(ExposeSecret::expose_secret)
        .collect();
    assert_eq!(keys, ["sk-from-env", "sk-from-file"]);
    let printed = format!("{config:?} {:?}", house.environment);
    for secret in ["sk-from-env", "sk-from-file", "hf_secret"] {
        assert!(!printed.contains(secret), "{printed}");
    }
}

#[test]
fn the_embedded_default_is_right_but_for_absent_models() {
    let mut mistakes = Mistakes::default();
    let routes = routes::embedded(&mut mistakes);
    assert_eq!(mistakes, Mistakes::default());
    assert_eq!(routes.catalogue.routes.len(), embedded::ROUTES.len() - 1);
    assert!(!routes.catalogue.out_of_domain.is_empty());
    assert_eq!(
        routes.catalogue.cards.categories.len(),
        routes.catalogue.routes.len()
    );

    let mut folder: Vec<String> = fs::read_dir(root("routes"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    folder.sort();
    let routes = embedded::ROUTES.iter();
    let routes = routes.map(|(category, _)| format!("{category}.yaml"));
    let embedded: Vec<String> = ["_cards.yaml".to_owned()]
        .into_iter()
        .chain(routes)
        .collect();
    assert_eq!(folder, embedded, "src/config/embedded.rs lists every file");
}

#[test]
fn the_shipped_configurations_are_right_once_their_models_and_keys_are_there() {
    for file in [
        "config/coterie.yaml",
        "config/examples/remote-pair.yaml",
        "config/examples/mixed-house.yaml",
    ] {
        let house = House::new()
            .with("OPENAI_API_KEY", "sk-1")
            .with("VLLM_API_KEY", "sk-2");
        house.write("store/smollm2-135m-instruct/model.gguf", "GGUF");
        house.write("store/qwen2.5-coder-0.5b-instruct/model.gguf", "GGUF");
        let text = fs::read_to_string(root(file)).unwrap();
        let routes = format!("routes: '{}'", root("routes").display());
        let text = if text.contains("routes: routes") {
            text.replace("routes: routes", &routes)
        } else {
            format!("{text}\nrouter: {{ {routes} }}\n")
        };
        house.write("coterie.yaml", text);
        if let Err(mistakes) = house.load() {
            panic!("{file}:\n{mistakes}");
        }
    }
}

#[test]
fn every_default_in_the_default_file_is_the_default() {
    let text = fs::read_to_string(root("config/coterie.yaml")).unwrap();
    let mut mistakes = Mistakes::default();
    let document = document::Document::parse("file".to_owned(), &text, &mut mistakes).unwrap();
    let raw: raw::Config = shape::read(
        "the file",
        document.place(),
        &config_schema(),
        &mut mistakes,
    )
    .unwrap();
    let shown = |value: &dyn std::fmt::Debug| format!("{value:?}");
    assert_eq!(shown(&raw.server), shown(&raw::Server::default()));
    assert_eq!(shown(&raw.store), shown(&raw::Store::default()));
    assert_eq!(shown(&raw.models), shown(&raw::Models::default()));
    assert_eq!(shown(&raw.router), shown(&raw::Router::default()));
}

proptest! {
    // Each case reads a whole configuration from disk.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_change_of_bytes_makes_the_loader_panic_or_give_up(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = embedded::CONFIG.as_bytes().to_vec();
        for (index, byte) in edits {
            let index = index.index(bytes.len());
            bytes[index] = byte;
        }
        bytes.truncate(cut.index(bytes.len() * 4));
        let house = House::new();
        house.write("coterie.yaml", bytes);
        if let Err(mistakes) = house.load() {
            prop_assert!(!mistakes.is_empty());
            // What the schema lets through, the types take.
            prop_assert!(!mistakes.to_string().contains("cannot be understood"), "{mistakes}");
        }
    }
}

fn root(file: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(file)
}
