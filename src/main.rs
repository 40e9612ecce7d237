//! The `coterie` command.

use std::process::ExitCode;

/// A question makes and frees some thousand small objects, many of them on another thread than that which made them: the
/// system's allocator spends a sixth of the time on it, and does not give the memory back.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    coterie::cli::run()
}
