//! A client's tokens are settled with the outcome, whatever ends it.

use super::*;
use crate::{
    config::{Limits, ServerConfig},
    outcome::Reservations,
    quota::{Estimate, Quota, Quotas, tests::frozen},
};

const PER_MINUTE: u64 = 10_000_000;

/// More than [`USAGE`], and far more than a few chunks.
const ESTIMATE: Estimate = Estimate {
    prompt_tokens: 4_000_000,
    answer_tokens: 4_000_000,
};

fn quota() -> Arc<Quota> {
    let limits = Limits {
        tokens_per_minute: Some(10_000_000),
        ..Limits::default()
    };
    let server = ServerConfig {
        listen: ([127, 0, 0, 1], 0).into(),
        keys: Vec::new(),
        body_bytes_max: 1,
        grace: Duration::from_secs(1),
        limits,
    };
    let quotas = Quotas::new(&server, &HashMap::new(), 0, frozen);
    Arc::clone(quotas.of(None).unwrap())
}

/// Tokens that count as used.
fn used(quota: &Quota) -> u64 {
    let standing = quota.standings().next().unwrap();
    PER_MINUTE - standing.level.remaining
}

fn holding(ticket: Ticket, quota: &Quota) -> Ticket {
    ticket.reserving(Reservations {
        tokens: quota.admit(ESTIMATE).unwrap().begin(),
        ..Reservations::default()
    })
}

/// What counts as used after a client has read so many items of a stream.
async fn used_after(items: Vec<Result<Chunk, ExpertError>>, read: usize) -> u64 {
    let (house, quota) = (House::keeping(ContentPolicy::None).await, quota());
    let ticket = holding(house.answered().await, &quota);
    let items = Box::pin(stream::iter(items).chain(stream::pending()));
    let mut stream = ticket.watch(items, Choices::new(1));
    assert_eq!(used(&quota), 8_000_000, "held meanwhile");
    for _ in 0..read {
        drop(stream.next().await);
    }
    drop(stream);
    used(&quota)
}

#[tokio::test]
async fn a_stream_that_was_counted_settles_to_the_count() {
    assert_eq!(used_after(answer(), 5).await, 3_000_000);
}

#[tokio::test]
async fn a_client_that_leaves_settles_to_what_it_got() {
    assert_eq!(used_after(answer(), 3).await, 4_000_002);
    assert_eq!(
        used_after(answer(), 4).await,
        4_000_002,
        "all but the count"
    );
}

#[tokio::test]
async fn what_failed_costs_no_tokens() {
    let broken = vec![Ok(head().text("Hel")), Err(failure())];
    assert_eq!(used_after(broken, 2).await, 0);
    let (house, quota) = (House::keeping(ContentPolicy::None).await, quota());
    holding(house.open().await, &quota).fail(&timeout());
    assert_eq!(used(&quota), 0);
    drop(holding(house.open().await, &quota));
    assert_eq!(used(&quota), 0, "nobody had begun to answer");
}

#[tokio::test]
async fn a_whole_answer_settles_to_its_count_and_keeps_the_estimate_without_one() {
    let (house, quota) = (House::keeping(ContentPolicy::None).await, quota());
    let completion = head().completion("Hello", FinishReason::Stop, USAGE);
    holding(house.answered().await, &quota).complete(&completion);
    assert_eq!(used(&quota), 3_000_000);
    let mut uncounted = completion.object();
    uncounted.remove("usage");
    let completion = Completion::from_object(uncounted);
    let (house, quota) = (House::keeping(ContentPolicy::None).await, self::quota());
    holding(house.answered().await, &quota).complete(&completion);
    assert_eq!(used(&quota), 8_000_000);
}

#[tokio::test]
async fn an_answer_from_the_cache_costs_no_tokens() {
    let (house, quota) = (House::keeping(ContentPolicy::None).await, quota());
    let ticket = holding(house.open().await, &quota);
    let attempts = ticket.attempts();
    attempts.answers(attempts.begin(expert(), Role::Cache));
    ticket.complete(&head().completion("Hello", FinishReason::Stop, USAGE));
    assert_eq!(used(&quota), 0);
}
