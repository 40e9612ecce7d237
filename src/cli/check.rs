//! `coterie check`: everything that `serve` checks before it binds.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use serde_json::{Map, Value, json};

use crate::{
    config::{self, Assignment, Config, Environment, ExpertConfig, ExpertKind, Mistakes},
    ids::ExpertId,
};

/// The call or the configuration is wrong.
const EXIT_WRONG: u8 = 2;

/// Checks the configuration and its routes, and reports every mistake at once.
///
/// Each mistake comes with its file, line and column, what is wrong and how to mend it, on standard error; the exit
/// code is then 2. Otherwise a summary of what would be served is printed.
#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    /// The configuration [default: config/coterie.yaml; the embedded one where that does not exist].
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print one JSON document on standard output: ok, mistakes, and a summary where all is fine.
    #[arg(long)]
    pub json: bool,
}

/// Runs the command; what it prints goes to `out`, mistakes to `err`.
pub fn run(
    args: &CheckArgs,
    environment: &Environment,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<ExitCode> {
    let path = args.config.as_deref();
    let loaded = config::load(path, environment);
    if args.json {
        serde_json::to_writer_pretty(&mut *out, &report(path, &loaded))?;
        writeln!(out)?;
    } else {
        match &loaded {
            Ok(config) => summarise(path, config, out)?,
            Err(mistakes) => complain(mistakes, err)?,
        }
    }
    Ok(match loaded {
        Ok(_) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(EXIT_WRONG),
    })
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
    writeln!(out, "  mapping  {} by default", config.mapping.default)?;
    for (category, assignment) in &config.mapping.categories {
        let order: Vec<&str> = order(assignment).map(ExpertId::as_str).collect();
        writeln!(out, "           {category} → {}", order.join(", else "))?;
    }
    writeln!(out, "  store    {}", config.store.path.display())?;
    writeln!(out, "  models   {}", config.models.dir.display())
}

fn expert_in_words(expert: &ExpertConfig) -> String {
    let id = &expert.id;
    match &expert.kind {
        ExpertKind::Local { model_file } => format!("{id}: {}", model_file.display()),
        ExpertKind::Remote {
            base_url, model, ..
        } => format!("{id}: {model} at {base_url}"),
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
            json!({
                "ok": true,
                "config": file,
                "mistakes": [],
                "routes": config.catalogue.routes.len(),
                "examples": examples(config),
                "experts": experts,
                "mapping": { "default": config.mapping.default, "categories": categories },
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
