//! A client's tokens and dollars are settled with the outcome, whatever ends it.

use super::*;
use crate::{
    config::{Limits, ServerConfig},
    outcome::{Reservations, Spending},
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
    // The second text has sixteen bytes, which are about five tokens.
    assert_eq!(used_after(answer(), 2).await, 4_000_002);
    assert_eq!(used_after(answer(), 3).await, 4_000_007);
    assert_eq!(
        used_after(answer(), 4).await,
        4_000_007,
        "all but the count"
    );
}

#[tokio::test]
async fn a_stream_that_breaks_off_settles_to_what_was_delivered() {
    let broken = |delivered: Vec<Chunk>| {
        let delivered = delivered.into_iter().map(Ok);
        delivered.chain([Err(failure())]).collect::<Vec<_>>()
    };
    let late = broken(vec![head().opening(), head().text("Hel")]);
    assert_eq!(used_after(late, 3).await, 4_000_001);
    let early = broken(vec![head().opening()]);
    assert_eq!(used_after(early, 2).await, 0, "nothing was delivered");
}

#[tokio::test]
async fn what_failed_costs_no_tokens() {
    let (house, quota) = (House::keeping(ContentPolicy::None).await, quota());
    holding(house.open().await, &quota).fail(&timeout());
    assert_eq!(used(&quota), 0);
    let ticket = holding(house.open().await, &quota);
    let failed = sent(&ticket.attempts(), Role::Answer);
    let fail = |attempt: &mut Attempt| attempt.error = Some("timed_out".into());
    ticket.attempts().update(failed, fail);
    drop(ticket);
    assert_eq!(used(&quota), 0);
}

#[tokio::test]
async fn who_leaves_before_the_first_token_pays_unless_nobody_was_asked() {
    let (house, quota) = (House::keeping(ContentPolicy::None).await, quota());
    let ticket = holding(house.open().await, &quota);
    ticket.attempts().begin(expert(), Role::Answer);
    drop(ticket);
    assert_eq!(used(&quota), 0, "it was in a queue");
    let ticket = holding(house.open().await, &quota);
    sent(&ticket.attempts(), Role::Answer);
    drop(ticket);
    assert_eq!(used(&quota), 8_000_000, "nobody knows what was used");
}

#[tokio::test]
async fn dollars_keep_the_estimate_where_nobody_counted() {
    let spent = Arc::new(Spending::new(0, 0.0));
    let today = || spent.today(0).usd_spent;
    let house = House::keeping(ContentPolicy::None).await;
    let holding = async || {
        let choose = |_today| Ok::<_, ()>(((), 1.0));
        let (_, client) = spent.admit(0, choose).unwrap();
        house.answered().await.reserving(Reservations {
            client: Some(client),
            ..Reservations::default()
        })
    };
    let broken = vec![Ok(head().text("Hel")), Err(failure())];
    let stream = holding()
        .await
        .watch(Box::pin(stream::iter(broken)), Choices::new(1));
    assert_eq!(stream.count().await, 2);
    assert_eq!(today(), 1.0, "it broke off late");
    drop(holding().await);
    assert_eq!(today(), 2.0, "the client left before the first token");
    holding().await.fail(&failure());
    assert_eq!(today(), 2.0, "nothing came of it");
}

#[tokio::test]
async fn where_a_part_was_not_counted_the_estimate_stays_unless_what_is_known_is_more() {
    for (estimate, expected) in [(1.0, 6.0), (9.0, 9.0)] {
        let (house, quota) = (House::keeping(ContentPolicy::None).await, quota());
        let spent = Arc::new(Spending::new(0, 0.0));
        let choose = |_today| Ok::<_, ()>(((), estimate));
        let (_, dollars) = spent.admit(0, choose).unwrap();
        let ticket = house.answered().await.reserving(Reservations {
            house: Some(dollars),
            tokens: quota.admit(ESTIMATE).unwrap().begin(),
            ..Reservations::default()
        });
        // A cascade's first expert that was too slow: its tokens are never told.
        let attempts = ticket.attempts();
        let slow = sent(&attempts, Role::First);
        attempts.update(slow, |attempt| attempt.rejected = Some("too slow".into()));
        let stream = ticket.watch(Box::pin(stream::iter(answer())), Choices::new(1));
        assert_eq!(stream.count().await, answer().len());
        assert_eq!(spent.today(0).usd_spent, expected);
        // The question's four million and the seven that were streamed are more than the three million that were counted.
        assert_eq!(used(&quota), 4_000_007);
    }
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
