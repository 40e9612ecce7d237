//! Answers that are one of a few texts, and the beginnings of prompts that are kept.

use futures_util::StreamExt;
use serde_json::{Value, json};

use super::{
    super::prefix::DECISIONS, generate, request, smollm2, text, tiny_expert, tiny_generator,
};
use crate::expert::{Answer, Call, Expert, ExpertError};

fn among(texts: &[&str]) -> Value {
    json!({"guided_choice": texts})
}

/// A long system message, and a question.
fn keyed(key: Option<&str>, question: &str) -> Value {
    json!({
        "prompt_cache_key": key,
        "guided_choice": ["A", "B", "C"],
        "messages": [
            {"role": "system", "content": "The harbour master counts the boats. ".repeat(3)},
            {"role": "user", "content": question},
        ],
    })
}

#[test]
fn an_answer_is_one_of_the_texts_and_tells_what_it_was_chosen_from() {
    let mut generator = tiny_generator();
    let (pieces, ending) = generate(&mut generator, among(&["Q", "A", "Z"])).unwrap();
    assert!(
        ["Q", "A", "Z"].contains(&pieces.concat().as_str()),
        "{pieces:?}"
    );
    let [token] = &ending.choices[..] else {
        panic!("{ending:?}");
    };
    assert_eq!(token.token, pieces.concat());
    let mass: f64 = token.among.iter().map(|(_, logprob)| logprob.exp()).sum();
    assert!((mass - 1.0).abs() < 1e-6, "{token:?}");
    assert!(token.among.is_sorted_by(|a, b| a.1 >= b.1));
    assert!((token.logprob - token.among[0].1).abs() < f64::EPSILON);
}

#[test]
fn a_text_that_another_begins_with_can_be_said_as_well_as_the_other() {
    let mut generator = tiny_generator();
    let mut said = Vec::new();
    for seed in 0..40 {
        let mut body = among(&["law", "law_old", "math"]);
        body["temperature"] = 2.into();
        body["top_p"] = 1.into();
        body["seed"] = seed.into();
        said.push(text(&mut generator, body));
    }
    said.sort();
    said.dedup();
    assert_eq!(said, ["law", "law_old", "math"]);
}

#[test]
fn what_can_only_be_one_thing_is_certain() {
    let mut generator = tiny_generator();
    let (pieces, ending) = generate(&mut generator, among(&["everything"])).unwrap();
    assert_eq!(pieces.concat(), "everything");
    assert_eq!(ending.choices[0].among, [("everything".to_owned(), 0.0)]);
}

#[test]
fn texts_that_begin_alike_are_told_apart_and_all_of_them_are_certain() {
    let mut generator = tiny_generator();
    let texts = ["law", "lark", "lark_old", "math", "may"];
    let (_, ending) = generate(&mut generator, among(&texts)).unwrap();
    let among = &ending.choices[0].among;
    let mass: f64 = among.iter().map(|(_, logprob)| logprob.exp()).sum();
    assert!((mass - 1.0).abs() < 1e-6, "{among:?}");
    // What two begin with is as likely as both together.
    let of = |text: &str| among.iter().find(|(it, _)| it == text).unwrap().1.exp();
    let (_, ending) = generate(&mut generator, self::among(&["l", "m"])).unwrap();
    let begin = &ending.choices[0].among;
    let l = begin.iter().find(|(it, _)| it == "l").unwrap().1.exp();
    let together = of("law") + of("lark") + of("lark_old");
    assert!((l - together).abs() < 1e-5, "{l} {together}");
}

#[test]
fn a_real_model_chooses_what_is_right() {
    let mut generator = smollm2(None);
    let chosen = text(&mut generator, among(&["cold", "banana", "seven"]));
    assert_eq!(chosen, "cold");
}

#[test]
fn a_kept_beginning_changes_no_number() {
    let mut generator = tiny_generator();
    let cold = generate(&mut generator, keyed(Some("cards"), "Seven?")).unwrap();
    // Another question behind the same beginning, something else altogether, another key: all of them are written where
    // the beginning stood.
    generate(&mut generator, keyed(Some("cards"), "How many, then?")).unwrap();
    generate(&mut generator, json!({})).unwrap();
    generate(&mut generator, keyed(Some("other"), "Eight?")).unwrap();
    assert_eq!(
        generate(&mut generator, keyed(Some("cards"), "Seven?")).unwrap(),
        cold
    );
    let mut fresh = tiny_generator();
    assert_eq!(
        generate(&mut fresh, keyed(Some("cards"), "Seven?")).unwrap(),
        cold
    );
    // Cut at other places the sums differ in their last bits, and in nothing more.
    let (pieces, unkeyed) = generate(&mut generator, keyed(None, "Seven?")).unwrap();
    assert_eq!(pieces, cold.0);
    let difference = unkeyed.choices[0].logprob - cold.1.choices[0].logprob;
    assert!(difference.abs() < 1e-3, "{difference}");
}

#[test]
fn what_is_kept_is_read_once_and_a_question_costs_its_own_tokens() {
    let mut generator = tiny_generator();
    let mut asked = |key, question| {
        let (_, ending) = generate(&mut generator, keyed(key, question)).unwrap();
        let prompt = usize::try_from(ending.usage.prompt_tokens).unwrap();
        (generator.kept_tokens(), prompt)
    };
    assert_eq!(asked(Some("cards"), "Seven?").0, 0);
    let (kept, prompt) = asked(Some("cards"), "How many, then?");
    let own = prompt - kept;
    assert!(kept > 0 && own < kept, "{kept} of {prompt}");
    // Another key has its own, and takes nothing from the first.
    assert_eq!(asked(Some("other"), "Eight?").0, 0);
    assert_eq!(asked(Some("cards"), "Nine?").0, kept);
    // A third makes room for itself.
    assert_eq!(asked(Some("third"), "Ten?").0, 0);
    assert_eq!(asked(Some("other"), "Eleven?").0, 0);
}

#[test]
fn what_decisions_wait_for_is_given_up_last() {
    let mut generator = tiny_generator();
    let decision = format!("{}cards", *DECISIONS);
    let mut kept = |key: &str| {
        generate(&mut generator, keyed(Some(key), "Seven?")).unwrap();
        generator.kept_tokens() > 0
    };
    assert!(!kept(&decision));
    for client in ["a", "b", "c"] {
        assert!(!kept(client));
    }
    assert!(kept(&decision), "clients have their own room");
}

#[test]
fn a_conversation_without_instructions_has_no_beginning_to_keep() {
    let mut generator = tiny_generator();
    let body = json!({"prompt_cache_key": "k", "guided_choice": ["A", "B"]});
    let (_, ending) = generate(&mut generator, body.clone()).unwrap();
    assert_eq!(generate(&mut generator, body).unwrap().1, ending);
}

#[tokio::test]
async fn the_choices_are_told_as_openai_tells_log_probabilities() {
    let expert = tiny_expert(1);
    let call = |body: Value| Call::new(request(body), std::sync::Arc::default());
    let mut body = among(&["A", "B", "C"]);
    body["logprobs"] = true.into();
    body["top_logprobs"] = 2.into();
    let Answer::Whole(whole) = expert.answer(&call(body.clone())).await.unwrap() else {
        panic!("no stream was asked for");
    };
    let told = whole.token_choices().unwrap();
    assert_eq!((told.len(), told[0].among.len()), (1, 2));
    assert_eq!(whole.text(), Some(told[0].token.as_str()));
    body["stream"] = true.into();
    let refused = expert.answer(&call(body)).await;
    assert!(matches!(
        refused,
        Err(ExpertError::Unsupported {
            param: "logprobs",
            ..
        })
    ));
    let mut body = among(&["A", "B"]);
    body["stream"] = true.into();
    let Answer::Stream(chunks) = expert.answer(&call(body)).await.unwrap() else {
        panic!("a stream was asked for");
    };
    let texts = chunks.map(|chunk| chunk.unwrap().text().map(str::to_owned));
    let texts: Vec<Option<String>> = texts.collect().await;
    let said: String = texts.into_iter().flatten().collect();
    assert!(["A", "B"].contains(&said.as_str()), "{said}");
}
