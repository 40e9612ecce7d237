//! Work that takes longer than a task may keep others waiting.

use std::{future::pending, panic::resume_unwind, sync::LazyLock};

use rayon::{ThreadPool, ThreadPoolBuilder};
use tokio::{
    runtime::{Handle, RuntimeFlavor},
    task::{block_in_place, spawn_blocking},
};
use tracing::warn;

/// Text above which reading or writing it takes long enough to matter to others, in bytes: below, it is done within a few
/// hundred microseconds.
const HEAVY_BYTES: usize = 128 << 10;

/// Text above which whoever else has something to do goes first: it takes longer than a scheduler's time slice.
const HUGE_BYTES: usize = 1 << 20;

/// How much those threads give way to the others of this process, as `nice` counts: each is given a tenth of what another gets.
#[cfg(target_os = "linux")]
const NICE: i32 = 10;

/// The nicest that there is.
#[cfg(target_os = "linux")]
const NICE_MAX: i32 = 19;

/// Threads for what is huge, as many as there are cores; none where the system gives none. They compute and nothing else: what they
/// start or hold would be as slow as they are.
static BEHIND_OTHERS: LazyLock<Option<ThreadPool>> = LazyLock::new(|| {
    let pool = ThreadPoolBuilder::new()
        .thread_name(|number| format!("heavy-{number}"))
        .start_handler(|_| give_way())
        .build();
    pool.inspect_err(|error| warn!(%error, "huge requests will not give way to others"))
        .ok()
});

/// Whether to read or write so many bytes takes long enough to matter to others.
pub fn is(bytes: u64) -> bool {
    bytes >= HEAVY_BYTES as u64
}

/// Does work on so many bytes; where they are many, other tasks go on elsewhere meanwhile.
///
/// Where this thread is the only one that could do them, they wait: on a server's lanes, which heavy requests are kept away from.
pub fn on<T: Send>(bytes: usize, work: impl FnOnce() -> T + Send) -> T {
    let has_others = || {
        Handle::try_current()
            .is_ok_and(|handle| handle.runtime_flavor() == RuntimeFlavor::MultiThread)
    };
    if is(bytes as u64) && has_others() {
        block_in_place(|| in_turn(bytes, work))
    } else {
        work()
    }
}

/// Does work on so many bytes; where they are many, on another thread, and other tasks go on here, on every kind of runtime.
pub async fn apart<T: Send + 'static>(
    bytes: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    if bytes < HEAVY_BYTES {
        return work();
    }
    on_another_thread(move || in_turn(bytes, work)).await
}

/// Does work that may take long however little it is done on, on another thread, and other tasks go on here.
pub async fn on_another_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            // The runtime ends, and with it whoever waits here.
            Err(_ends) => pending().await,
        },
    }
}

/// Does work; what is huge, behind all others that have something to do.
fn in_turn<T: Send>(bytes: usize, work: impl FnOnce() -> T + Send) -> T {
    match &*BEHIND_OTHERS {
        Some(threads) if bytes >= HUGE_BYTES => threads.install(work),
        Some(_) | None => work(),
    }
}

/// On Linux a thread has a priority of its own.
fn give_way() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::getpriority_process(None)
        .and_then(|own| rustix::process::setpriority_process(None, (own + NICE).min(NICE_MAX)))
    {
        warn!(%error, "huge requests do not give way to others");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_is_done_on_every_kind_of_runtime_and_on_none() {
        assert_eq!(on(HEAVY_BYTES, || 1), 1);
        let on_none = std::thread::spawn(|| on(HEAVY_BYTES, || 2)).join();
        assert_eq!(on_none.unwrap(), 2);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn what_is_huge_gives_way_and_nothing_else() {
        let nice = || rustix::process::getpriority_process(None).unwrap();
        let usual = nice();
        assert_eq!(in_turn(HUGE_BYTES, nice), (usual + NICE).min(NICE_MAX));
        assert_eq!(in_turn(HUGE_BYTES - 1, nice), usual);
        assert_eq!(nice(), usual);
    }

    #[tokio::test]
    async fn apart_from_a_lone_thread_others_go_on() {
        let (say, heard) = std::sync::mpsc::sync_channel(1);
        let heavy = apart(HEAVY_BYTES, move || heard.recv().unwrap());
        let (heard, ()) = tokio::join!(heavy, async { say.send(3).unwrap() });
        assert_eq!(heard, 3);
        assert_eq!(apart(HEAVY_BYTES - 1, || 4).await, 4);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn others_go_on_meanwhile() {
        let (say, heard) = std::sync::mpsc::sync_channel(1);
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(async move {
            let mut others = tokio::task::JoinSet::new();
            others.spawn(async move { say.send(()).unwrap() });
            // This is the only worker; without another one nobody would ever say anything.
            on(HEAVY_BYTES, move || heard.recv().unwrap());
            others.join_next().await;
        });
        tasks.join_next().await.unwrap().unwrap();
    }
}
