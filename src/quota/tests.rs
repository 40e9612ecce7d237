use std::{net::SocketAddr, sync::LazyLock, thread};

use super::*;
use crate::config::ApiKey;

const NOON_MS: i64 = 12 * 60 * 60 * 1000;

/// A clock that stands still: nothing is filled in, however long a test takes.
pub(crate) fn frozen() -> Instant {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    *START
}

/// Two keys, the second without limits, and limits for whoever has no key.
fn quotas(first: Limits, server: Limits) -> Quotas {
    let key = |name: &str, limits| ApiKey {
        name: name.to_owned(),
        sha256: [0; 32],
        limits,
    };
    let server = ServerConfig {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        keys: vec![key("first", first), key("second", Limits::default())],
        body_bytes_max: 1,
        grace: Duration::from_secs(1),
        limits: server,
    };
    let spent = |name: &str, usd| (Some(name.to_owned()), usd);
    let spent_usd = HashMap::from([spent("first", 0.5), spent("gone", 2.0), (None, 1.0)]);
    Quotas::new(&server, &spent_usd, NOON_MS, frozen)
}

fn limited(requests: Option<u32>, tokens: Option<u32>) -> Limits {
    Limits {
        requests_per_minute: requests,
        tokens_per_minute: tokens,
        usd_per_day: None,
    }
}

fn first(requests: Option<u32>, tokens: Option<u32>) -> Arc<Quota> {
    let quotas = quotas(limited(requests, tokens), Limits::default());
    Arc::clone(quotas.of(Some("first")).unwrap())
}

fn tokens(prompt_tokens: u64, answer_tokens: u64) -> Estimate {
    Estimate {
        prompt_tokens,
        answer_tokens,
    }
}

/// What is left of each limit.
fn remaining(quota: &Quota) -> Vec<u64> {
    let standings = quota.standings();
    standings.map(|standing| standing.level.remaining).collect()
}

#[test]
fn a_request_without_tokens_counts_as_one_and_needs_none_of_them() {
    let quota = first(Some(2), Some(10));
    let admitted = quota.admit(tokens(10, 0)).unwrap();
    admitted.begin().unwrap().settle(10);
    assert_eq!(remaining(&quota), [1, 0]);
    quota.take_request().unwrap();
    let over = quota.take_request().unwrap_err();
    let requests = matches!(
        over,
        OverQuota::Spent {
            unit: Unit::Requests,
            ..
        }
    );
    assert!(requests, "{over}");
    assert_eq!(remaining(&quota), [0, 0]);
    first(None, Some(10)).take_request().unwrap();
}

#[test]
fn who_has_no_limits_has_no_quota() {
    let quotas = quotas(limited(Some(1), None), Limits::default());
    assert!(quotas.of(Some("first")).is_some());
    assert!(quotas.of(Some("second")).is_none());
    assert!(quotas.of(None).is_none());
    assert!(!quotas.are_none());
    let none = super::tests::quotas(Limits::default(), Limits::default());
    assert!(none.are_none());
}

#[test]
fn a_key_goes_on_with_what_it_has_spent_and_all_together_with_all_of_it() {
    let limits = Limits {
        usd_per_day: Some(5.0),
        ..Limits::default()
    };
    let quotas = quotas(limits, limits);
    let spent = |key: Option<&str>| {
        let dollars = quotas.of(key).unwrap().dollars().unwrap();
        dollars.purse(dollars.spending.today(NOON_MS))
    };
    let purse = |usd_spent| Purse {
        usd_max: 5.0,
        usd_spent,
    };
    assert_eq!(spent(Some("first")), purse(0.5));
    assert_eq!(spent(None), purse(3.5));
}

#[test]
fn a_request_counts_once_somebody_is_asked_and_not_before() {
    let quota = first(Some(2), None);
    drop(quota.admit(tokens(0, 0)).unwrap());
    assert_eq!(remaining(&quota), [2]);
    assert!(quota.admit(tokens(0, 0)).unwrap().begin().is_none());
    assert_eq!(remaining(&quota), [1]);
    let _second = quota.admit(tokens(0, 0)).unwrap();
    let over = quota.admit(tokens(0, 0)).unwrap_err();
    let OverQuota::Spent { unit, wanted, .. } = over else {
        panic!("{over}");
    };
    assert_eq!((unit, wanted), (Unit::Requests, 1));
}

#[test]
fn who_has_no_tokens_left_gets_its_request_back() {
    let quota = first(Some(2), Some(10));
    let _first = quota.admit(tokens(3, 4)).unwrap();
    let over = quota.admit(tokens(3, 4)).unwrap_err();
    let OverQuota::Spent {
        unit, remaining, ..
    } = over
    else {
        panic!("{over}");
    };
    assert_eq!((unit, remaining), (Unit::Tokens, 3));
    assert_eq!(super::tests::remaining(&quota), [1, 3]);
}

#[test]
fn what_never_fits_is_told_so() {
    let quota = first(None, Some(10));
    let over = quota.admit(tokens(6, 5)).unwrap_err();
    assert!(matches!(over, OverQuota::TooLarge { wanted: 11, .. }));
    assert!(quota.admit(tokens(u64::MAX, 5)).is_err());
    assert!(quota.admit(tokens(6, 4)).is_ok());
}

#[test]
fn tokens_are_settled_by_what_was_used() {
    let quota = first(None, Some(10));
    let begin = || quota.admit(tokens(2, 6)).unwrap().begin().unwrap();
    begin().settle(1);
    assert_eq!(remaining(&quota), [9]);
    drop(begin());
    assert_eq!(remaining(&quota), [9], "what failed costs nothing");
    let taken = begin();
    assert_eq!(taken.about(3), 5);
    assert_eq!(taken.about(99), 8, "no more than was taken");
    assert_eq!(taken.about(0), 8, "nobody knows what was used");
}

#[test]
fn requests_that_come_at_once_do_not_use_the_same_token() {
    let quota = first(None, Some(10));
    let admitted = thread::scope(|scope| {
        let asking: Vec<_> = (0..8)
            .map(|_| {
                let ask = || quota.admit(tokens(1, 1)).ok();
                scope.spawn(move || (0..100).filter_map(|_| ask()).collect::<Vec<_>>())
            })
            .collect();
        // All are held until the last has asked.
        let held: Vec<_> = asking.into_iter().map(|asking| asking.join()).collect();
        held.into_iter().flat_map(Result::unwrap).count()
    });
    assert_eq!(admitted, 5);
}
