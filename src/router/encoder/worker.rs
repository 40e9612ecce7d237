//! The encoder's thread: which texts go through the model together, and who waits for whom.
//!
//! A batch is padded to its longest text, so texts of about the same length go together. Questions to be routed lead
//! before everybody else, so that one waits for the batch under way and for the questions ahead of it. The other
//! callers take turns: a batch is led by the one whose last turn is longest ago. Whoever has texts of the leader's
//! length joins in.

use std::{
    any::Any,
    cmp::Reverse,
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
};

use tokio::sync::{mpsc, oneshot};

use super::{EncoderError, Reading, places::Place};

/// Texts in a batch: a larger batch is no faster a text.
const BATCH_TEXTS_MAX: usize = 32;

/// Bytes in a batch, padding included: bounds what one batch may take, and with it what a question waits for another.
const BATCH_BYTES_MAX: usize = 4 * 1024;

/// A text joins a batch if it is at most this many times as long as the leader's, or as many times as short…
const LENGTH_RATIO_MAX: usize = 2;

/// …where texts of fewer bytes count as this long: what they cost is the batch, not the text…
const LENGTH_MIN: usize = 64;

/// …and longer texts as this long: about as much as the model reads of one.
const LENGTH_MAX: usize = 1024;

/// Where the answer to a call goes.
pub(super) type Reply = oneshot::Sender<Result<Vec<Reading>, EncoderError>>;

/// One call.
pub(super) struct Job {
    texts: Vec<String>,
    readings: Vec<Option<Reading>>,
    /// Texts that are still to be read, by number, the shortest last.
    open: Vec<usize>,
    reply: Reply,
    is_question: bool,
    /// Held until the call is answered.
    _place: Place,
}

impl Job {
    /// A call of many texts.
    pub(super) fn new(texts: Vec<String>, reply: Reply, place: Place) -> Self {
        let mut open: Vec<usize> = (0..texts.len()).collect();
        open.sort_by_key(|text| Reverse(texts[*text].len()));
        Self {
            readings: texts.iter().map(|_| None).collect(),
            texts,
            open,
            reply,
            is_question: false,
            _place: place,
        }
    }

    /// A call that goes ahead of others.
    pub(super) fn question(text: String, reply: Reply, place: Place) -> Self {
        Self {
            is_question: true,
            ..Self::new(vec![text], reply, place)
        }
    }

    fn finish(self) {
        let readings = self.readings.into_iter().flatten().collect();
        // Whoever left in the meantime needs no answer.
        drop(self.reply.send(Ok(readings)));
    }
}

/// Works until every sender is gone and every call is answered. `read` turns a batch into as many readings, in the same
/// order, or says why it cannot.
pub(super) fn run(
    mut waiting: mpsc::Receiver<Job>,
    mut read: impl FnMut(&[&str]) -> Result<Vec<Reading>, String>,
) {
    let mut jobs = VecDeque::new();
    loop {
        if jobs.is_empty() {
            match waiting.blocking_recv() {
                Some(job) => admit(&mut jobs, job),
                None => return,
            }
        }
        // Every job holds one of the encoder's places, which bounds how many there can be.
        while let Ok(job) = waiting.try_recv() {
            admit(&mut jobs, job);
        }
        jobs.retain(|job: &Job| !job.reply.is_closed());
        if !jobs.is_empty() {
            turn(&mut jobs, &mut read);
        }
    }
}

/// Puts a question behind the questions that wait, and every other call behind all.
fn admit(jobs: &mut VecDeque<Job>, job: Job) {
    // A question has but one text, so that it is never turned to the back: the questions stand in front.
    let at = if job.is_question {
        jobs.partition_point(|waiting| waiting.is_question)
    } else {
        jobs.len()
    };
    jobs.insert(at, job);
}

/// Reads one batch, led by the first job, and answers whoever it completes.
fn turn(jobs: &mut VecDeque<Job>, read: &mut impl FnMut(&[&str]) -> Result<Vec<Reading>, String>) {
    let batch = take_batch(jobs);
    let texts: Vec<&str> = batch
        .iter()
        .map(|slot| jobs[slot.job].texts[slot.text].as_str())
        .collect();
    let outcome = catch_unwind(AssertUnwindSafe(|| read(&texts)))
        .unwrap_or_else(|panic| Err(panic_message(panic.as_ref())));
    match outcome {
        Ok(readings) => {
            for (slot, reading) in batch.iter().zip(readings) {
                jobs[slot.job].readings[slot.text] = Some(reading);
            }
            let led_on = jobs.front().is_some_and(|lead| !lead.open.is_empty());
            for job in remove(jobs, |_, job| job.open.is_empty()) {
                job.finish();
            }
            if led_on {
                jobs.rotate_left(1);
            }
        }
        Err(detail) => {
            for job in remove(jobs, |at, _| batch.iter().any(|slot| slot.job == at)) {
                let detail = detail.clone();
                drop(job.reply.send(Err(EncoderError::Failed { detail })));
            }
        }
    }
}

/// Where a text of a batch came from.
struct Slot {
    job: usize,
    text: usize,
}

/// Takes the first job's shortest open text and whatever goes with it.
fn take_batch(jobs: &mut VecDeque<Job>) -> Vec<Slot> {
    let mut batch: Vec<Slot> = Vec::new();
    let mut leader = None;
    let mut longest = 0;
    for (at, job) in jobs.iter_mut().enumerate() {
        while let Some(&text) = job.open.last() {
            let length = job.texts[text].len().clamp(LENGTH_MIN, LENGTH_MAX);
            let leader = *leader.get_or_insert(length);
            let alike = length <= leader * LENGTH_RATIO_MAX && leader <= length * LENGTH_RATIO_MAX;
            let bytes = (batch.len() + 1) * longest.max(length);
            if batch.len() == BATCH_TEXTS_MAX || !alike || bytes > BATCH_BYTES_MAX {
                break;
            }
            longest = longest.max(length);
            job.open.pop();
            batch.push(Slot { job: at, text });
        }
    }
    batch
}

/// Takes out the jobs that `applies` says yes to; the others keep their order.
fn remove(jobs: &mut VecDeque<Job>, applies: impl Fn(usize, &Job) -> bool) -> Vec<Job> {
    let (removed, kept): (Vec<_>, Vec<_>) = jobs
        .drain(..)
        .enumerate()
        .partition(|(at, job)| applies(*at, job));
    jobs.extend(kept.into_iter().map(|(_, job)| job));
    removed.into_iter().map(|(_, job)| job).collect()
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let said = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("it panicked: {}", said.unwrap_or("without a word"))
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Arc, mpsc as std_mpsc},
        thread,
    };

    use tokio::sync::Semaphore;

    use super::*;

    type Answer = oneshot::Receiver<Result<Vec<Reading>, EncoderError>>;

    fn place() -> Place {
        Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap()
    }

    fn job(texts: &[&str]) -> (Job, Answer) {
        let (reply, answer) = oneshot::channel();
        let texts = texts.iter().map(|text| (*text).to_owned()).collect();
        (Job::new(texts, reply, place()), answer)
    }

    fn question(text: &str) -> (Job, Answer) {
        let (reply, answer) = oneshot::channel();
        (Job::question(text.into(), reply, place()), answer)
    }

    /// A model whose vector is the text's length.
    fn lengths(texts: &[&str]) -> Result<Vec<Reading>, String> {
        let reading = |text: &&str| Reading {
            vector: vec![text.len() as f32],
            layers: Vec::new(),
            pieces: 1,
        };
        Ok(texts.iter().map(reading).collect())
    }

    /// Everything that the model was given, batch by batch, when `jobs` had been waiting before the thread began.
    fn batches(jobs: Vec<Job>, fails: impl Fn(&[&str])) -> Vec<Vec<String>> {
        let (sender, waiting) = mpsc::channel(jobs.len().max(1));
        for job in jobs {
            assert!(sender.try_send(job).is_ok());
        }
        drop(sender);
        let mut seen = Vec::new();
        run(waiting, |texts| {
            seen.push(texts.iter().map(|text| (*text).to_owned()).collect());
            fails(texts);
            lengths(texts)
        });
        seen
    }

    #[test]
    fn texts_come_back_in_their_order_whatever_order_they_were_read_in() {
        let long = "x".repeat(600);
        let (job, mut answer) = job(&["aaa", &long, "b", "cc"]);
        batches(vec![job], |_| {});
        let readings = answer.try_recv().unwrap().unwrap();
        let vectors: Vec<_> = readings.iter().map(|reading| &reading.vector).collect();
        assert_eq!(vectors, [&[3.0], &[600.0], &[1.0], &[2.0]]);
    }

    #[test]
    fn callers_share_a_batch_but_long_texts_do_not_join_short_ones() {
        let long = "x".repeat(600);
        let (first, _a) = job(&["one"]);
        let (second, _b) = job(&[&long]);
        let (third, _c) = job(&["three"]);
        assert_eq!(
            batches(vec![first, second, third], |_| {}),
            [vec!["one".to_owned(), "three".into()], vec![long]]
        );
    }

    #[test]
    fn a_caller_with_many_texts_lets_others_in_between_its_batches() {
        let long = "x".repeat(1000);
        let (many, _a) = job(&[long.as_str(); 12]);
        let (one, _b) = job(&["a question"]);
        let sizes: Vec<_> = batches(vec![many, one], |_| {})
            .iter()
            .map(Vec::len)
            .collect();
        assert_eq!(sizes, [4, 1, 4, 4]);
    }

    #[test]
    fn questions_are_read_first_in_their_order() {
        let long = "x".repeat(600);
        let (call, _a) = job(&["a", &long]);
        let (first, _b) = question(&"y".repeat(200));
        let (second, _c) = question("two");
        let seen = batches(vec![call, first, second], |_| {});
        assert_eq!(
            seen,
            [
                vec!["y".repeat(200)],
                vec!["two".to_owned(), "a".into()],
                vec![long]
            ]
        );
    }

    #[test]
    fn who_has_left_costs_nothing() {
        let (gone, answer) = job(&["gone"]);
        let (there, mut stays) = job(&["there"]);
        drop(answer);
        assert_eq!(batches(vec![gone, there], |_| {}), [["there"]]);
        assert!(stays.try_recv().unwrap().is_ok());
    }

    #[test]
    fn a_panic_fails_its_batch_and_nothing_else() {
        let long = "x".repeat(600);
        let (poison, mut poisoned) = job(&["poison"]);
        let (other, mut spared) = job(&[&long]);
        batches(vec![poison, other], |texts| {
            assert!(texts[0] != "poison", "bad text");
        });
        let error = poisoned.try_recv().unwrap().unwrap_err();
        assert!(error.to_string().contains("bad text"), "{error}");
        assert!(spared.try_recv().unwrap().is_ok());
    }

    #[test]
    fn no_batch_exceeds_its_bounds() {
        let texts: Vec<String> = (0..200).map(|n| "y".repeat(n * 13)).collect();
        let (job, mut answer) = job(&texts.iter().map(String::as_str).collect::<Vec<_>>());
        for batch in batches(vec![job], |_| {}) {
            let longest = batch
                .iter()
                .map(|text| text.len().clamp(LENGTH_MIN, LENGTH_MAX))
                .max();
            assert!(batch.len() <= BATCH_TEXTS_MAX);
            assert!(batch.len() * longest.unwrap() <= BATCH_BYTES_MAX);
        }
        assert_eq!(answer.try_recv().unwrap().unwrap().len(), 200);
    }

    #[test]
    fn the_thread_ends_when_every_sender_is_gone() {
        let (sender, waiting) = mpsc::channel(1);
        let (ended, end) = std_mpsc::sync_channel(1);
        let thread = thread::spawn(move || {
            run(waiting, lengths);
            ended.send(()).unwrap();
        });
        drop(sender);
        end.recv().unwrap();
        thread.join().unwrap();
    }
}
