//! `coterie fault-server`.

use std::net::SocketAddr;

use clap::Args;
use tokio::net::TcpListener;

use super::{CliError, output, signals::Signals};
use crate::fault::{FaultServer, Options, TimeScale};

#[derive(Args)]
pub(super) struct FaultServerArgs {
    /// Address and port to listen on; port 0 takes a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// What every wait of a fault is multiplied by; 0.01 makes a minute 0.6 s.
    #[arg(long, value_name = "FACTOR", default_value = "1.0")]
    time_scale: TimeScale,
}

pub(super) async fn run(args: FaultServerArgs) -> Result<(), CliError> {
    let FaultServerArgs { listen, time_scale } = args;
    let mut signals = Signals::listen().map_err(CliError::failed)?;
    let cannot_listen = |error| CliError::Failed(format!("cannot listen on {listen}: {error}"));
    let listener = TcpListener::bind(listen).await.map_err(cannot_listen)?;
    let server = FaultServer::start(listener, Options { time_scale }).map_err(CliError::failed)?;
    output::note(&format!(
        "coterie fault-server listens on http://{}",
        server.address()
    ));
    signals.received().await;
    Ok(())
}
