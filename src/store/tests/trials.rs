//! Trials of routers, and what routers in shadow decide.

use super::*;
use crate::{
    registry::Registered,
    trial::{Ending as TrialEnding, ShadowDecision, Share, TrialKind},
};

async fn register(store: &Store, id: &str) -> RouterId {
    let id = RouterId::new(id);
    let registered = Registered {
        id: id.clone(),
        folder: "somewhere".into(),
        parent: None,
        registered_at_ms: 1,
        data_sha256: "00".into(),
        judgement: None,
    };
    store.register(&registered).await.unwrap();
    id
}

fn new(router: &RouterId, kind: TrialKind) -> NewTrial<'_> {
    NewTrial {
        router,
        kind,
        share: Share::new(0.1).filter(|_| kind == TrialKind::Canary),
        by: "ann",
        why: Some("to see"),
    }
}

const PROMOTER: Promoter<'_> = Promoter {
    by: "ben",
    why: None,
    expected: None,
};

#[tokio::test]
async fn a_trial_comes_back_as_it_was_begun_and_ends_once() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder).await;
    let router = register(&store, "r2").await;
    store
        .write(&[outcome("a", 1), outcome("b", 2)])
        .await
        .unwrap();
    store.add_feedback(&feedback("a")).await.unwrap();
    let begun = store.begin_trial(new(&router, TrialKind::Canary)).await;
    let mut begun = begun.unwrap();
    assert_eq!((begun.from.outcomes, begun.from.feedback), (2, 1));
    assert_eq!(store.trials().await.unwrap(), [begun.clone()]);
    assert_eq!(store.open_trials().await.unwrap(), [begun.clone()]);

    let stopped = store
        .stop_trial(TrialKind::Canary, "eve", None)
        .await
        .unwrap();
    let ended = stopped.ended.unwrap();
    assert_eq!(
        (&ended.ending, ended.by.as_str()),
        (&TrialEnding::Stopped, "eve")
    );
    assert!(!store.end_trial(begun.number, &ended).await.unwrap());
    begun.ended = Some(ended);
    assert_eq!(store.trials().await.unwrap(), [begun]);
    let again = store.stop_trial(TrialKind::Canary, "eve", None).await;
    assert!(matches!(again, Err(TrialError::NotUnderWay { .. })));
}

#[tokio::test]
async fn what_cannot_be_tried_is_told_apart() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder).await;
    let [one, two] = [register(&store, "r1").await, register(&store, "r2").await];
    let unknown = RouterId::new("r9");
    let refused = store.begin_trial(new(&unknown, TrialKind::Shadow)).await;
    assert!(matches!(refused, Err(TrialError::Unknown { .. })));
    store.promote(&one, PROMOTER).await.unwrap();
    let refused = store.begin_trial(new(&one, TrialKind::Shadow)).await;
    assert!(matches!(refused, Err(TrialError::InForce { .. })));
    store
        .begin_trial(new(&two, TrialKind::Shadow))
        .await
        .unwrap();
    let refused = store.begin_trial(new(&two, TrialKind::Shadow)).await;
    let Err(refused) = refused else {
        panic!("two of a kind");
    };
    assert!(
        refused.to_string().contains("coterie routers stop shadow"),
        "{refused}"
    );
    store
        .begin_trial(new(&two, TrialKind::Canary))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_change_of_the_router_in_force_ends_all_trials() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder).await;
    let [one, two] = [register(&store, "r1").await, register(&store, "r2").await];
    store
        .begin_trial(new(&one, TrialKind::Shadow))
        .await
        .unwrap();
    store
        .begin_trial(new(&two, TrialKind::Canary))
        .await
        .unwrap();
    store.promote(&two, PROMOTER).await.unwrap();
    store
        .begin_trial(new(&one, TrialKind::Canary))
        .await
        .unwrap();
    store.roll_back(PROMOTER).await.unwrap();
    let endings: Vec<_> = store
        .trials()
        .await
        .unwrap()
        .into_iter()
        .map(|trial| trial.ended.unwrap())
        .map(|ended| (ended.ending, ended.by))
        .collect();
    let by_ben = |ending| (ending, "ben".to_owned());
    assert_eq!(
        endings,
        [
            by_ben(TrialEnding::Overtaken),
            by_ben(TrialEnding::Promoted),
            by_ben(TrialEnding::Overtaken)
        ]
    );
    assert_eq!(store.open_trials().await.unwrap(), []);
}

fn shadow(outcome_id: &str, decided_at_ms: i64) -> ShadowDecision {
    ShadowDecision {
        router: RouterId::new("r2"),
        outcome_id: outcome_id.into(),
        decided_at_ms,
        scores: vec![Score {
            category: CategoryId::new("legal"),
            probability: 0.5,
        }],
        reason: "routed",
        strangeness: Some(f64::INFINITY),
        took_us: 7,
    }
}

#[tokio::test]
async fn what_a_shadow_decides_is_read_beside_what_was_decided() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder).await;
    store
        .write(&[outcome("a", 1), outcome("b", 2)])
        .await
        .unwrap();
    let decisions = [shadow("a", 4), shadow("b", 5), shadow("c", 6)];
    store.write_shadow(&decisions).await.unwrap();
    store.write_shadow(&decisions).await.unwrap();
    let router = RouterId::new("r2");
    let all = store.compared(&router, 0, None).await.unwrap();
    let ids: Vec<_> = all.iter().map(|row| row.outcome_id.as_str()).collect();
    assert_eq!(
        ids,
        ["b", "a"],
        "the newest first, and none without an outcome"
    );
    let Compared { real, shadow, .. } = &all[0];
    assert_eq!((real.reason.as_str(), real.took_us), ("unsure", 1500));
    assert_eq!((shadow.reason.as_str(), shadow.took_us), ("routed", 7));
    assert_eq!(shadow.scores[0].category.as_str(), "legal");
    assert_eq!(shadow.strangeness, None);
    assert_eq!(
        store.compared(&router, 0, Some("b")).await.unwrap().len(),
        1
    );
    assert_eq!(store.compared(&router, 5, None).await.unwrap().len(), 1);

    let too_old = TooOld {
        before_ms: 5,
        labelled_before_ms: 0,
    };
    store.prune(too_old).await.unwrap();
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM shadow_decisions")
        .fetch_one(&store.pool)
        .await
        .unwrap();
    assert_eq!(left, 2);
}

#[tokio::test]
async fn what_becomes_of_questions_is_read_in_the_order_in_which_it_became_known() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder).await;
    store
        .write(&[outcome("late", 9), outcome("early", 1)])
        .await
        .unwrap();
    store.add_feedback(&feedback("early")).await.unwrap();
    let judged = Feedback {
        judged_by: Some("gpt answer-v1".into()),
        ..feedback("early")
    };
    store.add_feedback(&judged).await.unwrap();
    store.add_feedback(&feedback("late")).await.unwrap();
    let page = store.ended_after(0).await.unwrap();
    let ids: Vec<_> = page
        .rows
        .iter()
        .map(|row| row.outcome_id.as_str())
        .collect();
    assert_eq!((ids, page.is_last), (vec!["late", "early"], true));
    assert_eq!(page.rows[0].ended_at_ms, 9 + 90);
    assert!(page.rows[0].has_begun);
    let next = store.ended_after(page.rows[0].place).await.unwrap();
    assert_eq!(next.rows.len(), 1);
    let said = store.said_after(0).await.unwrap().rows;
    let of: Vec<_> = said.iter().map(|row| row.outcome_id.as_str()).collect();
    assert_eq!(of, ["early", "late"], "a judge is no client");
    assert_eq!(
        (said[0].score, said[0].said.as_deref()),
        (Some(0.5), Some("sql"))
    );
}
