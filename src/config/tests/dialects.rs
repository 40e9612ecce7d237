//! What a remote expert speaks.

use super::house::{House, assert_mistakes};
use crate::config::{Dialect, ExpertKind};

#[test]
fn an_expert_speaks_openais_dialect_unless_it_says_otherwise() {
    let house = House::new();
    house.config(
        "
experts:
  general: { kind: remote, base_url: 'https://api.example.com/v1', model: a }
  gpt: { kind: remote, base_url: 'https://api.example.com/v1', model: b, dialect: anthropic }
",
    );
    let config = house.load().unwrap();
    let dialects = config.experts.iter().map(|expert| match &expert.kind {
        ExpertKind::Remote(remote) => remote.dialect,
        ExpertKind::Local { .. } => panic!("{} is remote", expert.id),
    });
    assert_eq!(
        dialects.collect::<Vec<_>>(),
        [Dialect::Openai, Dialect::Anthropic]
    );
}

#[test]
fn dialects_that_are_none_or_out_of_place() {
    assert_mistakes(
        "
experts:
  gpt: { kind: remote, base_url: 'https://api.example.com/v1', model: big, dialect: antropic }
  general: { kind: local, model: models/small, dialect: openai }
",
        &[
            "coterie.yaml:2:85: `dialect` cannot be `antropic`; did you mean `anthropic`?",
            "coterie.yaml:3:48: unknown key `dialect`; known here: `kind`, `model`, `capabilities`, `params_b`, \
             `usd_in`, `usd_out`, `context_tokens`, `queue_max`, `timeouts`, `retries` and `breaker`",
        ],
    );
}

#[test]
fn what_anthropics_dialect_has_not() {
    assert_mistakes(
        "
experts:
  general: { kind: remote, base_url: 'https://api.example.com/v1/messages', model: big, dialect: anthropic }
  gpt: { kind: remote, base_url: 'https://api.example.com/v1', model: big, dialect: anthropic, capabilities: [chat, embeddings] }
",
        &[
            "coterie.yaml:2:38: `base_url` names one endpoint; write the address up to and including `/v1`, such as \
             `https://api.example.com/v1`",
            "coterie.yaml:3:110: Anthropic's dialect has no embeddings; take `embeddings` out of `capabilities`",
        ],
    );
}
