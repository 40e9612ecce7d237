//! The gate before scripted experts, on a paused clock.

mod queue;

use std::sync::Mutex;

use futures_util::{FutureExt, future::BoxFuture, poll, stream};
use serde_json::json;
use tokio::{
    sync::mpsc,
    time::{advance, sleep},
};
use tokio_stream::wrappers::ReceiverStream;

use super::{begin::PRELUDE_CHUNKS_MAX, *};
use crate::{
    chat::{AnswerHead, ChatRequest, Chunk, Completion, FinishReason, Usage},
    config::{BreakerConfig, Delivery, PolicyRefusals},
    expert::{AnswerStream, Expert},
};

const SECOND: Duration = Duration::from_secs(1);

/// Answers each request with the next of its scripts: a time to wait, then the answer.
struct Scripted(Mutex<Vec<(Duration, Result<Answer, ExpertError>)>>);

impl Expert for Scripted {
    fn answer<'a>(&'a self, _call: &'a Call) -> BoxFuture<'a, Result<Answer, ExpertError>> {
        let (delay, answer) = self.0.lock().unwrap().remove(0);
        async move {
            sleep(delay).await;
            answer
        }
        .boxed()
    }

    fn embed<'a>(
        &'a self,
        _body: &'a Map<String, Value>,
    ) -> BoxFuture<'a, Result<Map<String, Value>, ExpertError>> {
        std::future::pending().boxed()
    }
}

type Scripts = Vec<(Duration, Result<Answer, ExpertError>)>;

fn gate(concurrent_max: usize, queue_max: usize, scripts: Scripts) -> Gate {
    let limits = Limits {
        concurrency: Concurrency::Fixed(concurrent_max),
        queue_max,
        timeouts: Timeouts {
            connect: SECOND,
            first_token: 10 * SECOND,
            idle: 5 * SECOND,
            total: 60 * SECOND,
        },
    };
    let expert: Arc<dyn Expert> = Arc::new(Scripted(Mutex::new(scripts)));
    let pool = Pool::new([(String::new(), expert)], BreakerConfig::default());
    Gate::new(ExpertId::new("scripted"), pool, limits)
}

fn call(stream: bool) -> Call {
    let body = json!({
        "model": "coterie",
        "messages": [{"role": "user", "content": "hi"}],
        "stream": stream,
    });
    let request = Arc::new(ChatRequest::parse(body).unwrap());
    Call::new(request, Arc::default())
}

fn head() -> AnswerHead {
    AnswerHead {
        id: "a".into(),
        model: "scripted".into(),
        created_s: 1,
    }
}

type Piece = (Duration, Result<Chunk, ExpertError>);

/// A stream whose pieces each take their time.
fn stream_of(pieces: Vec<Piece>) -> Answer {
    let pieces = stream::iter(pieces).then(|(delay, piece)| async move {
        sleep(delay).await;
        piece
    });
    Answer::Stream(pieces.boxed())
}

fn whole() -> Answer {
    Answer::Whole(head().completion("hi", FinishReason::Stop, Usage::default()))
}

fn broken() -> ExpertError {
    ExpertError::Broken {
        detail: "scripted".into(),
    }
}

/// Asks, as an attempt in the call's log.
async fn answer(gate: &Gate, call: &Call) -> Result<Answer, ExpertError> {
    let attempt = call.attempts.begin(gate.id.clone(), call.role);
    gate.answer(call, attempt).await
}

async fn begun(gate: &Gate) -> Result<AnswerStream, ExpertError> {
    match answer(gate, &call(true)).await? {
        Answer::Stream(pieces) => Ok(pieces),
        Answer::Whole(completion) => panic!("{completion:?}"),
    }
}

async fn failure(gate: &Gate, stream: bool) -> ExpertError {
    match answer(gate, &call(stream)).await {
        Ok(_) => panic!("it answered"),
        Err(error) => error,
    }
}

fn waited(error: &ExpertError) -> Duration {
    match error {
        ExpertError::TimedOut { waited } => *waited,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_begun_stream_replays_what_came_before_its_first_token() {
    let chunks = [
        head().opening(),
        head().text("hel"),
        head().text("lo"),
        head().finish(FinishReason::Stop),
        head().usage(Usage::default()),
    ];
    let pieces = chunks.clone().map(|chunk| (SECOND, Ok(chunk)));
    let gate = gate(1, 0, vec![(SECOND, Ok(stream_of(pieces.into())))]);

    let started = Instant::now();
    let answer = begun(&gate).await.unwrap();
    assert_eq!(started.elapsed(), 3 * SECOND, "it has read to the token");

    let replayed: Vec<_> = answer.map(Result::unwrap).collect().await;
    assert_eq!(replayed, chunks);
}

#[tokio::test(start_paused = true)]
async fn a_failure_before_the_first_token_is_no_answer() {
    let pieces = vec![(SECOND, Ok(head().opening())), (SECOND, Err(broken()))];
    let gate = gate(1, 0, vec![(SECOND, Ok(stream_of(pieces)))]);
    assert_eq!(failure(&gate, true).await.kind(), "broken");
}

#[tokio::test(start_paused = true)]
async fn a_failure_after_the_first_token_is_the_last_piece() {
    let pieces = vec![
        (SECOND, Ok(head().text("a"))),
        (SECOND, Err(broken())),
        (SECOND, Ok(head().text("b"))),
    ];
    let gate = gate(1, 0, vec![(SECOND, Ok(stream_of(pieces)))]);
    let pieces: Vec<_> = begun(&gate).await.unwrap().collect().await;
    assert!(matches!(
        pieces.as_slice(),
        [Ok(_), Err(ExpertError::Broken { .. })]
    ));
}

#[tokio::test(start_paused = true)]
async fn signs_of_life_do_not_stop_the_clock_of_the_first_token() {
    let pieces = (0..20).map(|_| (SECOND, Ok(head().opening()))).collect();
    let gate = gate(1, 0, vec![(Duration::ZERO, Ok(stream_of(pieces)))]);
    let started = Instant::now();
    assert_eq!(waited(&failure(&gate, true).await), 10 * SECOND);
    assert_eq!(started.elapsed(), 10 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn an_answer_without_a_token_begins_with_its_finish() {
    let pieces = vec![
        (SECOND, Ok(head().finish(FinishReason::Stop))),
        (100 * SECOND, Ok(head().usage(Usage::default()))),
    ];
    let gate = gate(1, 0, vec![(Duration::ZERO, Ok(stream_of(pieces)))]);
    drop(begun(&gate).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn the_prelude_that_is_kept_back_is_bounded() {
    let pieces = (0..=PRELUDE_CHUNKS_MAX)
        .map(|_| (Duration::ZERO, Ok(head().opening())))
        .chain([(100 * SECOND, Ok(head().text("late")))])
        .collect();
    let gate = gate(1, 0, vec![(Duration::ZERO, Ok(stream_of(pieces)))]);
    drop(begun(&gate).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn silence_between_two_tokens_ends_a_stream() {
    let pieces = vec![
        (Duration::ZERO, Ok(head().text("a"))),
        (4 * SECOND, Ok(head().text("b"))),
        (6 * SECOND, Ok(head().text("c"))),
    ];
    let gate = gate(1, 0, vec![(Duration::ZERO, Ok(stream_of(pieces)))]);
    let pieces: Vec<_> = begun(&gate).await.unwrap().collect().await;
    assert_eq!(pieces.len(), 3);
    assert_eq!(waited(pieces[2].as_ref().unwrap_err()), 5 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn chunks_that_say_nothing_do_not_stop_the_clock_between_tokens() {
    let mut pieces = vec![
        (Duration::ZERO, Ok(head().text("a"))),
        (4 * SECOND, Ok(head().opening())),
        // A token begins it anew.
        (SECOND / 2, Ok(head().text("b"))),
    ];
    pieces.extend((0..20).map(|_| (3 * SECOND / 4, Ok(head().opening()))));
    let gate = gate(1, 0, vec![(Duration::ZERO, Ok(stream_of(pieces)))]);
    let started = Instant::now();
    let pieces: Vec<_> = begun(&gate).await.unwrap().collect().await;
    assert_eq!(
        waited(pieces.last().unwrap().as_ref().unwrap_err()),
        5 * SECOND
    );
    assert_eq!(started.elapsed(), 4 * SECOND + SECOND / 2 + 5 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_of_chunks_that_say_nothing_is_not_taken_for_a_silent_expert() {
    let (sender, receiver) = mpsc::channel(4);
    sender.send(Ok(head().text("a"))).await.unwrap();
    let answer = Answer::Stream(ReceiverStream::new(receiver).boxed());
    let gate = gate(1, 0, vec![(Duration::ZERO, Ok(answer))]);
    let mut pieces = begun(&gate).await.unwrap();
    pieces.next().await.unwrap().unwrap();
    for _ in 0..3 {
        assert!(poll!(pieces.next()).is_pending());
        sender.send(Ok(head().opening())).await.unwrap();
        advance(30 * SECOND / 4).await;
        pieces.next().await.unwrap().unwrap();
    }
    sender.send(Ok(head().text("b"))).await.unwrap();
    assert_eq!(pieces.next().await.unwrap().unwrap().text(), Some("b"));
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_is_not_taken_for_a_silent_expert() {
    let (sender, receiver) = mpsc::channel(2);
    for text in ["a", "b"] {
        sender.send(Ok(head().text(text))).await.unwrap();
    }
    let answer = Answer::Stream(ReceiverStream::new(receiver).boxed());
    let gate = gate(1, 0, vec![(Duration::ZERO, Ok(answer))]);
    let mut pieces = begun(&gate).await.unwrap();
    pieces.next().await.unwrap().unwrap();
    advance(30 * SECOND).await;
    assert_eq!(pieces.next().await.unwrap().unwrap().text(), Some("b"));
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_comes_back_late_gets_what_has_come() {
    let (sender, receiver) = mpsc::channel(2);
    sender.send(Ok(head().text("a"))).await.unwrap();
    let answer = Answer::Stream(ReceiverStream::new(receiver).boxed());
    let gate = gate(1, 0, vec![(Duration::ZERO, Ok(answer))]);
    let mut pieces = begun(&gate).await.unwrap();
    pieces.next().await.unwrap().unwrap();
    assert!(poll!(pieces.next()).is_pending());
    sender.send(Ok(head().text("b"))).await.unwrap();
    advance(30 * SECOND).await;
    assert_eq!(pieces.next().await.unwrap().unwrap().text(), Some("b"));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_a_filter_ends_before_it_begins_is_a_refusal_where_those_are_rerouted() {
    let filtered = |field: &str| {
        let choice = json!({"index": 0, field: {"content": ""}, "finish_reason": "content_filter"});
        json!({"choices": [choice]}).as_object().cloned().unwrap()
    };
    let scripts = || {
        let chunk = Chunk::from_object(filtered("delta"));
        let whole = Completion::from_object(filtered("message"));
        vec![
            (
                Duration::ZERO,
                Ok(stream_of(vec![(Duration::ZERO, Ok(chunk))])),
            ),
            (Duration::ZERO, Ok(Answer::Whole(whole))),
        ]
    };
    let told = gate(1, 0, scripts());
    let rerouted = gate(1, 0, scripts());
    for streamed in [true, false] {
        assert!(answer(&told, &call(streamed)).await.is_ok());
        let reroute = Delivery {
            policy_refusals: PolicyRefusals::Reroute,
            ..Delivery::default()
        };
        let call = Call {
            delivery: Arc::new(reroute),
            ..call(streamed)
        };
        let error = answer(&rerouted, &call).await.err().unwrap();
        assert_eq!(error.kind(), "policy_refused");
    }
}

#[tokio::test(start_paused = true)]
async fn an_endless_stream_ends_with_the_clock_for_the_whole() {
    let pieces = (0..100).map(|_| (SECOND, Ok(head().text("a")))).collect();
    let gate = gate(1, 0, vec![(Duration::ZERO, Ok(stream_of(pieces)))]);
    let started = Instant::now();
    let pieces: Vec<_> = begun(&gate).await.unwrap().collect().await;
    assert_eq!(started.elapsed(), 60 * SECOND);
    let last = pieces.last().unwrap().as_ref().unwrap_err();
    assert_eq!(waited(last), 60 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_whole_answer_has_the_clock_for_the_whole() {
    let scripts = vec![(50 * SECOND, Ok(whole())), (61 * SECOND, Ok(whole()))];
    let gate = gate(1, 0, scripts);
    answer(&gate, &call(false)).await.unwrap();
    assert_eq!(waited(&failure(&gate, false).await), 60 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn waiting_for_a_seat_does_not_count_as_the_experts_time() {
    let slow_token = || stream_of(vec![(9 * SECOND, Ok(head().text("a")))]);
    let scripts = vec![
        (Duration::ZERO, Ok(slow_token())),
        (Duration::ZERO, Ok(slow_token())),
    ];
    let gate = gate(1, 1, scripts);
    let one = async { begun(&gate).await.unwrap().count().await };
    let other = async { begun(&gate).await.unwrap().count().await };
    assert_eq!(tokio::join!(one, other), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_wait_for_a_seat_is_as_long_as_an_answer_at_most() {
    let pieces = vec![(Duration::ZERO, Ok(head().text("a")))];
    let gate = gate(1, 1, vec![(Duration::ZERO, Ok(stream_of(pieces)))]);
    let _never_read = begun(&gate).await.unwrap();
    assert_eq!(failure(&gate, true).await.kind(), "busy");
}

#[tokio::test(start_paused = true)]
async fn a_seat_is_held_until_its_stream_ends_or_is_dropped() {
    let one_token = || stream_of(vec![(Duration::ZERO, Ok(head().text("a")))]);
    let scripts = (0..3).map(|_| (Duration::ZERO, Ok(one_token()))).collect();
    let gate = gate(1, 0, scripts);

    let dropped = begun(&gate).await.unwrap();
    assert_eq!(failure(&gate, true).await.kind(), "busy");
    drop(dropped);

    let mut ended = begun(&gate).await.unwrap();
    ended.next().await.unwrap().unwrap();
    assert_eq!(failure(&gate, true).await.kind(), "busy");
    assert!(ended.next().await.is_none());
    drop(begun(&gate).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn embeddings_take_a_seat_and_have_the_clock_for_the_whole() {
    let gate = gate(1, 0, Vec::new());
    let (body, tried) = (Map::new(), Tried::default());
    let mut running = Box::pin(gate.embed(&body, &tried));
    assert!(poll!(&mut running).is_pending());
    assert_eq!(failure(&gate, false).await.kind(), "busy");
    assert_eq!(waited(&running.await.unwrap_err()), 60 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn the_deadline_of_a_question_bounds_its_answer() {
    let pieces = (0..100).map(|_| (SECOND, Ok(head().text("a")))).collect();
    let gate = gate(1, 0, vec![(Duration::ZERO, Ok(stream_of(pieces)))]);
    let started = Instant::now();
    let call = Call {
        deadline: Some(started + 7 * SECOND),
        ..call(true)
    };
    let Answer::Stream(pieces) = answer(&gate, &call).await.unwrap() else {
        panic!("it streams")
    };
    let last = pieces.map(|piece| piece.err()).collect::<Vec<_>>().await;
    assert_eq!(started.elapsed(), 7 * SECOND);
    let last = last.last().unwrap().as_ref().unwrap();
    assert_eq!(last.kind(), "out_of_time");
    assert!(!last.class().blames_the_endpoint());
}

#[tokio::test(start_paused = true)]
async fn an_expert_that_fails_is_left_alone_and_nobody_waits_for_it() {
    let mut scripts: Scripts = (0..5).map(|_| (SECOND, Err(broken()))).collect();
    scripts.push((SECOND, Ok(whole())));
    let gate = gate(1, 4, scripts);
    for _ in 0..5 {
        assert_eq!(failure(&gate, false).await.kind(), "broken");
    }
    let error = failure(&gate, false).await;
    assert_eq!(error.kind(), "circuit_open");
    advance(error.retry_after().unwrap()).await;
    answer(&gate, &call(false)).await.unwrap();
    assert_eq!(gate.closed_for(), None);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_breaks_off_counts_as_a_failure_and_one_that_ends_does_not() {
    let cut = || {
        stream_of(vec![
            (SECOND, Ok(head().text("a"))),
            (SECOND, Err(broken())),
        ])
    };
    let scripts = (0..5).map(|_| (SECOND, Ok(cut()))).collect();
    let gate = gate(1, 0, scripts);
    for _ in 0..5 {
        assert_eq!(gate.closed_for(), None);
        assert_eq!(begun(&gate).await.unwrap().count().await, 2);
    }
    assert!(gate.closed_for().is_some());
}
