//! Work that takes longer than a task may keep others waiting.

use std::{future::pending, panic::resume_unwind};

use tokio::{
    runtime::{Handle, RuntimeFlavor},
    task::{block_in_place, spawn_blocking},
};

/// Text above which reading or writing it takes long enough to matter to others, in bytes: below, it is done within a few
/// hundred microseconds.
const HEAVY_BYTES: usize = 128 << 10;

/// Whether to read or write so many bytes takes long enough to matter to others.
pub fn is(bytes: u64) -> bool {
    bytes >= HEAVY_BYTES as u64
}

/// Does work on so many bytes; where they are many, other tasks go on elsewhere meanwhile.
///
/// Where this thread is the only one that could do them, they wait: on a server's lanes, which heavy requests are kept away from.
pub fn on<T>(bytes: usize, work: impl FnOnce() -> T) -> T {
    let has_others = || {
        Handle::try_current()
            .is_ok_and(|handle| handle.runtime_flavor() == RuntimeFlavor::MultiThread)
    };
    if is(bytes as u64) && has_others() {
        block_in_place(work)
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
    match spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            // The runtime ends, and with it whoever waits here.
            Err(_ends) => pending().await,
        },
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
            on(HEAVY_BYTES, || heard.recv().unwrap());
            others.join_next().await;
        });
        tasks.join_next().await.unwrap().unwrap();
    }
}
