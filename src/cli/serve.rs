//! `coterie serve`.

use std::{net::SocketAddr, sync::Arc};

use clap::Args;

use super::{
    CliError, ConfigArgs, output,
    signals::{Hangups, Signals},
};
use crate::{
    app::App,
    config::{self, Environment, Exposure},
    serve::{ServeError, Server},
};

#[derive(Args)]
pub(super) struct ServeArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Address and port to listen on, instead of `server.listen`; port 0 takes a free one.
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// Listen on an address that other machines reach although no key is configured: everyone may ask.
    #[arg(long)]
    insecure: bool,
}

pub(super) async fn run(args: ServeArgs, environment: &Environment) -> Result<(), CliError> {
    let exposure = if args.insecure {
        Exposure::Insecure
    } else {
        Exposure::Guarded
    };
    // An address of the command line is judged when it is bound, in place of the file's.
    let judged = if args.listen.is_some() {
        Exposure::Insecure
    } else {
        exposure
    };
    let mut config = config::load_to_serve(args.config.config.as_deref(), environment, judged)
        .map_err(CliError::Config)?;
    config.server.listen = args.listen.unwrap_or(config.server.listen);
    // Before anything is loaded: a SIGTERM during start-up must not be lost.
    let mut signals = Signals::listen().map_err(CliError::failed)?;
    let hangups = Hangups::listen().map_err(CliError::failed)?;
    let server = Server::bind(config, exposure)
        .await
        .map_err(|error| match error {
            ServeError::OpenToAll { .. } => CliError::Usage(error.to_string()),
            ServeError::Bind { .. } | ServeError::NoThreads { .. } | ServeError::App(_) => {
                CliError::failed(error)
            }
        })?;
    output::note(&format!("coterie listens on http://{}", server.address()));
    let app = Arc::clone(server.app());
    server.app().spawn(look_when_told(app, hangups));
    server.run(signals.received()).await;
    Ok(())
}

/// Has the mapping's file and the registry read again at every SIGHUP, until the app closes.
async fn look_when_told(app: Arc<App>, mut hangups: Hangups) {
    let stop = app.cancel.clone();
    while stop.run_until_cancelled(hangups.received()).await.is_some() {
        app.look_at_mapping();
        app.look_at_registry();
    }
}
