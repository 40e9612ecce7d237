//! The order of tries, before experts that fail as they are told.

use std::time::Duration;

use futures_util::{FutureExt, future::BoxFuture, poll};
use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::json;

use super::*;
use crate::{
    chat::{AnswerHead, FinishReason, Usage},
    config::Timeouts,
};

/// Fails with what it makes; answers where it makes nothing.
struct Failing(fn() -> Option<ExpertError>);

impl Expert for Failing {
    fn answer(&self, _request: Arc<ChatRequest>) -> BoxFuture<'_, Result<Answer, ExpertError>> {
        let head = AnswerHead {
            id: "a".into(),
            model: "m".into(),
            created_s: 1,
        };
        let answer = head.completion("hi", FinishReason::Stop, Usage::default());
        let result = (self.0)().map_or(Ok(Answer::Whole(answer)), Err);
        async { result }.boxed()
    }
}

/// Never answers.
struct Silent;

impl Expert for Silent {
    fn answer(&self, _request: Arc<ChatRequest>) -> BoxFuture<'_, Result<Answer, ExpertError>> {
        std::future::pending().boxed()
    }
}

fn member(id: &str, expert: impl Expert + 'static) -> Member {
    let second = Duration::from_secs(1);
    let limits = Limits {
        concurrent_max: 1,
        queue_max: 0,
        timeouts: Timeouts {
            connect: second,
            first_token: second,
            idle: second,
            total: second,
        },
    };
    let id = ExpertId::new(id);
    Member {
        gate: Gate::new(id.clone(), Arc::new(expert), limits),
        id,
        capabilities: vec![Capability::Chat],
        remote: None,
    }
}

/// Experts that are asked in the order in which they are given.
fn experts(failures: &[fn() -> Option<ExpertError>]) -> Experts {
    let members = failures
        .iter()
        .zip(["a", "b", "c"])
        .map(|(failure, id)| member(id, Failing(*failure)))
        .collect();
    Experts { members }
}

fn request() -> Arc<ChatRequest> {
    let body = json!({"model": "coterie", "messages": [{"role": "user", "content": "hi"}]});
    Arc::new(ChatRequest::parse(body).unwrap())
}

async fn ask(experts: &Experts) -> (Result<Answered, ExpertError>, Vec<Attempt>) {
    let order: Vec<_> = experts.ids().cloned().collect();
    let mut attempts = Vec::new();
    let result = experts.answer(&order, &request(), &mut attempts).await;
    (result, attempts)
}

async fn failure(failures: &[fn() -> Option<ExpertError>]) -> (ExpertError, usize) {
    let (result, attempts) = ask(&experts(failures)).await;
    match result {
        Ok(answered) => panic!("{} answered", answered.expert),
        Err(error) => (error, attempts.len()),
    }
}

fn busy_for(seconds: u64) -> Option<ExpertError> {
    Some(ExpertError::Busy {
        retry_after: Duration::from_secs(seconds),
    })
}

fn failed() -> Option<ExpertError> {
    let detail = "scripted".into();
    Some(ExpertError::Failed { detail })
}

fn unsupported() -> Option<ExpertError> {
    Some(ExpertError::Unsupported {
        what: "tools",
        param: "tools",
    })
}

fn refused() -> Option<ExpertError> {
    let body = json!({"error": {"message": "no"}});
    Some(ExpertError::Refused { status: 400, body })
}

#[tokio::test]
async fn the_first_that_answers_is_told_and_every_try_is_kept() {
    let (result, attempts) = ask(&experts(&[failed, || None, failed])).await;
    assert_eq!(result.ok().unwrap().expert.as_str(), "b");
    let tries: Vec<_> = attempts
        .iter()
        .map(|attempt| (attempt.expert.as_str(), attempt.error.as_deref()))
        .collect();
    assert_eq!(tries, [("a", Some("failed")), ("b", None)]);
    assert!(attempts.iter().all(|attempt| attempt.took.is_some()));
}

#[tokio::test]
async fn a_refusal_is_told_at_once() {
    let (error, tries) = failure(&[refused, || None]).await;
    assert_eq!((error.kind(), tries), ("refused", 1));
}

#[tokio::test]
async fn where_all_fail_the_soonest_hint_is_told_else_the_last_failure() {
    let (error, tries) = failure(&[|| busy_for(9), || busy_for(4), failed]).await;
    assert_eq!(error.retry_after(), Some(Duration::from_secs(4)));
    assert_eq!(tries, 3);

    let unhinted = || Some(ExpertError::RateLimited { retry_after: None });
    assert_eq!(failure(&[unhinted, failed]).await.0.kind(), "failed");
    assert_eq!(
        failure(&[failed, unsupported]).await.0.kind(),
        "unsupported"
    );
}

#[tokio::test]
async fn an_expert_that_holds_no_conversations_is_not_asked() {
    let mut experts = experts(&[|| None]);
    experts.members[0].capabilities = vec![Capability::Embeddings];
    let (result, attempts) = ask(&experts).await;
    assert_eq!(result.err().unwrap().kind(), "unsupported");
    assert!(attempts.is_empty());
}

#[tokio::test]
async fn a_try_that_is_dropped_on_the_way_is_known() {
    let experts = Experts {
        members: vec![member("a", Silent)],
    };
    let mut attempts = Vec::new();
    let (order, request) = ([ExpertId::new("a")], request());
    let mut asking = Box::pin(experts.answer(&order, &request, &mut attempts));
    assert!(poll!(&mut asking).is_pending());
    drop(asking);
    assert_eq!(attempts, [Attempt::begun(ExpertId::new("a"))]);
}

#[test]
fn tries_are_counted_by_expert_and_result() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    metrics::with_local_recorder(&recorder, || {
        runtime.block_on(ask(&experts(&[failed, || None])))
    })
    .0
    .ok()
    .unwrap();
    let page = recorder.handle().render();
    for line in [
        r#"coterie_expert_attempts_total{expert="a",result="failed"} 1"#,
        r#"coterie_expert_attempts_total{expert="b",result="answered"} 1"#,
        r#"coterie_expert_active{expert="a"} 0"#,
    ] {
        assert!(page.contains(line), "no {line} in\n{page}");
    }
}
