//! The `coterie` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    coterie::cli::run()
}
