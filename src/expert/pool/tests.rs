//! Where questions go among several endpoints.

use std::collections::HashMap;

use futures_util::{FutureExt, future::BoxFuture};

use super::*;
use crate::expert::{Answer, Call};

struct Nobody;

impl Expert for Nobody {
    fn answer<'a>(&'a self, _call: &'a Call) -> BoxFuture<'a, Result<Answer, ExpertError>> {
        std::future::pending().boxed()
    }
}

fn pool(names: &[&str]) -> Pool {
    let endpoints = names
        .iter()
        .map(|name| ((*name).to_owned(), Arc::new(Nobody) as Arc<dyn Expert>));
    Pool::new(endpoints, BreakerConfig::default())
}

fn leased(pool: &Pool, session: Option<u64>) -> Lease {
    leased_untried(pool, session, &Tried::default())
}

fn leased_untried(pool: &Pool, session: Option<u64>, tried: &Tried) -> Lease {
    let goes_on = |key| Affinity { key, begins: false };
    let lease = pool.lease(session.map(goes_on), tried, Instant::now());
    lease.ok().unwrap()
}

fn name(lease: &Lease) -> String {
    lease.endpoint.name.clone()
}

fn failure() -> ExpertError {
    ExpertError::Failed {
        detail: "x".into(),
        retry_after: None,
    }
}

fn open(pool: &Pool, endpoint: &str) {
    // It is the only one at which the question has not failed.
    let tried = Tried::default();
    let others = pool.endpoints.iter().filter(|it| it.name != endpoint);
    others.for_each(|other| tried.add(&other.name));
    for _ in 0..BreakerConfig::default().failures {
        let mut lease = leased_untried(pool, None, &tried);
        assert_eq!(name(&lease), endpoint);
        lease.failed(&failure());
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_keeps_its_endpoint_while_that_is_healthy_and_comes_back_to_it() {
    let pool = pool(&["a", "b", "c"]);
    let home = name(&leased(&pool, Some(7)));
    for _ in 0..20 {
        assert_eq!(name(&leased(&pool, Some(7))), home);
    }
    open(&pool, &home);
    let elsewhere = name(&leased(&pool, Some(7)));
    assert_ne!(elsewhere, home);
    assert_eq!(
        name(&leased(&pool, Some(7))),
        elsewhere,
        "one other, not any"
    );
    tokio::time::advance(Duration::from_secs(60)).await;
    assert_eq!(name(&leased(&pool, Some(7))), home);
}

#[tokio::test(start_paused = true)]
async fn a_session_stays_where_it_began() {
    let pool = pool(&["a", "b", "c"]);
    for key in 0..50 {
        let began = Affinity { key, begins: true };
        let first = pool.lease(Some(began), &Tried::default(), Instant::now());
        let home = name(&first.ok().unwrap());
        assert_eq!(name(&leased(&pool, Some(key))), home, "{key}");
    }
}

#[tokio::test(start_paused = true)]
async fn sessions_spread_over_the_endpoints() {
    let pool = pool(&["a", "b", "c"]);
    let mut homes = HashMap::new();
    for session in 0..300 {
        *homes
            .entry(name(&leased(&pool, Some(session))))
            .or_insert(0) += 1;
    }
    assert!(homes.values().all(|count| *count > 60), "{homes:?}");
}

#[tokio::test(start_paused = true)]
async fn the_less_burdened_of_two_is_taken() {
    let pool = pool(&["a", "b"]);
    let held: Vec<_> = (0..10).map(|_| leased(&pool, None)).collect();
    let at_a = held.iter().filter(|lease| name(lease) == "a").count();
    assert_eq!(at_a, 5, "what is under way evens out");
    drop(held);

    let slow = pool.endpoints.iter().find(|it| it.name == "a").unwrap();
    slow.load.saw(Duration::from_secs(2), Instant::now());
    let fast = pool.endpoints.iter().find(|it| it.name == "b").unwrap();
    fast.load.saw(Duration::from_millis(50), Instant::now());
    let to_b = (0..50).filter(|_| name(&leased(&pool, None)) == "b");
    assert_eq!(to_b.count(), 50);
    // A peak is forgotten with time.
    tokio::time::advance(Duration::from_secs(120)).await;
    let to_a = (0..200).filter(|_| name(&leased(&pool, None)) == "a");
    assert!(to_a.count() > 20);
}

#[tokio::test(start_paused = true)]
async fn an_open_endpoint_is_left_out_and_all_open_ones_say_when_to_come_back() {
    let pool = pool(&["a", "b"]);
    open(&pool, "a");
    assert!((0..50).all(|_| name(&leased(&pool, None)) == "b"));
    assert_eq!(pool.closed_for(Instant::now()), None);
    open(&pool, "b");
    let error = pool.lease(None, &Tried::default(), Instant::now());
    let error = error.err().unwrap();
    assert_eq!(error.kind(), "circuit_open");
    let most = BreakerConfig::default().open;
    assert!(error.retry_after().unwrap() <= most);
    assert!(pool.closed_for(Instant::now()).unwrap() <= most);
}

#[tokio::test(start_paused = true)]
async fn a_question_that_is_itself_at_fault_teaches_nothing_of_the_endpoint() {
    let pool = pool(&["a"]);
    for _ in 0..20 {
        leased(&pool, None).failed(&ExpertError::Unsupported {
            what: "x",
            param: "x",
        });
        drop(leased(&pool, None));
    }
    assert_eq!(pool.states(Instant::now())[0].circuit, Circuit::Closed);
    assert_eq!(pool.states(Instant::now())[0].under_way, 0);
}

#[tokio::test(start_paused = true)]
async fn a_question_that_failed_at_one_endpoint_goes_to_another() {
    let pool = pool(&["a", "b"]);
    for session in [None, Some(1), Some(2), Some(3)] {
        let tried = Tried::default();
        let first = name(&leased_untried(&pool, session, &tried));
        tried.add(&first);
        assert!(pool.has_untried(&tried, Instant::now()));
        let second = name(&leased_untried(&pool, session, &tried));
        assert_ne!(first, second);
        tried.add(&second);
        assert!(!pool.has_untried(&tried, Instant::now()));
    }
}
