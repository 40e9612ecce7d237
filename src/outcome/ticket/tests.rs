mod tokens;

use std::collections::HashMap;

use futures_util::stream;
use tempfile::TempDir;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::*;
use crate::{
    chat::{AnswerHead, Choices, FinishReason},
    config::{Prefer, Preference},
    decision::Reason,
    ids::{MappingId, RouterId},
    mapping::Grounds,
    outcome::{Prices, Recorder, RecorderOptions, Retention},
    store::{Store, StoredOutcome},
};

const USAGE: Usage = Usage {
    prompt_tokens: 2_000_000,
    completion_tokens: 1_000_000,
};

/// A recorder over a real file, with its writer running.
struct House {
    recorder: Recorder,
    store: Store,
    shutdown: CancellationToken,
    tasks: TaskTracker,
    _folder: TempDir,
}

impl House {
    async fn keeping(content: ContentPolicy) -> Self {
        let folder = TempDir::new().unwrap();
        let store = Store::open(&folder.path().join("coterie.db"))
            .await
            .unwrap();
        let shutdown = CancellationToken::new();
        let prices = Prices {
            usd_in: 1.0,
            usd_out: 4.0,
        };
        let (recorder, writer) = Recorder::start(
            store.clone(),
            RecorderOptions {
                content,
                retention: Retention::default(),
                flush_interval: Duration::from_millis(10),
                prices: HashMap::from([(expert(), prices)]),
                shutdown: shutdown.clone(),
            },
        );
        let tasks = TaskTracker::new();
        tasks.spawn(writer.run());
        Self {
            recorder,
            store,
            shutdown,
            tasks,
            _folder: folder,
        }
    }

    async fn open(&self) -> Ticket {
        let ask = Ask {
            question: Some("I am ada@example.com".into()),
            ..Ask::default()
        };
        self.recorder
            .reserve()
            .await
            .unwrap()
            .open(ask, decision(), Instant::now())
    }

    /// A ticket whose expert answers.
    async fn answered(&self) -> Ticket {
        let ticket = self.open().await;
        let attempts = ticket.attempts();
        attempts.answers(sent(&attempts, Role::Answer));
        ticket
    }

    /// The one outcome that is in the store once everything has ended.
    async fn only_outcome(self, id: &str) -> StoredOutcome {
        self.recorder.flush().await.unwrap();
        assert_eq!(self.store.count().await.unwrap(), 1);
        let stored = self.store.outcome(id).await.unwrap().unwrap();
        self.recorder.close(Duration::from_secs(60)).await.unwrap();
        self.tasks.close();
        self.tasks.wait().await;
        stored
    }
}

/// An attempt whose question is with the expert.
fn sent(attempts: &Attempts, role: Role) -> AttemptId {
    let attempt = attempts.begin(expert(), role);
    attempts.update(attempt, |attempt| attempt.sent = true);
    attempt
}

fn expert() -> ExpertId {
    ExpertId::new("general")
}

fn decision() -> Decision {
    Decision {
        category: None,
        confidence: 1.0,
        scores: Vec::new(),
        tier: None,
        reason: Reason::ExpertNamed,
        strangeness: None,
        instruction: None,
        session: None,
        expert: expert(),
        fallbacks: Vec::new(),
        propensity: 1.0,
        grounds: Grounds::new(MappingId::new("m1"), Prefer::Word(Preference::Balanced)),
        router: RouterId::new("r1"),
        took: Duration::ZERO,
    }
}

fn head() -> AnswerHead {
    AnswerHead {
        id: "a".into(),
        model: "general".into(),
        created_s: 1,
    }
}

/// A healthy answer.
fn answer() -> Vec<Result<Chunk, ExpertError>> {
    let head = head();
    vec![
        Ok(head.opening()),
        Ok(head.text("Hello, ")),
        Ok(head.text("bob@example.com.")),
        Ok(head.finish(FinishReason::Stop)),
        Ok(head.usage(USAGE)),
    ]
}

fn failure() -> ExpertError {
    ExpertError::Failed {
        detail: "no".into(),
        retry_after: None,
    }
}

fn timeout() -> ExpertError {
    ExpertError::TimedOut {
        waited: Duration::from_secs(1),
    }
}

/// What is recorded of a stream from which a client reads so many items before it leaves.
async fn watched(items: Vec<Result<Chunk, ExpertError>>, read: usize) -> StoredOutcome {
    let house = House::keeping(ContentPolicy::Full).await;
    let ticket = house.answered().await;
    let id = ticket.id().to_owned();
    // A stream that stays open after its items, as a connection does.
    let items = Box::pin(stream::iter(items).chain(stream::pending()));
    let read: Vec<_> = ticket
        .watch(items, Choices::new(1))
        .take(read)
        .collect()
        .await;
    drop(read);
    house.only_outcome(&id).await
}

fn ending(stored: &StoredOutcome) -> (&str, Option<&str>) {
    (&stored.ending, stored.error.as_deref())
}

#[tokio::test]
async fn a_dropped_ticket_is_a_client_that_left() {
    let house = House::keeping(ContentPolicy::Full).await;
    let ticket = house.open().await;
    ticket.attempts().begin(expert(), Role::Answer);
    let id = ticket.id().to_owned();
    drop(ticket);
    let stored = house.only_outcome(&id).await;
    assert_eq!(ending(&stored), ("client_left", None));
    let attempts: Vec<serde_json::Value> = serde_json::from_str(&stored.attempts).unwrap();
    assert_eq!(attempts.len(), 1, "{attempts:?}");
    assert_eq!(attempts[0]["expert"], "general");
    assert!(attempts[0]["took_us"].is_null() && attempts[0]["error"].is_null());
    assert_eq!(stored.answered_by, None);
    assert_eq!(stored.first_token_us, None);
    assert_eq!(stored.cost_usd, None);
}

#[tokio::test]
async fn after_the_shutdown_a_dropped_ticket_is_the_servers_doing() {
    let house = House::keeping(ContentPolicy::Full).await;
    let ticket = house.open().await;
    let id = ticket.id().to_owned();
    house.shutdown.cancel();
    drop(ticket);
    let stored = house.only_outcome(&id).await;
    assert_eq!(ending(&stored), ("shutdown", None));
}

#[tokio::test]
async fn a_failure_is_told_from_a_timeout() {
    for (error, expected) in [
        (failure(), ("expert_failed", Some("failed"))),
        (timeout(), ("timed_out", Some("timed_out"))),
    ] {
        let house = House::keeping(ContentPolicy::Full).await;
        let ticket = house.open().await;
        let id = ticket.id().to_owned();
        ticket.fail(&error);
        assert_eq!(ending(&house.only_outcome(&id).await), expected);
    }
}

#[tokio::test]
async fn a_whole_answer_is_completed_and_paid() {
    let house = House::keeping(ContentPolicy::Full).await;
    let ticket = house.answered().await;
    let id = ticket.id().to_owned();
    ticket.complete(&head().completion("Hello", FinishReason::Stop, USAGE));
    let stored = house.only_outcome(&id).await;
    assert_eq!(ending(&stored), ("completed", None));
    assert_eq!(stored.answered_by.as_deref(), Some("general"));
    assert_eq!(stored.answer.as_deref(), Some("Hello"));
    assert_eq!(stored.prompt_tokens, Some(2_000_000));
    assert_eq!(stored.completion_tokens, Some(1_000_000));
    assert_eq!(stored.cost_usd, Some(6.0));
    assert!(stored.first_token_us <= Some(stored.total_us));
}

#[tokio::test]
async fn a_stream_read_to_the_end_is_completed_before_its_reader_knows() {
    let house = House::keeping(ContentPolicy::Full).await;
    let ticket = house.answered().await;
    let id = ticket.id().to_owned();
    let mut stream = ticket.watch(Box::pin(stream::iter(answer())), Choices::new(1));
    let mut read = 0;
    while stream.next().await.is_some() {
        read += 1;
    }
    assert_eq!(read, answer().len());
    assert!(stream.next().await.is_none());
    let stored = house.only_outcome(&id).await;
    drop(stream);
    assert_eq!(ending(&stored), ("completed", None));
    assert_eq!(stored.answer.as_deref(), Some("Hello, bob@example.com."));
    assert_eq!(stored.completion_tokens, Some(1_000_000));
    assert_eq!(stored.cost_usd, Some(6.0));
    assert!(stored.first_token_us.is_some());
}

#[tokio::test]
async fn a_reader_that_leaves_in_the_middle_is_recorded_once() {
    let stored = watched(answer(), 2).await;
    assert_eq!(ending(&stored), ("client_left", None));
    assert_eq!(stored.answer.as_deref(), Some("Hello, "));
    assert_eq!(stored.completion_tokens, None);
    assert!(stored.first_token_us.is_some());
}

#[tokio::test]
async fn a_reader_that_leaves_before_the_first_token_got_none() {
    let stored = watched(answer(), 1).await;
    assert_eq!(ending(&stored), ("client_left", None));
    assert_eq!(stored.first_token_us, None);
}

#[tokio::test]
async fn a_reader_that_leaves_after_the_finish_reason_has_all() {
    let stored = watched(answer(), 4).await;
    assert_eq!(ending(&stored), ("completed", None));
    assert_eq!(stored.completion_tokens, None);
    let stored = watched(answer(), 5).await;
    assert_eq!(ending(&stored), ("completed", None));
    assert_eq!(stored.completion_tokens, Some(1_000_000));
}

#[tokio::test]
async fn an_error_in_the_middle_is_the_ending() {
    let broken = vec![Ok(head().text("Hel")), Err(failure())];
    let stored = watched(broken, 2).await;
    assert_eq!(ending(&stored), ("expert_failed", Some("failed")));
    assert_eq!(stored.answer.as_deref(), Some("Hel"));
    let silent = vec![Ok(head().text("Hel")), Err(timeout())];
    let stored = watched(silent, 2).await;
    assert_eq!(ending(&stored), ("timed_out", Some("timed_out")));
}

#[tokio::test]
async fn an_expert_that_ends_its_stream_has_said_all() {
    let house = House::keeping(ContentPolicy::Full).await;
    let ticket = house.answered().await;
    let id = ticket.id().to_owned();
    let items = Box::pin(stream::iter(vec![Ok(head().text("Hel"))]));
    let read = ticket.watch(items, Choices::new(1)).count().await;
    assert_eq!(read, 1);
    let stored = house.only_outcome(&id).await;
    assert_eq!(ending(&stored), ("completed", None));
}

#[tokio::test]
async fn a_stream_cut_by_the_shutdown_is_the_servers_doing() {
    let house = House::keeping(ContentPolicy::Full).await;
    let ticket = house.answered().await;
    let id = ticket.id().to_owned();
    let mut stream = ticket.watch(Box::pin(stream::iter(answer())), Choices::new(1));
    stream.next().await;
    house.shutdown.cancel();
    drop(stream);
    let stored = house.only_outcome(&id).await;
    assert_eq!(ending(&stored), ("shutdown", None));
}

#[tokio::test]
async fn text_is_kept_as_the_policy_says() {
    for (policy, question, answer) in [
        (ContentPolicy::None, None, None),
        (
            ContentPolicy::Redacted,
            Some("I am [email]"),
            Some("Hello, [email]."),
        ),
        (
            ContentPolicy::Full,
            Some("I am ada@example.com"),
            Some("Hello, bob@example.com."),
        ),
    ] {
        let house = House::keeping(policy).await;
        let ticket = house.answered().await;
        let id = ticket.id().to_owned();
        let stream = ticket.watch(Box::pin(stream::iter(self::answer())), Choices::new(1));
        assert_eq!(stream.count().await, 5);
        let stored = house.only_outcome(&id).await;
        assert_eq!(stored.question.as_deref(), question);
        assert_eq!(stored.answer.as_deref(), answer);
    }
}

#[tokio::test]
async fn a_long_answer_is_kept_up_to_the_bound() {
    let piece = "ä".repeat(1000);
    let mut items: Vec<_> = (0..40).map(|_| Ok(head().text(&piece))).collect();
    items.push(Ok(head().finish(FinishReason::Length)));
    let stored = watched(items, 41).await;
    assert_eq!(
        stored.answer.map(|answer| answer.len()),
        Some(content::TEXT_BYTES_MAX)
    );
}

#[tokio::test]
async fn everything_that_was_paid_for_is_added_up() {
    // What nobody counted of a first answer, which was too slow for instance, takes nothing from what is known.
    for (first, counted) in [(Some(USAGE), 3), (None, 2)] {
        let house = House::keeping(ContentPolicy::Full).await;
        let ticket = house.open().await;
        let attempts = ticket.attempts();
        // An answer that was not taken, and a judge's word on it.
        let not_taken = sent(&attempts, Role::First);
        attempts.update(not_taken, |attempt| {
            attempt.rejected = Some("it has no text".into());
            attempt.usage = first;
        });
        let judge = sent(&attempts, Role::Judge);
        attempts.update(judge, |attempt| attempt.usage = Some(USAGE));
        // One that was still in a queue when its time was over.
        let queued = attempts.begin(expert(), Role::First);
        attempts.update(queued, |attempt| attempt.rejected = Some("too slow".into()));
        attempts.answers(sent(&attempts, Role::Answer));
        let id = ticket.id().to_owned();
        let completion = head().completion("Hi", FinishReason::Stop, USAGE);
        ticket.complete(&completion);
        let stored = house.only_outcome(&id).await;
        assert_eq!(stored.prompt_tokens, Some(counted * 2_000_000));
        assert_eq!(stored.completion_tokens, Some(counted * 1_000_000));
        // Each read for two dollars and wrote for four.
        assert_eq!(stored.cost_usd, Some(counted as f64 * 6.0));
        let attempts: Vec<serde_json::Value> = serde_json::from_str(&stored.attempts).unwrap();
        assert_eq!(attempts[3]["prompt_tokens"], 2_000_000, "the answer's own");
        assert_eq!(attempts[3]["cost_usd"], 6.0);
    }
}

#[tokio::test]
async fn who_goes_on_with_an_answer_is_paid_and_who_broke_off_is_not() {
    let house = House::keeping(ContentPolicy::Full).await;
    let ticket = house.answered().await;
    let id = ticket.id().to_owned();
    let attempts = ticket.attempts();
    let mut stream = ticket.watch(Box::pin(stream::iter(answer())), Choices::new(1));
    stream.next().await;
    let broke = attempts.answering().unwrap();
    attempts.update(broke, |attempt| attempt.error = Some("broken".into()));
    attempts.answers(attempts.begin(ExpertId::new("general"), Role::Continue));
    assert_eq!(stream.count().await, answer().len() - 1);
    let stored = house.only_outcome(&id).await;
    assert_eq!(ending(&stored), ("completed", None));
    assert_eq!(stored.cost_usd, Some(6.0), "one answer");
    let attempts: Vec<serde_json::Value> = serde_json::from_str(&stored.attempts).unwrap();
    assert_eq!(attempts[0]["error"], "broken");
    assert!(attempts[0]["cost_usd"].is_null());
    assert_eq!(attempts[1]["role"], "continue");
    assert_eq!(attempts[1]["cost_usd"], 6.0);
}
