//! `coterie import`.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;

use super::{CliError, ConfigArgs, load, output};
use crate::{
    config::{Environment, Exposure},
    outcome::content,
    store::Store,
    transfer::import::{self, Imported},
};

/// Wrong rows that are told one by one; of more it is told how many there are.
const TOLD_MAX: u64 = 50;

#[derive(Args)]
pub(super) struct ImportArgs {
    /// Files that `coterie export` wrote; their formats are told apart by their content.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    config: ConfigArgs,
}

pub(super) async fn run(args: ImportArgs, environment: &Environment) -> Result<ExitCode, CliError> {
    let config = load(&args.config, environment, Exposure::Insecure)?;
    let store = Store::open(&config.store.path)
        .await
        .map_err(CliError::failed)?;
    let mut told = 0;
    let mut complain = |what: String| {
        told += 1;
        if told <= TOLD_MAX {
            output::complain(&what);
        }
    };
    let policy = config.store.content;
    let keep = |text| content::keep(policy, text);
    let imported = import::files(&store, &args.files, &keep, &mut complain).await;
    let closed = store.close().await;
    let imported = imported.map_err(|error| {
        let error = CliError::failed(error);
        CliError::Failed(format!("{error}; what was brought in before stays"))
    })?;
    closed.map_err(CliError::failed)?;
    tell(&imported);
    Ok(ExitCode::from(u8::from(imported.wrong > 0)))
}

fn tell(imported: &Imported) {
    let Imported {
        outcomes,
        there,
        feedback,
        labels,
        wrong,
        left_out,
    } = imported;
    output::line(&format!(
        "{outcomes} outcomes, {feedback} feedback and {labels} labels imported; {there} outcomes were there"
    ));
    if *wrong > TOLD_MAX {
        output::note(&format!("… and {} more wrong rows", wrong - TOLD_MAX));
    }
    if *wrong > 0 {
        output::note(&format!(
            "{wrong} rows are wrong; {left_out} rows beside them were left out. Put the rows right or take them out, and \
             import the file again: what is there is left as it is"
        ));
    }
}
