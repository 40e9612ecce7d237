//! Work that takes longer than a task may keep others waiting.

use tokio::runtime::{Handle, RuntimeFlavor};

/// Text above which reading or writing it takes long enough to matter to others, in bytes: below, it is done within a few
/// hundred microseconds.
const HEAVY_BYTES: usize = 128 << 10;

/// Does work on so many bytes; where they are many, other tasks go on elsewhere meanwhile.
pub fn on<T>(bytes: usize, work: impl FnOnce() -> T) -> T {
    let has_others = || {
        Handle::try_current()
            .is_ok_and(|handle| handle.runtime_flavor() == RuntimeFlavor::MultiThread)
    };
    if bytes >= HEAVY_BYTES && has_others() {
        tokio::task::block_in_place(work)
    } else {
        work()
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
