//! Who waits for a seat, and who is told to come back.

use super::*;

/// A question that must be answered within so many seconds.
fn within(seconds: u32) -> Call {
    Call {
        deadline: Some(Instant::now() + seconds * SECOND),
        ..call(false)
    }
}

#[tokio::test(start_paused = true)]
async fn one_more_than_may_wait_is_told_to_come_back() {
    let scripts = (0..3).map(|_| (9 * SECOND, Ok(whole()))).collect();
    let gate = gate(1, 1, scripts);
    let call = call(false);
    let mut first = Box::pin(answer(&gate, &call));
    let mut second = Box::pin(answer(&gate, &call));
    assert!(poll!(&mut first).is_pending());
    assert!(poll!(&mut second).is_pending());
    let sent = || -> Vec<bool> {
        let (attempts, _) = call.attempts.snapshot();
        attempts.iter().map(|attempt| attempt.sent).collect()
    };
    assert_eq!(sent(), [true, false], "who waits was not asked");

    let error = failure(&gate, false).await;
    assert_eq!(error.kind(), "busy");
    assert_eq!(error.retry_after(), Some(SECOND), "nothing is known yet");

    first.await.unwrap();
    assert!(poll!(&mut second).is_pending(), "it has the seat now");
    assert_eq!(sent(), [true, true]);
    let mut third = Box::pin(answer(&gate, &call));
    assert!(poll!(&mut third).is_pending(), "its place is free again");
    let error = failure(&gate, false).await;
    assert_eq!(error.retry_after(), Some(18 * SECOND), "two are ahead");
}

#[tokio::test(start_paused = true)]
async fn who_would_wait_beyond_its_deadline_is_told_at_once() {
    let scripts = (0..3).map(|_| (9 * SECOND, Ok(whole()))).collect();
    let gate = gate(1, 4, scripts);
    answer(&gate, &call(false)).await.unwrap();
    let patient = within(30);
    let mut under_way = Box::pin(answer(&gate, &patient));
    assert!(poll!(&mut under_way).is_pending());

    let started = Instant::now();
    let error = answer(&gate, &within(5)).await.err().unwrap();
    assert_eq!(error.retry_after(), Some(9 * SECOND), "as the last took");
    assert_eq!(started, Instant::now(), "nobody waited");

    let in_time = within(20);
    let mut waiting = Box::pin(answer(&gate, &in_time));
    assert!(poll!(&mut waiting).is_pending());
    under_way.await.unwrap();
    waiting.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_seat_that_comes_free_too_late_is_left_to_the_next() {
    let gate = gate(1, 4, [4, 9, 4].map(|s| (s * SECOND, Ok(whole()))).into());
    answer(&gate, &call(false)).await.unwrap();
    let (slow, patient) = (call(false), call(false));
    let mut under_way = Box::pin(answer(&gate, &slow));
    assert!(poll!(&mut under_way).is_pending());
    let hasty = within(10);
    let mut hasty = Box::pin(answer(&gate, &hasty));
    assert!(poll!(&mut hasty).is_pending(), "four seconds and four");
    let mut patient = Box::pin(answer(&gate, &patient));
    assert!(poll!(&mut patient).is_pending());
    under_way.await.unwrap();
    assert_eq!(hasty.await.err().unwrap().kind(), "busy");
    patient.await.unwrap();
}
