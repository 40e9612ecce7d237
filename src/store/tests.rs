use std::{collections::HashMap, time::Duration};

use proptest::prelude::*;
use serde_json::{Value, json};
use sqlx::Connection;
use tempfile::TempDir;

use super::*;
use crate::{
    chat::{ChatRequest, Usage},
    config::{Prefer, Preference, Sticky},
    decision::{Decision, Reason, Score},
    expert::{Attempt, Role},
    ids::{CategoryId, ExpertId, MappingId, RouterId},
    mapping::Grounds,
    outcome::{Ask, Ending, Feedback, FeedbackError, Outcome},
    router::TierName,
    session::Claim,
};

async fn open(folder: &TempDir) -> Store {
    Store::open(&folder.path().join("deep/er/coterie.db"))
        .await
        .unwrap()
}

fn outcome(id: &str, asked_at_ms: i64) -> Outcome {
    Outcome {
        id: id.into(),
        asked_at_ms,
        ask: Ask {
            key_name: Some("team-a".into()),
            model: "coterie".into(),
            streamed: true,
            question: Some("How do I sort a list?".into()),
            session: Some("5e55".into()),
        },
        decision: Decision {
            category: Some(CategoryId::new("coding")),
            confidence: 0.75,
            scores: vec![Score {
                category: CategoryId::new("coding"),
                probability: 0.75,
            }],
            tier: Some(TierName::Cheap),
            reason: Reason::Unsure {
                best: CategoryId::new("coding"),
                confidence_min: 0.5,
            },
            strangeness: Some(0.25),
            instruction: None,
            session: None,
            expert: ExpertId::new("coder"),
            fallbacks: vec![ExpertId::new("general")],
            propensity: 0.5,
            grounds: Grounds::new(MappingId::new("m1"), Prefer::Word(Preference::Balanced)),
            router: RouterId::new("r1"),
            took: Duration::from_micros(1500),
        },
        attempts: vec![
            Attempt {
                role: Role::First,
                took: Some(Duration::from_millis(2)),
                rejected: Some("it has no text".into()),
                rejected_as: Some("no_text"),
                usage: Some(Usage {
                    prompt_tokens: 2,
                    completion_tokens: 3,
                }),
                cost_usd: Some(0.125),
                ..Attempt::begun(ExpertId::new("coder"), Role::Answer)
            },
            Attempt::begun(ExpertId::new("general"), Role::Answer),
        ],
        answered_by: Some(ExpertId::new("general")),
        first_token: Some(Duration::from_millis(30)),
        total: Duration::from_millis(90),
        usage: Some(Usage {
            prompt_tokens: 7,
            completion_tokens: 11,
        }),
        cost_usd: Some(0.25),
        ending: Ending::Completed,
        error: None,
        answer: Some("With sort().".into()),
    }
}

fn feedback(outcome_id: &str) -> Feedback {
    Feedback {
        outcome_id: outcome_id.into(),
        given_at_ms: 5,
        score: Some(0.5),
        category: Some("sql".into()),
        expert: None,
        comment: Some("nearly".into()),
        key_name: Some("team-b".into()),
        judged_by: None,
    }
}

#[tokio::test]
async fn an_outcome_comes_back_as_it_went_in() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder).await;
    store.write(&[outcome("a", 1000)]).await.unwrap();
    let stored = store.outcome("a").await.unwrap().unwrap();
    let json = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    assert_eq!(
        json(&stored.scores),
        json!([{"category": "coding", "probability": 0.75}])
    );
    assert_eq!(
        json(&stored.reason_detail),
        json!({
            "kind": "unsure", "best": "coding", "confidence_min": 0.5,
            "mapping": {"id": "m1", "prefer": "balanced"},
        })
    );
    assert_eq!(
        json(&stored.attempts),
        json!([
            {
                "expert": "coder", "role": "first", "took_us": 2000, "error": null,
                "rejected": "it has no text", "rejected_as": "no_text",
                "prompt_tokens": 2, "completion_tokens": 3, "cost_usd": 0.125,
            },
            {
                "expert": "general", "role": "answer", "took_us": null, "error": null, "rejected": null, "rejected_as": null,
                "prompt_tokens": null, "completion_tokens": null, "cost_usd": null,
            },
        ])
    );
    let expected = StoredOutcome {
        id: "a".into(),
        asked_at_ms: 1000,
        key_name: Some("team-a".into()),
        model: "coterie".into(),
        streamed: true,
        question: Some("How do I sort a list?".into()),
        session: Some("5e55".into()),
        category: Some("coding".into()),
        confidence: Some(0.75),
        scores: stored.scores.clone(),
        router: "r1".into(),
        reason: "unsure".into(),
        reason_detail: stored.reason_detail.clone(),
        expert: "coder".into(),
        fallbacks: r#"["general"]"#.into(),
        propensity: Some(0.5),
        strangeness: Some(0.25),
        decision_us: 1500,
        attempts: stored.attempts.clone(),
        answered_by: Some("general".into()),
        first_token_us: Some(30_000),
        total_us: 90_000,
        prompt_tokens: Some(7),
        completion_tokens: Some(11),
        cost_usd: Some(0.25),
        ending: "completed".into(),
        error: None,
        answer: Some("With sort().".into()),
    };
    assert_eq!(stored, expected);
    assert_eq!(store.outcome("b").await.unwrap(), None);
}

#[tokio::test]
async fn a_batch_written_twice_is_there_once_and_unchanged() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder).await;
    store.write(&[outcome("a", 1)]).await.unwrap();
    store
        .write(&[outcome("a", 2), outcome("b", 2)])
        .await
        .unwrap();
    assert_eq!(store.count().await.unwrap(), 2);
    assert_eq!(store.outcome("a").await.unwrap().unwrap().asked_at_ms, 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn no_outcome_is_refused(
        confidence in any::<f32>(),
        propensity in any::<f64>(),
        cost_usd in any::<f64>(),
        micros in any::<u64>(),
        tokens in any::<u64>(),
        text in any::<String>(),
    ) {
        let mut outcome = outcome("a", i64::MIN);
        outcome.decision.confidence = confidence;
        outcome.decision.scores[0].probability = confidence;
        outcome.decision.propensity = propensity;
        outcome.decision.reason = Reason::RouterFailed { detail: text.clone() };
        outcome.cost_usd = Some(cost_usd);
        outcome.total = Duration::from_micros(micros);
        outcome.usage = Some(Usage { prompt_tokens: tokens, completion_tokens: tokens });
        outcome.ask.question = Some(text);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let folder = TempDir::new().unwrap();
            let store = open(&folder).await;
            store.write(&[outcome]).await.unwrap();
            let stored = store.outcome("a").await.unwrap().unwrap();
            assert_eq!(stored.confidence.is_none(), confidence.is_nan());
            // CHECKs are not looked at when outcomes are written.
            let found: String = sqlx::query_scalar("PRAGMA integrity_check")
                .fetch_one(&store.pool)
                .await
                .unwrap();
            assert_eq!(found, "ok");
        });
    }
}

#[tokio::test]
async fn feedback_attaches_to_its_outcome_and_to_no_other() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder).await;
    store.write(&[outcome("a", 1)]).await.unwrap();
    store.add_feedback(&feedback("a")).await.unwrap();
    assert_eq!(store.feedback("a").await.unwrap(), [feedback("a")]);
    assert!(matches!(
        store.add_feedback(&feedback("b")).await,
        Err(FeedbackError::UnknownOutcome { id }) if id == "b"
    ));
    for score in [-0.1, 1.1, f64::NAN] {
        let wrong = Feedback {
            score: Some(score),
            ..feedback("a")
        };
        assert!(matches!(
            store.add_feedback(&wrong).await,
            Err(FeedbackError::ScoreOutOfRange { .. })
        ));
    }
    assert_eq!(store.feedback("a").await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_second_open_finds_what_the_first_wrote() {
    let folder = TempDir::new().unwrap();
    let first = open(&folder).await;
    first.write(&[outcome("a", 1)]).await.unwrap();
    first.close().await.unwrap();
    first.close().await.unwrap();
    assert!(matches!(
        first.write(&[]).await,
        Err(StoreError::Failed { .. })
    ));
    assert_eq!(open(&folder).await.count().await.unwrap(), 1);
}

#[cfg(unix)]
#[tokio::test]
async fn only_the_owner_may_read_what_people_ask() {
    use std::os::unix::fs::PermissionsExt;
    let folder = TempDir::new().unwrap();
    let store = open(&folder).await;
    store.write(&[outcome("a", 1)]).await.unwrap();
    for path in [
        store.path().to_owned(),
        store.path().with_extension("db-wal"),
    ] {
        let mode = fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

async fn refused(path: &Path) -> StoreError {
    let error = Store::open(path).await.unwrap_err();
    assert!(error.to_string().contains(path.to_str().unwrap()));
    error
}

#[tokio::test]
async fn a_file_that_is_no_database_is_left_alone() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("notes.txt");
    let text = "not a database, but somebody's notes\n".repeat(100);
    fs::write(&path, &text).unwrap();
    assert!(matches!(refused(&path).await, StoreError::Damaged { .. }));
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
}

#[tokio::test]
async fn a_database_that_lost_its_pages_is_damaged() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder).await;
    store.write(&[outcome("a", 1)]).await.unwrap();
    store.close().await.unwrap();
    let mut bytes = fs::read(store.path()).unwrap();
    bytes[4096..].fill(0xff);
    fs::write(store.path(), bytes).unwrap();
    assert!(matches!(
        refused(store.path()).await,
        StoreError::Damaged { .. }
    ));
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_is_named() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let error = Store::open(&file.join("coterie.db")).await.unwrap_err();
    assert!(matches!(&error, StoreError::Folder { path, .. } if *path == file));
    assert!(matches!(
        refused(folder.path()).await,
        StoreError::NoAccess { .. }
    ));
}

#[tokio::test]
async fn a_file_that_cannot_be_written_is_told_from_a_damaged_one() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder).await;
    let options = connect_options(store.path()).read_only(true);
    let refused = sqlx::SqliteConnection::connect_with(&options).await;
    assert!(matches!(
        StoreError::from_sqlx(store.path(), refused.unwrap_err()),
        StoreError::NoAccess { .. }
    ));
}

#[tokio::test]
async fn a_schema_from_another_version_is_refused() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder).await;
    let run = async |sql: &'static str| {
        sqlx::query(sql).execute(&store.pool).await.unwrap();
    };
    run("UPDATE _sqlx_migrations SET checksum = x'00' WHERE version = 1").await;
    assert!(matches!(
        refused(store.path()).await,
        StoreError::Altered { version: 1, .. }
    ));
    run("UPDATE _sqlx_migrations SET version = 9999 WHERE version = 1").await;
    assert!(matches!(
        refused(store.path()).await,
        StoreError::Newer { found: 9999, known, .. } if known < 9999
    ));
}

#[tokio::test]
async fn sessions_are_tagged_alike_as_long_as_there_is_the_store() {
    let (folder, elsewhere) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let request = json!({"model": "coterie", "messages": [{"role": "user", "content": "Why?"}]});
    let request = ChatRequest::parse(request).unwrap();
    let claim = Claim {
        client: None,
        id: Some(b"one".to_vec()),
        sticky: Sticky::On,
    };
    let session = claim.membership(&request).unwrap().key;
    let tag = async |folder: &TempDir| {
        let store = open(folder).await;
        let key = store.session_tag_key().await.unwrap();
        store.close().await.unwrap();
        key.tag(&session)
    };
    let before = tag(&folder).await;
    assert_eq!(before, tag(&folder).await);
    assert_ne!(before, tag(&elsewhere).await);
}

#[tokio::test]
async fn what_questions_cost_is_added_up_by_key_from_a_moment_on() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder).await;
    assert!(store.spent_usd_since(0).await.unwrap().is_empty());
    let by = |key_name: Option<&str>, id: &str, asked_at_ms| {
        let mut outcome = outcome(id, asked_at_ms);
        outcome.ask.key_name = key_name.map(str::to_owned);
        outcome
    };
    let unknown = Outcome {
        cost_usd: None,
        ..by(None, "f", 3000)
    };
    let outcomes = [
        outcome("a", 1000),
        outcome("b", 2000),
        outcome("c", 3000),
        by(Some("team-b"), "d", 3000),
        by(Some("team-c"), "e", 1000),
        unknown,
    ];
    store.write(&outcomes).await.unwrap();
    let spent_usd = store.spent_usd_since(2000).await.unwrap();
    let key = |name: &str| Some(name.to_owned());
    let expected = [(key("team-a"), 0.5), (key("team-b"), 0.25), (None, 0.0)];
    assert_eq!(spent_usd, HashMap::from(expected));
}

mod evidence;
mod labelling;
mod pruning;
mod queries;
mod registry;
mod trials;
mod watched;
