//! The registry keeps what happened.

use std::path::PathBuf;

use super::open;
use crate::{
    ids::RouterId,
    registry::{PromotionKind, Registered},
    store::Promoter,
};

const SOMEONE: Promoter<'_> = Promoter {
    by: "ann",
    why: None,
    expected: None,
};

fn registered(id: &str, parent: &str, judgement: &str) -> Registered {
    Registered {
        id: RouterId::new(id),
        folder: PathBuf::from("/somewhere"),
        parent: Some(RouterId::new(parent)),
        registered_at_ms: 1,
        data_sha256: "00".to_owned(),
        judgement: Some(judgement.to_owned()),
    }
}

#[tokio::test]
async fn a_later_judgement_takes_the_place_of_an_earlier_one_until_a_router_was_promoted() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder).await;
    let id = RouterId::new("a");
    store
        .register(&registered("a", "first", "{\"at\":1}"))
        .await
        .unwrap();
    store
        .register(&registered("a", "second", "{\"at\":2}"))
        .await
        .unwrap();
    store.promote(&id, SOMEONE).await.unwrap();
    store
        .register(&registered("a", "a", "{\"at\":3}"))
        .await
        .unwrap();
    let kept = store.router(&id).await.unwrap().unwrap();
    assert_eq!(kept.parent, Some(RouterId::new("second")));
    assert_eq!(kept.judgement.as_deref(), Some("{\"at\":2}"));
}

#[tokio::test]
async fn roll_backs_go_back_step_by_step_to_what_needs_no_registry() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder).await;
    for id in ["a", "b"] {
        let router = registered(id, "none", "{}");
        store.register(&router).await.unwrap();
        store.promote(&router.id, SOMEONE).await.unwrap();
    }
    for expected in [Some("a"), None] {
        let back = store.roll_back(SOMEONE).await.unwrap();
        assert_eq!(back.kind, PromotionKind::Rollback);
        assert_eq!(back.router.as_ref().map(RouterId::as_str), expected);
    }
    let refused = store.roll_back(SOMEONE).await.unwrap_err().to_string();
    assert_eq!(
        refused,
        "the router in force was not promoted: there is nothing left to roll back"
    );
}
