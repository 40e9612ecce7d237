//! What clients may use.

use super::house::{House, assert_mistakes};
use crate::config::Limits;

const PRICED: &str = "
experts:
  general: { kind: local, model: models/small }
  gpt: { kind: remote, base_url: 'https://api.example.com/v1', model: big, usd_in: 1, usd_out: 2 }
";

#[test]
fn a_key_says_otherwise_limit_by_limit() {
    let [a, b, c] = ["a", "b", "c"].map(|digit| digit.repeat(64));
    let house = House::new();
    let config = house.config(&format!(
        "{PRICED}
server:
  limits: {{ requests_per_minute: 60, usd_per_day: 0.5 }}
  keys:
    - {{ name: a, sha256: '{a}' }}
    - {{ name: b, sha256: '{b}', limits: {{ requests_per_minute: 5, tokens_per_minute: 9000 }} }}
    - {{ name: c, sha256: '{c}', limits: {{ requests_per_minute: none, tokens_per_minute: none, usd_per_day: none }} }}
"
    ));
    let server = config.load().unwrap().server;
    let usual = Limits {
        requests_per_minute: Some(60),
        tokens_per_minute: None,
        usd_per_day: Some(0.5),
    };
    let own = Limits {
        requests_per_minute: Some(5),
        tokens_per_minute: Some(9000),
        ..usual
    };
    assert_eq!(server.keys[0].limits, usual);
    assert_eq!(server.keys[1].limits, own);
    assert!(server.keys[2].limits.are_none(), "it is freed of all");
    assert!(server.limits.are_none(), "nobody comes without a key");
}

#[test]
fn without_keys_the_limits_are_those_of_all_clients() {
    let house = House::new();
    let config = house.config("server: { limits: { tokens_per_minute: 9000 } }");
    let server = config.load().unwrap().server;
    assert_eq!(server.limits.tokens_per_minute, Some(9000));
    let server = House::new().config("").load().unwrap().server;
    assert!(server.limits.are_none());
}

#[test]
fn a_limit_of_nothing_is_a_mistake() {
    let digest = "0".repeat(64);
    assert_mistakes(
        &format!(
            "{PRICED}server:
  limits: {{ requests_per_minute: 0, tokens_per_minute: -1, usd_per_day: 0 }}
  keys: [{{ name: a, sha256: '{digest}', limits: {{ usd_per_day: -0.5, tokens_per_minute: 1.5, tokens: 1 }} }}]
"
        ),
        &[
            "coterie.yaml:5:34: `requests_per_minute` is 0; it must be between 1 and 1000000000",
            "coterie.yaml:5:56: `tokens_per_minute` is -1; it must be between 1 and 1000000000",
            "coterie.yaml:5:73: `usd_per_day` is 0; it must be greater than 0",
            "coterie.yaml:6:120: `usd_per_day` is -0.5; it must be greater than 0",
            "coterie.yaml:6:145: `tokens_per_minute` must be a whole number or `none`, not a number with a fraction",
            "coterie.yaml:6:150: unknown key `tokens`; known here: `requests_per_minute`, `tokens_per_minute` and `usd_per_day`",
        ],
    );
}

#[test]
fn two_clients_do_not_share_a_key() {
    let (lower, upper) = ("a".repeat(64), "A".repeat(64));
    assert_mistakes(
        &format!(
            "server:
  keys:
    - {{ name: a, sha256: '{lower}' }}
    - {{ name: b, sha256: '{upper}' }}
"
        ),
        &[
            "coterie.yaml:4:26: `a` and `b` have the same `sha256`; give each client a key of its own",
        ],
    );
}

#[test]
fn dollars_need_the_prices_of_whoever_can_chat() {
    let digest = "0".repeat(64);
    let experts = "
experts:
  general: { kind: local, model: models/small }
  gpt: { kind: remote, base_url: 'https://api.example.com/v1', model: big, usd_in: 1 }
  vectors: { kind: remote, base_url: 'https://api.example.com/v1', model: v, capabilities: [embeddings] }
";
    let mistake = "coterie.yaml:3:3: `gpt` has no price, and `usd_per_day` of `server` needs one; add `usd_in` and \
                   `usd_out`, dollars per million tokens";
    for server in [
        "server: { limits: { usd_per_day: 1 } }".to_owned(),
        format!(
            "server: {{ keys: [{{ name: a, sha256: '{digest}', limits: {{ usd_per_day: 1 }} }}] }}"
        ),
    ] {
        assert_mistakes(&format!("{experts}{server}"), &[mistake]);
    }
    for server in [
        "server: { limits: { requests_per_minute: 1 } }",
        "server: { limits: { usd_per_day: none } }",
    ] {
        assert_mistakes(&format!("{experts}{server}"), &[]);
    }
    let both = format!(
        "{experts}server: {{ limits: {{ usd_per_day: 1 }} }}\nmapping: {{ default: general, budget: {{ usd_per_day: 1 }} }}"
    );
    let once = "coterie.yaml:3:3: `gpt` has no price, and `mapping.budget` needs one; add `usd_in` and `usd_out`, \
                dollars per million tokens";
    assert_mistakes(&both, &[once]);
}
