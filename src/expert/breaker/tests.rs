//! The breaker over time.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn config() -> BreakerConfig {
    BreakerConfig {
        failures: 3,
        error_rate: 0.5,
        answers_min: 10,
        window: 30 * SECOND,
        slow_factor: 10.0,
        open: 4 * SECOND,
        open_max: 20 * SECOND,
    }
}

fn passed(breaker: &Breaker, now: Instant) -> Pass {
    breaker.admit(now).unwrap()
}

/// A breaker that has just opened.
fn opened(now: Instant) -> Breaker {
    let breaker = Breaker::new(config());
    for _ in 0..3 {
        breaker.failed(passed(&breaker, now), now);
    }
    assert!(matches!(breaker.circuit(now), Circuit::Open { .. }));
    breaker
}

#[tokio::test(start_paused = true)]
async fn failures_in_a_row_open_it_and_a_success_between_them_does_not() {
    let now = Instant::now();
    let breaker = Breaker::new(config());
    for _ in 0..10 {
        breaker.failed(passed(&breaker, now), now);
        breaker.failed(passed(&breaker, now), now);
        for _ in 0..4 {
            breaker.completed(now);
        }
    }
    assert_eq!(breaker.circuit(now), Circuit::Closed);
    assert!(opened(now).admit(now).is_err());
}

#[tokio::test(start_paused = true)]
async fn a_large_share_of_failures_opens_it_even_between_successes() {
    let now = Instant::now();
    let breaker = Breaker::new(config());
    for _ in 0..4 {
        breaker.completed(now);
        breaker.failed(passed(&breaker, now), now);
    }
    assert_eq!(breaker.circuit(now), Circuit::Closed, "too few to tell");
    breaker.completed(now);
    breaker.failed(passed(&breaker, now), now);
    assert!(matches!(
        breaker.circuit(now),
        Circuit::Open {
            why: Why::Failures,
            ..
        }
    ));
}

#[tokio::test(start_paused = true)]
async fn one_question_probes_and_its_answer_closes_it() {
    let start = Instant::now();
    let breaker = opened(start);
    let wait = breaker.admit(start).unwrap_err();
    assert!(wait <= 4 * SECOND && wait >= 3 * SECOND, "{wait:?}");
    let later = start + wait;
    let probe = passed(&breaker, later);
    assert!(breaker.admit(later).is_err(), "one probe at a time");
    assert!(breaker.closed_for(later).is_some());
    breaker.began(probe, None, later);
    assert_eq!(breaker.circuit(later), Circuit::Closed);
    // It begins anew: two failures are not three.
    breaker.failed(passed(&breaker, later), later);
    breaker.failed(passed(&breaker, later), later);
    assert_eq!(breaker.circuit(later), Circuit::Closed);
}

#[tokio::test(start_paused = true)]
async fn each_probe_that_fails_doubles_the_time_up_to_its_cap() {
    let mut now = Instant::now();
    let breaker = opened(now);
    let mut waits = Vec::new();
    for _ in 0..5 {
        let wait = breaker.admit(now).unwrap_err();
        waits.push(wait.as_secs_f64());
        now += wait;
        breaker.failed(passed(&breaker, now), now);
    }
    for (wait, most) in waits.iter().zip([4.0, 8.0, 16.0, 20.0, 20.0]) {
        assert!(*wait <= most && *wait >= most * 0.79, "{waits:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_is_given_up_lets_the_next_question_probe() {
    let start = Instant::now();
    let breaker = opened(start);
    let later = start + 10 * SECOND;
    let probe = passed(&breaker, later);
    breaker.released(probe, later);
    assert!(passed(&breaker, later).probe.is_some());
}

#[tokio::test(start_paused = true)]
async fn an_old_question_that_fails_does_not_touch_the_probe() {
    let start = Instant::now();
    let breaker = Breaker::new(config());
    let old = passed(&breaker, start);
    for _ in 0..3 {
        breaker.failed(passed(&breaker, start), start);
    }
    let later = start + 10 * SECOND;
    let probe = passed(&breaker, later);
    breaker.failed(old, later);
    assert!(matches!(breaker.circuit(later), Circuit::HalfOpen { .. }));
    breaker.began(probe, None, later);
    assert_eq!(breaker.circuit(later), Circuit::Closed);
}

#[tokio::test(start_paused = true)]
async fn it_rests_as_long_as_the_provider_asks_within_its_cap() {
    let now = Instant::now();
    let breaker = Breaker::new(config());
    breaker.rest(passed(&breaker, now), 7 * SECOND, now);
    assert_eq!(breaker.admit(now).unwrap_err(), 7 * SECOND);
    assert!(breaker.admit(now + 7 * SECOND).is_ok());
    let breaker = Breaker::new(config());
    breaker.rest(passed(&breaker, now), 3600 * SECOND, now);
    assert_eq!(breaker.admit(now).unwrap_err(), 20 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn far_slower_answers_than_usual_open_it_streamed_or_whole() {
    let now = Instant::now();
    for took in [Took::FirstToken as fn(Duration) -> Took, Took::Whole] {
        let breaker = Breaker::new(config());
        for _ in 0..50 {
            breaker.began(passed(&breaker, now), Some(took(SECOND / 4)), now);
        }
        for _ in 0..4 {
            breaker.began(passed(&breaker, now), Some(took(30 * SECOND)), now);
        }
        assert!(matches!(
            breaker.circuit(now),
            Circuit::Open { why: Why::Slow, .. }
        ));
    }
}

#[tokio::test(start_paused = true)]
async fn whole_answers_are_not_held_against_first_tokens() {
    let now = Instant::now();
    let breaker = Breaker::new(config());
    for _ in 0..50 {
        breaker.began(
            passed(&breaker, now),
            Some(Took::FirstToken(SECOND / 4)),
            now,
        );
        breaker.began(passed(&breaker, now), Some(Took::Whole(30 * SECOND)), now);
    }
    assert!(matches!(breaker.circuit(now), Circuit::Closed));
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_nothing_is_heard_of_does_not_keep_others_from_finding_out() {
    let start = Instant::now();
    let breaker = opened(start);
    let later = start + 10 * SECOND;
    let silent = passed(&breaker, later);
    assert!(breaker.admit(later + 19 * SECOND).is_err());
    let second = passed(&breaker, later + 20 * SECOND);
    // The first one's end is none of the second's.
    breaker.failed(silent, later + 21 * SECOND);
    assert!(breaker.admit(later + 21 * SECOND).is_err());
    breaker.began(second, None, later + 22 * SECOND);
    assert_eq!(breaker.circuit(later + 22 * SECOND), Circuit::Closed);
}

#[tokio::test(start_paused = true)]
async fn an_older_probe_that_succeeds_closes_it_too() {
    let start = Instant::now();
    let breaker = opened(start);
    let later = start + 10 * SECOND;
    let slow = passed(&breaker, later);
    let second = passed(&breaker, later + 20 * SECOND);
    breaker.began(slow, None, later + 30 * SECOND);
    assert_eq!(breaker.circuit(later + 30 * SECOND), Circuit::Closed);
    // The second is heard of when nothing depends on it any more.
    breaker.failed(second, later + 31 * SECOND);
    assert_eq!(breaker.circuit(later + 31 * SECOND), Circuit::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_probe_of_an_earlier_opening_does_not_close_a_later_one() {
    let start = Instant::now();
    let breaker = opened(start);
    let later = start + 10 * SECOND;
    let first = passed(&breaker, later);
    breaker.began(
        passed(&breaker, later + 20 * SECOND),
        None,
        later + 20 * SECOND,
    );
    let again = later + 21 * SECOND;
    for _ in 0..3 {
        breaker.failed(passed(&breaker, again), again);
    }
    breaker.began(first, None, again);
    assert!(matches!(breaker.circuit(again), Circuit::Open { .. }));
}

#[tokio::test(start_paused = true)]
async fn a_pause_that_was_asked_for_ends_for_all_who_waited() {
    let now = Instant::now();
    let breaker = Breaker::new(config());
    breaker.rest(passed(&breaker, now), SECOND, now);
    assert!(breaker.admit(now).is_err());
    let later = now + SECOND;
    assert_eq!(breaker.circuit(later), Circuit::Closed);
    assert!((0..8).all(|_| breaker.admit(later).is_ok()));
    // One of them may be told to wait once more, which holds for the others again.
    breaker.rest(passed(&breaker, later), SECOND, later);
    assert!(breaker.admit(later).is_err());
}

#[tokio::test(start_paused = true)]
async fn a_pause_that_a_probe_is_told_to_make_is_followed_by_another_probe() {
    let start = Instant::now();
    let breaker = opened(start);
    let later = start + 10 * SECOND;
    breaker.rest(passed(&breaker, later), SECOND, later);
    let later = later + SECOND;
    assert!(passed(&breaker, later).probe.is_some());
    assert!(breaker.admit(later).is_err());
}

#[tokio::test(start_paused = true)]
async fn while_a_question_probes_others_are_told_to_wait_for_it_and_not_for_the_next() {
    let start = Instant::now();
    let breaker = opened(start);
    let later = start + 10 * SECOND;
    passed(&breaker, later);
    assert_eq!(breaker.admit(later).unwrap_err(), PROBE_HINT_MAX);
    assert_eq!(breaker.closed_for(later), Some(PROBE_HINT_MAX));
}

/// A breaker that has just opened because answers have become slow.
fn slow(now: Instant) -> Breaker {
    let breaker = Breaker::new(config());
    for _ in 0..50 {
        breaker.began(
            passed(&breaker, now),
            Some(Took::FirstToken(SECOND / 4)),
            now,
        );
    }
    while breaker.circuit(now) == Circuit::Closed {
        breaker.began(
            passed(&breaker, now),
            Some(Took::FirstToken(30 * SECOND)),
            now,
        );
    }
    breaker
}

#[tokio::test(start_paused = true)]
async fn what_is_slow_stands_behind_others_and_answers_all_the_same() {
    let now = Instant::now();
    let breaker = slow(now);
    assert!(breaker.closed_for(now).is_some());
    assert_eq!(breaker.refuses_for(now), None);
    assert!(passed(&breaker, now).probe.is_none());
    // It probes when its time has come, and the answers beside the probe go on.
    let later = now + 5 * SECOND;
    assert_eq!(breaker.closed_for(later), None);
    let probe = passed(&breaker, later);
    assert!(breaker.closed_for(later).is_some());
    assert!(passed(&breaker, later).probe.is_none());
    breaker.began(probe, Some(Took::FirstToken(SECOND / 4)), later);
    assert_eq!(breaker.circuit(later), Circuit::Closed);
}

#[tokio::test(start_paused = true)]
async fn what_is_slow_and_fails_or_asks_for_a_pause_is_left_alone() {
    let now = Instant::now();
    let breaker = slow(now);
    for _ in 0..3 {
        breaker.failed(passed(&breaker, now), now);
    }
    assert!(breaker.refuses_for(now).is_some());
    let breaker = slow(now);
    breaker.rest(passed(&breaker, now), SECOND, now);
    assert_eq!(breaker.refuses_for(now), Some(SECOND));
}
