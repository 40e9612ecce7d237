//! `delivery`, `cache`, and what experts say of retries, breakers and replicas.

use std::time::Duration;

use secrecy::ExposeSecret;

use super::house::{House, assert_mistakes};
use crate::{
    config::{BreakerConfig, ExpertKind, PolicyRefusals, Prefill, Retries, StreamRecovery},
    ids::CategoryId,
};

#[test]
fn a_route_says_what_it_wants_and_the_house_the_rest() {
    let config = House::new()
        .config(
            "
delivery:
  stream_recovery: splice
  hedge: 5%
  timeouts: { first_token: 9s, total: 1min }
  routes:
    math: { policy_refusals: reroute, hedge: 0, timeouts: { first_token: 2s, connect: 1s } }
",
        )
        .load()
        .unwrap();
    let (math, coding) = (CategoryId::new("math"), CategoryId::new("coding"));
    let (math, others) = (
        config.delivery.of(Some(&math)),
        config.delivery.of(Some(&coding)),
    );
    let seconds = Duration::from_secs;
    assert_eq!(math.stream_recovery, StreamRecovery::Splice);
    assert_eq!(math.policy_refusals, PolicyRefusals::Reroute);
    assert_eq!((math.hedge_share, others.hedge_share), (None, Some(0.05)));
    assert_eq!(math.timeouts.first_token, Some(seconds(2)));
    assert_eq!(math.timeouts.total, Some(seconds(60)));
    assert_eq!(others.timeouts.first_token, Some(seconds(9)));
    assert_eq!(others.policy_refusals, PolicyRefusals::Tell);
    assert_eq!(config.delivery.of(None), others);
    assert_eq!(config.delivery.connect_max(), Some(seconds(1)));
}

#[test]
fn an_expert_has_what_the_documentation_says_unless_it_says_otherwise() {
    let config = House::new()
        .with("BIG_KEY", "sk-one")
        .config(
            "
experts:
  general: { kind: local, model: models/small }
  gpt:
    kind: remote
    base_url: 'https://one.example.com/v1'
    model: big
    api_key: { env: BIG_KEY }
    replicas: [{ base_url: 'https://two.example.com/v1' }]
    retries: { max: 0, budget: 10% }
    breaker: { failures: 2 }
    prefill: prefix
cache: { max: 2 MiB }
",
        )
        .load()
        .unwrap();
    let [general, gpt] = config.experts.as_slice() else {
        panic!("{:?}", config.experts)
    };
    assert_eq!(general.retries, Retries::default());
    assert_eq!(general.breaker, BreakerConfig::default());
    assert_eq!(general.prefill, Prefill::ContinueFinalMessage);
    assert_eq!((gpt.retries.max, gpt.retries.budget), (0, 0.1));
    assert_eq!(gpt.breaker.failures, 2);
    assert_eq!((gpt.prefill, gpt.concurrent_max), (Prefill::Prefix, None));
    let ExpertKind::Remote(remote) = &gpt.kind else {
        panic!("it is remote")
    };
    let places: Vec<_> = remote
        .places
        .iter()
        .map(|place| {
            let key = place.api_key.as_ref().unwrap();
            (place.base_url.host_str().unwrap(), key.expose_secret())
        })
        .collect();
    assert_eq!(
        places,
        [("one.example.com", "sk-one"), ("two.example.com", "sk-one")]
    );
    let cache = config.cache.unwrap();
    assert_eq!(
        (cache.bytes_max, cache.keep),
        (2 << 20, Duration::from_secs(3600))
    );
}

#[test]
fn mistakes_are_told_with_their_place() {
    assert_mistakes(
        "
delivery:
  stream_recovery: repair
cache: { keep: 1h }
",
        &[
            "coterie.yaml:2:20: `stream_recovery` cannot be `repair`; known here: `continue`, `splice` and `error`",
            "coterie.yaml:3:1: `cache` lacks `max`; add it: most of them: bytes, or a number with B, KiB, MiB or GiB",
        ],
    );
    assert_mistakes(
        "
delivery:
  hedge: 200%
  routes: { maths: { retries_max: 1 }, coding: { timeouts: { idle: soon } } }
cache: { max: 5 MB, keep: 366 days }
",
        &[
            "coterie.yaml:2:10: `hedge` is `200%`; write a number between 0 and 1, or a share such as `20%`",
            "coterie.yaml:3:13: there is no category `maths`; did you mean `math`?",
            "coterie.yaml:3:68: `idle` is `soon`; write a time longer than nothing, such as `250ms`, `30s` or `5min`",
            "coterie.yaml:4:15: `max` is `5 MB`; write bytes, or a whole number and B, KiB, MiB or GiB, such as `8 MiB`",
            "coterie.yaml:4:27: `keep` is `366 days`; write a time of at most 365 days",
        ],
    );
    assert_mistakes(
        "
experts:
  general: { kind: local, model: models/small, breaker: { error_rate: 0 } }
  gpt: { kind: remote, base_url: 'https://a.example.com/v1', model: b, replicas: [{ base_url: 'https://a.example.com/v1' }] }
",
        &[
            "coterie.yaml:2:71: `error_rate` is 0; write a share above 0, such as `50%`",
            "coterie.yaml:3:95: the endpoint is here twice; name each endpoint once",
        ],
    );
}
