//! The `coterie` command.

use std::process::ExitCode;

/// A question makes and frees many small objects, some of them on another thread than that which made them: the system's
/// allocator spent a sixth of the time of a plain answer on it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    coterie::cli::run()
}
