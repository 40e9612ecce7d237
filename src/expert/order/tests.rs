//! Who is asked, how often and after which wait, before experts that fail as they are told; on a paused clock.

use std::{sync::Mutex, time::Duration};

use futures_util::{
    FutureExt, StreamExt,
    future::{BoxFuture, join_all},
    poll, stream,
};
use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::json;

use super::*;
use crate::{
    chat::{AnswerHead, ChatRequest, FinishReason, Usage},
    config::{Capability, Delivery, PolicyRefusals},
    expert::{Attempt, Expert, Refused, Role},
};

const SECOND: Duration = Duration::from_secs(1);

/// What an expert does when it is asked: answers or fails, at once or after a while.
#[derive(Clone)]
pub(in crate::expert) enum Does {
    Answers,
    AnswersAfter(Duration),
    Fails(fn() -> ExpertError),
    FailsAfter(Duration, fn() -> ExpertError),
    Never,
}

/// Does one thing after another; the last for ever.
struct Scripted(Mutex<Vec<Does>>);

impl Scripted {
    fn next(&self) -> Does {
        let mut script = self.0.lock().unwrap();
        if script.len() > 1 {
            script.remove(0)
        } else {
            script[0].clone()
        }
    }
}

impl Expert for Scripted {
    fn answer<'a>(&'a self, call: &'a Call) -> BoxFuture<'a, Result<Answer, ExpertError>> {
        let does = self.next();
        async move {
            match does {
                Does::Answers => Ok(answer(call)),
                Does::AnswersAfter(time) => {
                    sleep(time).await;
                    Ok(answer(call))
                }
                Does::Fails(error) => Err(error()),
                Does::FailsAfter(time, error) => {
                    sleep(time).await;
                    Err(error())
                }
                Does::Never => std::future::pending().await,
            }
        }
        .boxed()
    }
}

fn answer(call: &Call) -> Answer {
    let head = AnswerHead {
        id: "a".into(),
        model: "m".into(),
        created_s: 1,
    };
    if !call.request.stream {
        return Answer::Whole(head.completion("hi", FinishReason::Stop, Usage::default()));
    }
    let chunks = [head.text("hi"), head.finish(FinishReason::Stop)];
    Answer::Stream(stream::iter(chunks.map(Ok)).boxed())
}

fn member(id: &str, script: &[Does]) -> Member {
    Member::scripted(id, Arc::new(Scripted(Mutex::new(script.to_vec()))))
}

/// Experts that are asked in the order in which they are given.
fn experts(scripts: &[&[Does]]) -> Arc<Experts> {
    let members = scripts.iter().zip(["a", "b", "c"]);
    let members = members.map(|(script, id)| member(id, script)).collect();
    Arc::new(Experts { members })
}

fn call(delivery: Delivery) -> Call {
    let body = json!({"model": "coterie", "messages": [{"role": "user", "content": "hi"}]});
    let request = Arc::new(ChatRequest::parse(body).unwrap());
    Call::new(request, Arc::new(delivery))
}

fn tries(call: &Call) -> Vec<(String, Option<String>)> {
    let (attempts, _) = call.attempts.snapshot();
    let tried = |attempt: Attempt| (attempt.expert.to_string(), attempt.error);
    attempts.into_iter().map(tried).collect()
}

/// Who answered or why nobody did, and the experts that were asked, each with its error.
async fn ask(
    experts: &Arc<Experts>,
    delivery: Delivery,
) -> (Result<String, ExpertError>, Vec<(String, Option<String>)>) {
    let call = call(delivery);
    let order: Vec<_> = experts.ids().cloned().collect();
    let answered = experts.answer(&order, &call).await;
    (answered.map(|it| it.expert.to_string()), tries(&call))
}

/// The same in short: `a:failed a:failed b`.
async fn told(scripts: &[&[Does]]) -> (String, Result<String, &'static str>) {
    let (answered, tries) = ask(&experts(scripts), Delivery::default()).await;
    let tries = tries.iter().map(|(expert, error)| match error {
        Some(error) => format!("{expert}:{error}"),
        None => expert.clone(),
    });
    let tries: Vec<_> = tries.collect();
    (tries.join(" "), answered.map_err(|error| error.kind()))
}

fn failed() -> ExpertError {
    ExpertError::Failed {
        detail: "x".into(),
        retry_after: None,
    }
}

fn limited(seconds: Option<u64>) -> ExpertError {
    ExpertError::RateLimited {
        retry_after: seconds.map(Duration::from_secs),
    }
}

fn refused(why: Refused) -> ExpertError {
    let body = json!({"error": {"message": "no"}});
    let status = 400;
    ExpertError::Refused { status, body, why }
}

fn timed_out() -> ExpertError {
    ExpertError::TimedOut { waited: SECOND }
}

const FAILS: Does = Does::Fails(failed);

#[tokio::test(start_paused = true)]
async fn a_passing_fault_is_tried_again_here_and_a_lasting_one_goes_to_the_next() {
    for (scripts, tries, answered) in [
        (&[&[FAILS, Does::Answers][..]][..], "a:failed a", Ok("a")),
        (
            &[&[FAILS], &[Does::Answers]],
            "a:failed a:failed a:failed b",
            Ok("b"),
        ),
        (&[&[FAILS]], "a:failed a:failed a:failed", Err("failed")),
        (
            &[&[Does::Fails(|| limited(None))], &[Does::Answers]],
            "a:rate_limited a:rate_limited a:rate_limited b",
            Ok("b"),
        ),
    ] {
        let (found, result) = told(scripts).await;
        assert_eq!(found, tries);
        assert_eq!(result, answered.map(str::to_owned));
    }
}

#[tokio::test(start_paused = true)]
async fn the_class_of_an_error_decides_who_is_asked_next() {
    for (error, tries, answered) in [
        (timed_out as fn() -> ExpertError, "a:timed_out b", Ok("b")),
        (|| refused(Refused::Us), "a:authentication b", Ok("b")),
        (|| refused(Refused::Length), "a:context_too_long b", Ok("b")),
        (|| refused(Refused::Request), "a:refused", Err("refused")),
        (
            || refused(Refused::ByPolicy),
            "a:policy_refused",
            Err("policy_refused"),
        ),
    ] {
        let (found, result) = told(&[&[Does::Fails(error)], &[Does::Answers]]).await;
        assert_eq!(found, tries);
        assert_eq!(result, answered.map(str::to_owned));
    }
}

#[tokio::test(start_paused = true)]
async fn a_route_may_have_refusals_by_policy_rerouted() {
    let experts = experts(&[
        &[Does::Fails(|| refused(Refused::ByPolicy))],
        &[Does::Answers],
    ]);
    let delivery = Delivery {
        policy_refusals: PolicyRefusals::Reroute,
        ..Delivery::default()
    };
    assert_eq!(ask(&experts, delivery).await.0.ok().as_deref(), Some("b"));
}

#[tokio::test(start_paused = true)]
async fn too_long_a_conversation_goes_to_an_expert_that_reads_more() {
    let too_long = Does::Fails(|| refused(Refused::Length));
    let mut members = vec![
        member("a", &[too_long]),
        member("b", &[Does::Answers]),
        member("c", &[Does::Answers]),
    ];
    members[0].context_tokens = Some(8000);
    members[1].context_tokens = Some(4000);
    members[2].context_tokens = Some(32_000);
    let experts = Arc::new(Experts { members });
    let (answered, tries) = ask(&experts, Delivery::default()).await;
    assert_eq!(answered.ok().as_deref(), Some("c"));
    assert_eq!(tries.len(), 2, "{tries:?}");
}

#[tokio::test(start_paused = true)]
async fn a_short_pause_is_waited_for_and_a_long_one_goes_to_the_next() {
    let started = Instant::now();
    let pauses = [Does::Fails(|| limited(Some(1))), Does::Answers];
    let (tries, _) = told(&[&pauses, &[Does::Answers]]).await;
    assert_eq!(tries, "a:rate_limited a");
    assert!(started.elapsed() >= SECOND && started.elapsed() < 2 * SECOND);

    let started = Instant::now();
    let pauses = [Does::Fails(|| limited(Some(7))), Does::Answers];
    let (tries, _) = told(&[&pauses, &[Does::Answers]]).await;
    assert_eq!(tries, "a:rate_limited b");
    assert_eq!(started.elapsed(), Duration::ZERO, "nobody waited");
}

#[tokio::test(start_paused = true)]
async fn where_nobody_else_can_be_asked_a_longer_pause_is_waited_for_up_to_its_cap() {
    let started = Instant::now();
    let pauses = [Does::Fails(|| limited(Some(7))), Does::Answers];
    let fails = Does::Fails(timed_out);
    let (tries, result) = told(&[&pauses, &[fails]]).await;
    assert_eq!(tries, "a:rate_limited b:timed_out a");
    assert!(result.is_ok());
    assert!(started.elapsed() >= 7 * SECOND && started.elapsed() < 8 * SECOND);

    let started = Instant::now();
    let (tries, result) = told(&[&[Does::Fails(|| limited(Some(60)))]]).await;
    assert_eq!(
        (tries.as_str(), result),
        ("a:rate_limited", Err("rate_limited"))
    );
    assert_eq!(started.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn all_who_were_told_to_wait_are_answered_when_the_pause_is_over() {
    let mut script = vec![Does::FailsAfter(SECOND, || limited(Some(1))); 8];
    script.push(Does::AnswersAfter(SECOND));
    let experts = experts(&[&script]);
    let asked = (0..8).map(|_| ask(&experts, Delivery::default()));
    for (answered, tries) in join_all(asked).await {
        assert!(answered.is_ok(), "{tries:?}");
        assert_eq!(tries.len(), 2, "{tries:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_comes_during_a_short_pause_waits_for_its_end() {
    let experts = experts(&[&[Does::Fails(|| limited(Some(5))), Does::Answers]]);
    let once = Delivery {
        retries_max: Some(0),
        ..Delivery::default()
    };
    ask(&experts, once).await.0.unwrap_err();
    let (answered, tries) = ask(&experts, Delivery::default()).await;
    assert_eq!(answered.ok().as_deref(), Some("a"));
    let circuit_open = Some("circuit_open".to_owned());
    assert_eq!(tries, [("a".into(), circuit_open), ("a".into(), None)]);
}

#[tokio::test(start_paused = true)]
async fn who_has_become_slow_is_asked_last_and_all_the_same() {
    let mut script = vec![Does::AnswersAfter(SECOND / 10); 30];
    script.push(Does::AnswersAfter(8 * SECOND));
    let experts = experts(&[&script, &[Does::Answers, Does::Fails(timed_out)]]);
    let order: Vec<_> = experts.ids().cloned().collect();
    let mut body = call(Delivery::default()).request.body.clone();
    body.insert("stream".into(), true.into());
    let request = Arc::new(ChatRequest::parse(body.into()).unwrap());
    let mut questions = 0;
    loop {
        let call = Call::new(Arc::clone(&request), Arc::default());
        let answered = experts.answer(&order, &call).await.ok().unwrap();
        if answered.expert.as_str() == "b" {
            assert_eq!(tries(&call).len(), 1, "nobody asked the slow one");
            break;
        }
        questions += 1;
        assert!(questions < 60, "it was never found slow");
    }
    let call = Call::new(request, Arc::default());
    assert!(experts.answer(&order, &call).await.is_ok());
    let timed_out = Some("timed_out".to_owned());
    assert_eq!(tries(&call), [("b".into(), timed_out), ("a".into(), None)]);
}

#[tokio::test(start_paused = true)]
async fn of_all_failures_the_soonest_hint_is_told_else_the_last() {
    let limits: [fn() -> ExpertError; 2] = [|| limited(Some(90)), || limited(Some(40))];
    let experts = experts(&[
        &[Does::Fails(limits[0])],
        &[Does::Fails(limits[1])],
        &[Does::Fails(timed_out)],
    ]);
    let (error, _) = ask(&experts, Delivery::default()).await;
    assert_eq!(error.unwrap_err().retry_after(), Some(40 * SECOND));
    let (_, error) = told(&[&[FAILS], &[Does::Fails(timed_out)]]).await;
    assert_eq!(error, Err("timed_out"));
}

#[tokio::test(start_paused = true)]
async fn an_outage_does_not_multiply_the_load() {
    let experts = experts(&[&[FAILS], &[Does::Answers]]);
    let (mut asked, questions) = (0, 200);
    for _ in 0..questions {
        let (answered, tries) = ask(&experts, Delivery::default()).await;
        assert!(answered.is_ok());
        asked += tries
            .iter()
            .filter(|(expert, error)| expert == "a" && error.as_deref() == Some("failed"))
            .count();
        tokio::time::advance(SECOND / 10).await;
    }
    // Twenty seconds: five failures open the breaker, then single probes.
    assert!(asked < 15, "{asked}");
}

#[tokio::test(start_paused = true)]
async fn while_it_is_left_alone_the_question_goes_straight_to_the_next_and_comes_back_later() {
    let mut script = vec![FAILS; 5];
    script.push(Does::Answers);
    let experts = experts(&[&script, &[Does::Answers]]);
    for _ in 0..2 {
        ask(&experts, Delivery::default()).await.0.ok().unwrap();
    }
    let (_, tries) = ask(&experts, Delivery::default()).await;
    let circuit_open = Some("circuit_open".to_owned());
    assert_eq!(tries, [("a".into(), circuit_open), ("b".into(), None)]);
    assert_eq!(experts.resting().len(), 1);
    tokio::time::advance(30 * SECOND).await;
    let (answered, _) = ask(&experts, Delivery::default()).await;
    assert_eq!(answered.ok().as_deref(), Some("a"));
    assert!(experts.resting().is_empty());
}

#[tokio::test(start_paused = true)]
async fn nobody_is_asked_after_the_deadline() {
    let experts = experts(&[&[Does::Never], &[Does::Never], &[Does::Answers]]);
    let call = Call {
        deadline: Some(Instant::now() + 15 * SECOND),
        ..call(Delivery::default())
    };
    let order: Vec<_> = experts.ids().cloned().collect();
    let error = experts.answer(&order, &call).await.err().unwrap();
    assert_eq!(error.kind(), "out_of_time");
    // Whole answers have all the time there is: the first expert used it up.
    assert_eq!(tries(&call).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_expert_that_holds_no_conversations_is_not_asked() {
    let mut only = member("a", &[Does::Answers]);
    only.capabilities = vec![Capability::Embeddings];
    let experts = Arc::new(Experts {
        members: vec![only],
    });
    let (answered, tries) = ask(&experts, Delivery::default()).await;
    assert_eq!(answered.unwrap_err().kind(), "unsupported");
    assert!(tries.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_try_that_is_dropped_on_the_way_is_known() {
    let experts = experts(&[&[Does::Never]]);
    let call = call(Delivery::default());
    let order = [ExpertId::new("a")];
    let mut asking = Box::pin(experts.answer(&order, &call));
    assert!(poll!(&mut asking).is_pending());
    drop(asking);
    let (attempts, answering) = call.attempts.snapshot();
    let sent = Attempt {
        sent: true,
        ..Attempt::begun(ExpertId::new("a"), Role::Answer)
    };
    assert_eq!((attempts, answering), (vec![sent], None));
}

/// Experts of which the first is known to answer within a second.
async fn known(then: Does, next: &[Does]) -> Arc<Experts> {
    known_with(0.1, then, next).await
}

async fn known_with(share: f64, then: Does, next: &[Does]) -> Arc<Experts> {
    let mut script = vec![Does::AnswersAfter(SECOND); 30];
    script.push(then);
    let experts = experts(&[&script, next]);
    for _ in 0..30 {
        assert!(ask(&experts, hedging(share)).await.0.is_ok());
    }
    experts
}

fn hedging(share: f64) -> Delivery {
    Delivery {
        hedge_share: Some(share),
        ..Delivery::default()
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_expert_is_asked_where_the_first_is_slower_than_usual() {
    let experts = known(Does::Never, &[Does::AnswersAfter(SECOND)]).await;
    let started = Instant::now();
    let (answered, tries) = ask(&experts, hedging(0.1)).await;
    assert_eq!(answered.ok().as_deref(), Some("b"));
    assert_eq!(started.elapsed(), 2 * SECOND);
    let outrun = Some("outrun".to_owned());
    assert_eq!(tries, [("a".into(), outrun), ("b".into(), None)]);
    assert_eq!(
        experts.all_health()[0].endpoints[0].under_way,
        0,
        "cancelled"
    );
}

#[tokio::test(start_paused = true)]
async fn the_first_may_still_be_faster_and_a_hedge_that_fails_leaves_it_to_the_first() {
    for next in [Does::Never, Does::Fails(timed_out)] {
        let experts = known(Does::AnswersAfter(3 * SECOND), &[next]).await;
        let (answered, tries) = ask(&experts, hedging(0.1)).await;
        assert_eq!(answered.ok().as_deref(), Some("a"));
        assert_eq!(tries.len(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn hedges_keep_to_their_share_and_are_off_by_default() {
    let (slow, next) = (Does::AnswersAfter(3 * SECOND), [Does::AnswersAfter(SECOND)]);
    for (share, hedged) in [(0.04, 1), (0.01, 0)] {
        let experts = known_with(share, slow.clone(), &next).await;
        let mut found = 0;
        for _ in 0..3 {
            let (_, tries) = ask(&experts, hedging(share)).await;
            found += tries.len() - 1;
        }
        assert_eq!(found, hedged, "of thirty-three questions, at {share}");
    }
    let experts = known(slow, &next).await;
    let (_, tries) = ask(&experts, Delivery::default()).await;
    assert_eq!(tries.len(), 1);
}

#[test]
fn tries_are_counted_by_expert_and_result() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    metrics::with_local_recorder(&recorder, || {
        let experts = experts(&[&[FAILS], &[Does::Answers]]);
        runtime.block_on(ask(&experts, Delivery::default()))
    })
    .0
    .unwrap();
    let page = recorder.handle().render();
    for line in [
        r#"coterie_expert_attempts_total{expert="a",result="failed"} 3"#,
        r#"coterie_expert_attempts_total{expert="b",result="answered"} 1"#,
        r#"coterie_expert_retries_total{expert="a"} 2"#,
        r#"coterie_expert_active{expert="a"} 0"#,
    ] {
        assert!(page.contains(line), "no {line} in\n{page}");
    }
}
