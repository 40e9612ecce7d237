use proptest::prelude::*;

use super::*;

/// A moment, in milliseconds from the first.
fn at(start: Instant, ms: u64) -> Instant {
    start + Duration::from_millis(ms)
}

/// A bucket of a token a second.
fn bucket(start: Instant) -> Bucket {
    Bucket::new(60, start)
}

fn remaining(bucket: &mut Bucket, now: Instant) -> u64 {
    bucket.level(now).remaining
}

#[test]
fn it_holds_a_minutes_tokens_and_is_filled_continuously() {
    let start = Instant::now();
    let mut bucket = bucket(start);
    for _ in 0..60 {
        bucket.take(1, start).unwrap();
    }
    let short = bucket.take(1, start).unwrap_err();
    assert_eq!(short, Short::For(Duration::from_secs(1)));
    assert!(bucket.take(1, at(start, 999)).is_err());
    bucket.take(1, at(start, 1000)).unwrap();
    assert!(bucket.take(1, at(start, 1000)).is_err());
    assert_eq!(
        bucket.level(at(start, 1000 + 59_500)),
        Level {
            remaining: 59,
            full_in: Duration::from_millis(500)
        }
    );
    assert_eq!(remaining(&mut bucket, at(start, 10_000_000)), 60);
}

#[test]
fn what_is_larger_than_the_bucket_never_passes() {
    let start = Instant::now();
    let mut bucket = bucket(start);
    assert_eq!(bucket.take(61, start), Err(Short::Always));
    assert_eq!(remaining(&mut bucket, start), 60);
    assert!(bucket.take(60, start).is_ok());
}

#[test]
fn what_was_not_used_is_given_back_and_what_was_used_beyond_is_owed() {
    let start = Instant::now();
    let mut bucket = bucket(start);
    let first = bucket.take(50, start).unwrap();
    bucket.settle(first, 50, 20, start);
    assert_eq!(remaining(&mut bucket, start), 40);
    let second = bucket.take(40, start).unwrap();
    bucket.settle(second, 40, 70, start);
    assert_eq!(remaining(&mut bucket, start), 0);
    assert_eq!(
        bucket.take(1, start),
        Err(Short::For(Duration::from_secs(31)))
    );
    assert_eq!(remaining(&mut bucket, at(start, 31_000)), 1);
}

#[test]
fn whatever_is_counted_no_more_is_owed_than_an_hour_pays() {
    let start = Instant::now();
    let mut bucket = bucket(start);
    let takings: Vec<_> = (0..60).map(|_| bucket.take(1, start).unwrap()).collect();
    for taking in takings {
        bucket.settle(taking, 1, u64::MAX, start);
    }
    let hour = Duration::from_secs(60 * 60);
    assert_eq!(bucket.level(start).full_in, hour);
}

#[test]
fn takings_that_are_held_back_and_given_back_at_once_let_no_burst_through() {
    let start = Instant::now();
    let mut bucket = bucket(start);
    let held: Vec<_> = (0..5)
        .map(|minute| bucket.take(60, at(start, minute * 60_000)).unwrap())
        .collect();
    let now = at(start, 4 * 60_000);
    for taking in held {
        bucket.settle(taking, 60, 0, now);
    }
    assert_eq!(remaining(&mut bucket, now), 60);
    bucket.take(60, now).unwrap();
    assert!(bucket.take(1, now).is_err());
}

#[test]
fn what_time_has_paid_already_is_not_given_back_once_more() {
    let start = Instant::now();
    let mut bucket = bucket(start);
    let early = bucket.take(60, start).unwrap();
    // Full again, and emptied by others.
    bucket.take(60, at(start, 60_000)).unwrap();
    bucket.settle(early, 60, 0, at(start, 60_000));
    assert_eq!(remaining(&mut bucket, at(start, 60_000)), 0);
    // While it never was full, all of it comes back.
    let early = bucket.take(30, at(start, 90_000)).unwrap();
    bucket.settle(early, 30, 0, at(start, 100_000));
    assert_eq!(remaining(&mut bucket, at(start, 100_000)), 40);
}

#[test]
fn a_clock_that_was_read_before_another_fills_nothing() {
    let start = Instant::now();
    let mut bucket = bucket(start);
    bucket.take(60, at(start, 5000)).unwrap();
    assert!(bucket.take(1, start).is_err());
    assert_eq!(remaining(&mut bucket, at(start, 6000)), 1);
}

#[test]
fn it_knows_so_many_takings_apart_and_errs_on_the_safe_side_beyond() {
    let start = Instant::now();
    let mut bucket = Bucket::new(1_000_000, start);
    let takings: Vec<_> = (0..=OPEN_MAX)
        .map(|_| bucket.take(10, start).unwrap())
        .collect();
    assert_eq!(bucket.debts.len(), OPEN_MAX);
    bucket.settle(takings[0], 10, 0, start);
    let taken = 10 * (OPEN_MAX as u64 + 1);
    assert_eq!(remaining(&mut bucket, start), 1_000_000 - taken);
    for taking in &takings[1..] {
        bucket.settle(*taking, 10, 0, start);
    }
    assert_eq!(remaining(&mut bucket, start), 1_000_000 - 10);
}

/// What happens to a bucket.
#[derive(Clone, Debug)]
enum Event {
    Pass {
        ms: u64,
    },
    Take {
        tokens: u64,
    },
    /// Ends one of the open takings, which used some of what it took.
    Settle {
        which: prop::sample::Index,
        percent: u64,
    },
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        (0..30_000_u64).prop_map(|ms| Event::Pass { ms }),
        (0..70_u64).prop_map(|tokens| Event::Take { tokens }),
        (any::<prop::sample::Index>(), 0..=100_u64)
            .prop_map(|(which, percent)| Event::Settle { which, percent }),
    ];
    prop::collection::vec(event, 0..200)
}

/// A taking that passed.
struct Passed {
    id: TakingId,
    ms: u64,
    taken: u64,
    used: Option<u64>,
}

/// Lets everything happen and ends what is open; what passed, and when that was over.
fn run(bucket: &mut Bucket, start: Instant, events: Vec<Event>) -> (Vec<Passed>, u64) {
    let (mut now_ms, mut passed) = (0, Vec::<Passed>::new());
    for event in events {
        let now = at(start, now_ms);
        match event {
            Event::Pass { ms } => now_ms += ms,
            Event::Take { tokens } => {
                if let Ok(id) = bucket.take(tokens, now) {
                    passed.push(Passed {
                        id,
                        ms: now_ms,
                        taken: tokens,
                        used: None,
                    });
                }
            }
            Event::Settle { which, percent } => {
                let mut open: Vec<_> = passed.iter_mut().filter(|it| it.used.is_none()).collect();
                if !open.is_empty() {
                    let which = which.index(open.len());
                    let it = &mut open[which];
                    let used = it.taken * percent / 100;
                    bucket.settle(it.id, it.taken, used, now);
                    it.used = Some(used);
                }
            }
        }
        let open = passed.iter().filter(|it| it.used.is_none()).count();
        assert!(bucket.debts.len() <= open + 1, "no debts are left over");
    }
    for it in &mut passed {
        if it.used.is_none() {
            bucket.settle(it.id, it.taken, it.taken, at(start, now_ms));
            it.used = Some(it.taken);
        }
    }
    (passed, now_ms)
}

proptest! {
    #[test]
    fn in_no_span_more_passes_than_the_limit_and_what_the_span_brings(events in events()) {
        let start = Instant::now();
        let (passed, _) = run(&mut bucket(start), start, events);
        for (first, begin) in passed.iter().enumerate() {
            let mut used = 0;
            for end in &passed[first..] {
                used += end.used.unwrap();
                let most = 60.0 + (end.ms - begin.ms) as f64 / 1000.0;
                prop_assert!(used as f64 <= most + 1e-3, "{used} of {most}");
            }
        }
    }

    #[test]
    fn it_ends_as_if_only_what_was_used_had_been_taken(events in events()) {
        let start = Instant::now();
        let mut settled = bucket(start);
        let (passed, end_ms) = run(&mut settled, start, events);
        let mut plain = bucket(start);
        for it in &passed {
            plain.take(it.used.unwrap(), at(start, it.ms)).unwrap();
        }
        let end = at(start, end_ms);
        settled.pass(end);
        plain.pass(end);
        prop_assert!((settled.missing() - plain.missing()).abs() < 1e-3, "{settled:?} {plain:?}");
    }

    #[test]
    fn who_waits_as_long_as_it_was_told_passes(
        takes in prop::collection::vec((0..=60_u64, 0..5000_u64), 0..30),
        tokens in 1..=60_u64,
    ) {
        let start = Instant::now();
        let (mut bucket, mut now) = (bucket(start), start);
        for (tokens, ms) in takes {
            bucket.take(tokens, now).ok();
            now += Duration::from_millis(ms);
        }
        if let Err(Short::For(wait)) = bucket.take(tokens, now) {
            prop_assert!(bucket.take(tokens, now + wait).is_ok());
        }
    }
}
