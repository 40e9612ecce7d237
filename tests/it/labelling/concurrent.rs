//! How many questions a judge is asked at once.

use std::time::Duration;

use coterie::learning::Origin;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{House, text};
use crate::support::upstream::{Hold, Reply, Upstream, raw};

/// How long is waited for a question too many.
const ONE_TOO_MANY_WITHIN: Duration = Duration::from_millis(300);

#[tokio::test(flavor = "multi_thread")]
async fn a_judge_is_asked_as_many_questions_at_once_as_was_said_and_never_one_more() {
    const AT_ONCE: usize = 3;
    const QUESTIONS: usize = 8;
    let hold = Hold::new();
    let said = json!({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "far",
        "choices": [{
            "index": 0,
            "message": {"role": "assistant", "content": "<category>legal</category>"},
            "finish_reason": "stop",
        }],
    });
    let reply = Reply::stream([hold.wait(), raw(said.to_string())]);
    let upstream = Upstream::always(reply).await;
    let house = House::new(upstream.base_url().as_str()).await;
    let questions: Vec<String> = (0..QUESTIONS).map(|at| format!("Question {at}?")).collect();
    house.asked(questions.iter().map(String::as_str)).await;

    let at_once = AT_ONCE.to_string();
    let args = ["--judge", "gpt", "--concurrent", &at_once, "--json"];
    let judging = house.command(&args).spawn().unwrap();
    // Nothing is answered before so many are asked: whoever asks fewer at once never comes to that.
    upstream.asked(AT_ONCE).await;
    let one_too_many = timeout(ONE_TOO_MANY_WITHIN, upstream.asked(AT_ONCE + 1)).await;
    assert!(one_too_many.is_err(), "{AT_ONCE} are unanswered");
    for answered in 1..=QUESTIONS - AT_ONCE {
        hold.release();
        upstream.asked(AT_ONCE + answered).await;
        let unanswered = upstream.requests().len() - answered;
        assert_eq!(unanswered, AT_ONCE, "after {answered} answers");
    }
    for _the_last in 0..AT_ONCE {
        hold.release();
    }

    let output = judging.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&told["asked"], &told["labelled"]),
        (&json!(QUESTIONS), &json!(QUESTIONS)),
        "{told:#}"
    );
    assert_eq!(upstream.requests().len(), QUESTIONS);
    for question in &questions {
        assert_eq!(house.labels(question, Origin::Judge).await, ["legal"]);
    }
}
