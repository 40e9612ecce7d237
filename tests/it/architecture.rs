//! The directions that ARCHITECTURE.md promises, held against the sources.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Lines of `src` files under `within` (all but those under `except`) that contain one of `words`, comments aside.
fn found(within: &[&str], except: &[&str], words: &[&str]) -> Vec<String> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&src, &mut files);
    assert!(files.len() > 40, "the sources are where they are expected");
    let mut found = Vec::new();
    for file in files {
        let module = module(&src, &file);
        let is_in = |prefixes: &[&str]| {
            prefixes
                .iter()
                .any(|p| module == *p || module.starts_with(&format!("{p}/")))
        };
        if !(within.is_empty() || is_in(within)) || is_in(except) {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        let shipped = text.split("#[cfg(test)]\nmod tests").next().unwrap();
        for (at, line) in shipped.lines().enumerate() {
            let code = line.split("//").next().unwrap();
            if words.iter().any(|word| code.contains(word)) {
                found.push(format!("{}:{}: {}", file.display(), at + 1, line.trim()));
            }
        }
    }
    found
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        // Tests may reach across to check; what is shipped may not.
        if path.file_stem().is_some_and(|stem| stem == "tests") {
            continue;
        }
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// `router/head.rs` → `router/head`.
fn module(src: &Path, file: &Path) -> String {
    let module = file.strip_prefix(src).unwrap().with_extension("");
    module.to_str().unwrap().to_owned()
}

#[track_caller]
fn nowhere(within: &[&str], except: &[&str], words: &[&str]) {
    let found = found(within, except, words);
    assert!(
        found.is_empty(),
        "{words:?} must not occur here:\n{}",
        found.join("\n")
    );
}

#[test]
fn the_search_finds_what_is_there() {
    assert!(!found(&["api"], &[], &["StatusCode"]).is_empty());
    assert!(!found(&["store"], &[], &["sqlx"]).is_empty());
    assert!(!found(&["config"], &[], &["std::env", "env::var"]).is_empty());
}

#[test]
fn only_store_knows_sql() {
    nowhere(
        &[],
        &["store"],
        &["sqlx", "SELECT ", "INSERT ", "DELETE FROM", "rusqlite"],
    );
}

#[test]
fn only_api_names_status_codes() {
    nowhere(&[], &["api"], &["StatusCode", "axum::http"]);
}

#[test]
fn axum_router_is_named_inside_api_and_its_server_alone() {
    nowhere(&[], &["api", "serve"], &["axum"]);
}

#[test]
fn only_config_reads_the_environment() {
    nowhere(
        &[],
        &["config"],
        &["std::env", "env::var", "env::vars", "env::args"],
    );
}

#[test]
fn router_and_mapping_know_nothing_of_http_or_sql_or_experts() {
    let inside = ["router", "mapping", "query", "decision", "session"];
    nowhere(
        &inside,
        &[],
        &[
            "axum",
            "http::",
            "reqwest",
            "hyper",
            "crate::api",
            "crate::store",
            "crate::expert",
        ],
    );
}

/// Modules that do no I/O and read no clock.
const PURE: &[&str] = &[
    "chat",
    "dialect",
    "query",
    "decision",
    "mapping",
    "ids",
    "learning/agreement",
    "learning/informative",
    "learning/judge/prompt",
    "learning/judge/verdict",
    "learning/neighbours",
    "session",
    "router/conversation",
    "router/head",
    "expert/remote/sse",
    "learning/reward",
    "learning/served",
    "learning/watch/success",
    "learning/untried",
    "off_policy",
    "fault/answer",
    "fault/asked",
    "fault/body",
    "fault/book",
    "fault/gzip",
    "fault/kind",
    "fault/name",
    "fault/plan",
    "fault/refusal",
    "fault/reply",
    "outcome/redact",
    "quota/bucket",
    "learning/gate",
    "learning/label",
    "learning/resolve",
    "learning/shadow",
    "learning/split",
    "learning/trust",
    "drift",
    "risk",
    "sequential",
    "train/doubt",
    "trial/comparison",
    "trial/lot",
    "trial/window",
    "evaluate/calibration",
    "evaluate/confusion",
    "evaluate/coverage",
    "evaluate/latency",
    "evaluate/mistakes",
    "evaluate/plots",
    "evaluate/ranking",
    "evaluate/table",
    "evaluate/tiers",
];

#[test]
fn what_is_pure_does_no_io() {
    let readers = [
        "mapping/fit/outcomes/read",
        "mapping/fit/models",
        "mapping/fit/written/read",
    ];
    nowhere(
        PURE,
        &readers,
        &[
            "std::fs",
            "std::net",
            "tokio::",
            "async fn",
            "Instant::now",
            "clock::",
        ],
    );
}

#[test]
fn lower_parts_do_not_reach_up() {
    nowhere(
        &["chat", "dialect", "ids", "clock"],
        &[],
        &[
            "crate::expert",
            "crate::config",
            "crate::outcome",
            "crate::api",
        ],
    );
    nowhere(
        &["expert", "outcome", "quota", "store"],
        &[],
        &["crate::api", "crate::app", "crate::cli", "crate::serve"],
    );
    nowhere(
        &["expert"],
        &[],
        &["crate::router", "crate::store", "crate::composition"],
    );
}

#[test]
fn the_fault_server_and_the_rest_do_not_know_each_other() {
    nowhere(
        &["fault"],
        &[],
        &[
            "crate::api",
            "crate::app",
            "crate::chat",
            "crate::cli",
            "crate::config",
            "crate::dialect",
            "crate::expert",
            "crate::outcome",
            "crate::serve",
            "crate::store",
        ],
    );
    nowhere(&[], &["fault", "cli/fault_server"], &["crate::fault"]);
}

#[test]
fn the_request_path_never_trains() {
    nowhere(
        &[
            "api",
            "expert",
            "outcome",
            "query",
            "mapping",
            "router",
            "app/answer",
            "app/shadow",
        ],
        &[],
        &["crate::train", "head::fit("],
    );
}

#[test]
fn every_metric_is_described() {
    let telemetry = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/telemetry.rs");
    let described = fs::read_to_string(telemetry).unwrap();
    let recorded = found(&[], &["telemetry"], &["\"coterie_"]);
    assert!(!recorded.is_empty());
    for line in recorded {
        let name = line.split('"').find(|part| part.starts_with("coterie_"));
        assert!(
            described.contains(&format!("\"{}\"", name.unwrap())),
            "{line}"
        );
    }
}
