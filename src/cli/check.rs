//! `coterie check`: everything that `serve` checks before it binds.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use serde_json::{Map, Value, json};

use crate::{
    catalogue::{Card, Cards},
    composition,
    config::{self, Assignment, Config, Environment, ExpertConfig, ExpertKind, Exposure, Mistakes},
    ids::{ExpertId, MappingId},
    instruction::writing::{self, Flaw},
    learning::vectors,
};

/// The call or the configuration is wrong.
const EXIT_WRONG: u8 = 2;

/// Checks the configuration and its routes, and reports every mistake at once.
///
/// Each mistake comes with its file, line and column, what is wrong and how to mend it, on standard error; the exit
/// code is then 2. Otherwise a summary of what would be served is printed.
#[derive(Debug, clap::Args)]
pub(super) struct CheckArgs {
    /// The configuration [default: config/coterie.yaml; the embedded one where that does not exist].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Check for `serve --insecure`: an address that other machines reach needs no key.
    #[arg(long)]
    insecure: bool,
    /// Print one JSON document on standard output: ok, mistakes, and a summary where all is fine.
    #[arg(long)]
    json: bool,
}

/// Runs the command; what it prints goes to `out`, mistakes to `err`.
pub(super) fn run(
    args: &CheckArgs,
    environment: &Environment,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<ExitCode> {
    let path = args.config.as_deref();
    let exposure = if args.insecure {
        Exposure::Insecure
    } else {
        Exposure::Guarded
    };
    let loaded = config::load_to_serve(path, environment, exposure);
    let code = match loaded {
        Ok(_) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(EXIT_WRONG),
    };
    match print(args, &loaded, out, err) {
        // Whoever reads has read enough, as in `coterie check | head`.
        Err(gone) if gone.kind() == io::ErrorKind::BrokenPipe => Ok(code),
        printed => printed.map(|()| code),
    }
}

fn print(
    args: &CheckArgs,
    loaded: &Result<Config, Mistakes>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<()> {
    let path = args.config.as_deref();
    if args.json {
        serde_json::to_writer_pretty(&mut *out, &report(path, loaded))?;
        return writeln!(out);
    }
    match loaded {
        Ok(config) => {
            summarise(path, config, out)?;
            for warning in warnings(config) {
                writeln!(err, "warning: {warning}")?;
            }
            Ok(())
        }
        Err(mistakes) => complain(mistakes, err),
    }
}

fn complain(mistakes: &Mistakes, err: &mut dyn Write) -> io::Result<()> {
    let count = match mistakes.len() {
        1 => "1 mistake".to_owned(),
        several => format!("{several} mistakes"),
    };
    writeln!(err, "{mistakes}\n\n{count}")
}

fn summarise(path: Option<&Path>, config: &Config, out: &mut dyn Write) -> io::Result<()> {
    let routes = &config.catalogue.routes;
    let experts: Vec<String> = config.experts.iter().map(expert_in_words).collect();
    writeln!(out, "{} is fine", config::source_name(path))?;
    writeln!(
        out,
        "  routes   {} with {} examples",
        routes.len(),
        examples(config)
    )?;
    writeln!(out, "  experts  {}", experts.join("\n           "))?;
    writeln!(out, "  mapping  {}", mapping_in_words(config))?;
    let fallbacks = config.mapping.default_fallbacks.iter();
    let fallbacks: String = fallbacks.map(|expert| format!(", else {expert}")).collect();
    writeln!(
        out,
        "           {}{fallbacks} by default",
        config.mapping.default
    )?;
    for (category, assignment) in &config.mapping.categories {
        let order: Vec<&str> = order(assignment).map(ExpertId::as_str).collect();
        writeln!(out, "           {category} → {}", order.join(", else "))?;
    }
    for (category, cascade) in &config.mapping.cascades {
        writeln!(out, "           {category}: {} first", cascade.first)?;
    }
    if let Some(explore) = &config.mapping.explore {
        let percent = explore.share() * 100.0;
        writeln!(out, "           {percent:.1} % to others, to try them out")?;
    }
    writeln!(out, "  store    {}", config.store.path.display())?;
    writeln!(out, "  models   {}", config.models.dir.display())
}

/// What keeps no server from starting.
fn warnings(config: &Config) -> Vec<String> {
    let flaws = flaws(config).into_iter().map(|flaw| flaw.to_string());
    config.mapping.warnings().into_iter().chain(flaws).collect()
}

/// What is wrong with instruction cards. Cards that are not there are missed only where somebody is to read them; those that are
/// there say what they should whether they are read today or not.
fn flaws(config: &Config) -> Vec<Flaw> {
    let mut flaws = writing::flaws(config);
    let are_read = config.router.instruction.is_some();
    flaws.retain(|flaw| are_read || !matches!(flaw, Flaw::Missing { .. }));
    // Those that are built in were compared when they were.
    let Cards {
        categories,
        experts,
    } = &config.catalogue.cards;
    if config.routes_folder.is_some() && categories.len().max(experts.len()) > 1 {
        flaws.extend(alike(config));
    }
    flaws
}

/// Cards that tell the same, as far as the static encoder can tell: it needs no model, and reads a card in microseconds.
fn alike(config: &Config) -> Vec<Flaw> {
    let Some(encoder) = vectors::open(&config.router) else {
        return Vec::new();
    };
    let read = |id: &str, card: &Card| (id.to_owned(), encoder.vector(&card.instruction));
    let Cards {
        categories,
        experts,
    } = &config.catalogue.cards;
    let categories = categories.iter().map(|(id, card)| read(id.as_str(), card));
    let experts = experts.iter().map(|(id, card)| read(id.as_str(), card));
    // An expert's may well say what a category's does.
    let mut flaws = writing::alike(&categories.collect());
    flaws.extend(writing::alike(&experts.collect()));
    flaws
}

/// The mapping's id, and where it is.
fn mapping_in_words(config: &Config) -> String {
    let id = mapping_id(config);
    match config.mapping_source.file() {
        Some(file) => format!("{id}, in {}", file.display()),
        None => id.to_string(),
    }
}

fn mapping_id(config: &Config) -> MappingId {
    let mapping = composition::open_mapping(config.mapping.clone(), &config.experts);
    mapping.id().clone()
}

fn expert_in_words(expert: &ExpertConfig) -> String {
    let id = &expert.id;
    match &expert.kind {
        ExpertKind::Local { model_file } => format!("{id}: {}", model_file.display()),
        ExpertKind::Remote(remote) => {
            let places: Vec<_> = remote
                .places
                .iter()
                .map(|place| place.base_url.as_str())
                .collect();
            format!("{id}: {} at {}", remote.model, places.join(", "))
        }
    }
}

fn report(path: Option<&Path>, loaded: &Result<Config, Mistakes>) -> Value {
    let file = config::source_name(path);
    match loaded {
        Err(mistakes) => {
            let mistakes: Vec<_> = mistakes.iter().collect();
            json!({ "ok": false, "config": file, "mistakes": mistakes })
        }
        Ok(config) => {
            let experts: Vec<_> = config.experts.iter().map(|expert| &expert.id).collect();
            let categories: Map<String, Value> = config
                .mapping
                .categories
                .iter()
                .map(|(category, assignment)| {
                    let order: Vec<_> = order(assignment).collect();
                    (category.to_string(), json!(order))
                })
                .collect();
            let cascades: Map<String, Value> = config
                .mapping
                .cascades
                .iter()
                .map(|(category, cascade)| (category.to_string(), json!(cascade.first)))
                .collect();
            json!({
                "ok": true,
                "config": file,
                "mistakes": [],
                "warnings": warnings(config),
                "routes": config.catalogue.routes.len(),
                "examples": examples(config),
                "experts": experts,
                "mapping": {
                    "id": mapping_id(config),
                    "file": config.mapping_source.file(),
                    "default": config.mapping.default,
                    "default_fallbacks": config.mapping.default_fallbacks,
                    "categories": categories,
                    "cascades": cascades,
                    "explore": config.mapping.explore,
                },
                "store": config.store.path,
                "models": config.models.dir,
            })
        }
    }
}

fn examples(config: &Config) -> usize {
    let routes = config.catalogue.routes.iter();
    routes.map(|route| route.examples.len()).sum()
}

fn order(assignment: &Assignment) -> impl Iterator<Item = &ExpertId> {
    std::iter::once(&assignment.expert).chain(&assignment.fallbacks)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;
    use crate::catalogue;

    /// What a check of a configuration with these `experts` leaves behind: exit code, output and complaints.
    fn check(experts: &str, json: bool) -> (ExitCode, String, String) {
        check_with(experts, "", json)
    }

    /// The same, with more of the mapping.
    fn check_with(experts: &str, mapping: &str, json: bool) -> (ExitCode, String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let dir = house(experts, mapping);
        let code = run(
            &args(&dir, json),
            &Environment::default(),
            &mut out,
            &mut err,
        )
        .unwrap();
        let here = format!("{}/", dir.path().display());
        let text = |bytes| String::from_utf8(bytes).unwrap().replace(&here, "");
        (code, text(out), text(err))
    }

    fn args(dir: &TempDir, json: bool) -> CheckArgs {
        CheckArgs {
            insecure: false,
            config: Some(dir.path().join("coterie")),
            json,
        }
    }

    fn house(experts: &str, mapping: &str) -> TempDir {
        let dir = TempDir::new().unwrap();
        let path = |file: &str| dir.path().join(file).display().to_string();
        for (file, text) in [
            ("model.safetensors", ""),
            ("tokenizer.json", ""),
            ("config.json", ""),
            ("special_tokens_map.json", ""),
            ("tokenizer_config.json", ""),
            ("ort.so", "\u{7f}ELF"),
            (
                "coding.yaml",
                "description: Code\nexamples: [Fix my loop, Name my crate]\n",
            ),
            (
                "math.yml",
                "description: Sums\nexamples: [What is 2 + 2?]\n",
            ),
        ] {
            fs::write(path(file), text).unwrap();
        }
        let folder = path("");
        let config = format!(
            "experts: {experts}
mapping: {{ default: big, coding: {{ expert: big, fallbacks: [small] }}{mapping} }}
models: {{ dir: '{folder}' }}
router: {{ routes: '{folder}', encoder: {{ model: '{folder}', runtime: '{}' }} }}
",
            path("ort.so")
        );
        fs::write(path("coterie"), config).unwrap();
        dir
    }

    /// A pipe whose reader has left.
    struct Gone;

    impl Write for Gone {
        fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_has_left_changes_nothing_about_how_it_ends() {
        for (experts, code) in [(FINE, ExitCode::SUCCESS), (MISTAKEN, ExitCode::from(2))] {
            for json in [false, true] {
                let dir = house(experts, "");
                let args = args(&dir, json);
                let ended = run(&args, &Environment::default(), &mut Gone, &mut Gone);
                assert_eq!(ended.unwrap(), code);
            }
        }
    }

    const FINE: &str = "{
        big: { kind: remote, base_url: 'https://a.example.com/v1', model: b },
        small: { kind: remote, base_url: 'https://b.example.com/v1', model: s } }";
    const MISTAKEN: &str = "{ big: { kind: remote, model: b } }";

    #[test]
    fn a_fine_configuration_is_summed_up() {
        let (code, out, err) = check(FINE, false);
        assert_eq!((code, err.as_str()), (ExitCode::SUCCESS, ""));
        assert!(out.contains("2 with 3 examples"), "{out}");
        assert!(out.contains("coding → big, else small"), "{out}");
    }

    #[test]
    fn a_cascade_that_waits_for_a_quality_model_is_a_warning() {
        let cascade =
            ", cascade: { coding: { first: small, accept: { predicted_success_min: 0.5 } } }";
        let (code, _, err) = check_with(FINE, cascade, false);
        assert_eq!(code, ExitCode::SUCCESS);
        assert!(
            err.starts_with("warning: the cascade of `coding` never asks `small`: "),
            "{err}"
        );
        let (_, out, _) = check_with(FINE, cascade, true);
        let document: Value = serde_json::from_str(&out).unwrap();
        assert_eq!(document["warnings"].as_array().unwrap().len(), 1);
    }

    #[test]
    fn cards_that_nobody_reads_yet_are_checked_if_they_are_there() {
        let dir = house(FINE, "");
        let checked = |cards: &str| {
            fs::write(dir.path().join("_cards.yaml"), cards).unwrap();
            let (mut out, mut err) = (Vec::new(), Vec::new());
            let environment = Environment::default();
            run(&args(&dir, false), &environment, &mut out, &mut err).unwrap();
            String::from_utf8(err).unwrap()
        };
        let by_hand = "categories: { coding: { instruction: Write code. } }";
        assert_eq!(checked(by_hand), "", "that of math is missed by nobody");
        let text = catalogue::digest(["Write code."]);
        let stale = format!(
            "categories: {{ coding: {{ instruction: Write code., made: {{ by: big, model: b, prompt: card-v1, on: '2026-11-28', from: older, text: {text:?} }} }} }}"
        );
        let err = checked(&stale);
        assert!(
            err.starts_with("warning: the instruction card of the category `coding` is older than"),
            "{err}"
        );
        let err = checked("categories: { code: { instruction: Write code. } }");
        assert!(err.contains("there is no route `code`"), "{err}");
    }

    #[test]
    fn mistakes_go_to_standard_error_and_are_counted() {
        let (code, out, err) = check(MISTAKEN, false);
        assert_eq!((code, out.as_str()), (ExitCode::from(2), ""));
        let expected = "coterie:1:12: `big` lacks `base_url`; add it: the endpoint's address up to and including `/v1`
coterie:2:61: there is no expert `small`; known here: `big`

2 mistakes
";
        assert_eq!(err, expected);
    }

    #[test]
    fn json_is_one_document_either_way() {
        let (code, out, err) = check(MISTAKEN, true);
        assert_eq!((code, err.as_str()), (ExitCode::from(2), ""));
        let document: Value = serde_json::from_str(&out).unwrap();
        assert_eq!(document["ok"], false);
        assert_eq!(document["mistakes"][1]["line"], 2);
        assert_eq!(document["mistakes"][1]["column"], 61);
        assert_eq!(
            document["mistakes"][1]["message"],
            "there is no expert `small`"
        );
        assert_eq!(document["mistakes"][1]["help"], "known here: `big`");

        let (code, out, _) = check(FINE, true);
        assert_eq!(code, ExitCode::SUCCESS);
        let document: Value = serde_json::from_str(&out).unwrap();
        assert_eq!(document["ok"], true);
        assert_eq!(document["experts"], json!(["big", "small"]));
        assert_eq!(
            document["mapping"]["categories"]["coding"],
            json!(["big", "small"])
        );
    }
}
