//! The `coterie` command.

use std::process::ExitCode;

/// A question makes and frees many small objects, some of them on another thread than that which made them. This allocator
/// gives out again first what was freed last, which is still in the processor's caches: a tenth more questions a second than
/// with mimalloc, a third more than with the system's.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// What the allocator reads when it starts.
///
/// An arena for each core instead of four; and what is free goes back to the system after a second instead of ten, also where
/// nobody asks: after a training an idle server takes 50 MB instead of 170.
#[cfg(target_os = "linux")]
#[expect(
    unsafe_code,
    reason = "the allocator looks for this name, which no other symbol has"
)]
#[unsafe(export_name = "_rjem_malloc_conf")]
pub static ALLOCATOR_OPTIONS: &[u8; 76] =
    b"narenas_ratio:1,background_thread:true,dirty_decay_ms:1000,muzzy_decay_ms:0\0";

fn main() -> ExitCode {
    coterie::cli::run()
}
