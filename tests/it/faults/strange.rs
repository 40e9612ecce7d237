//! Answers that are whole but not what a reader expects.

use std::error::Error;

use serde_json::Value;

use super::{Bench, Stream, TOKENS_17, plain, streamed};

#[tokio::test]
async fn a_slow_start_and_a_slow_pace_lose_nothing() {
    let bench = Bench::new().await;
    for model in ["slow-start", "slow-start@4", "healthy?pace=2s"] {
        let stream = bench.stream(model).await;
        assert_eq!(stream.text(), TOKENS_17, "{model}");
        assert!(stream.is_done());
        let document = bench.document(&plain(model)).await;
        assert_eq!(document["choices"][0]["message"]["content"], TOKENS_17);
    }
}

#[tokio::test]
async fn one_event_is_no_json() {
    let bench = Bench::new().await;
    let stream = bench.stream("malformed@3").await;
    assert!(serde_json::from_str::<Value>(&stream.data[4]).is_err());
    assert_eq!(stream.objects().count(), stream.data.len() - 2);
    assert_eq!(stream.text(), TOKENS_17);
    let document = bench.ask(&plain("malformed@3")).await;
    assert!(document.json::<Value>().await.unwrap_err().is_decode());
}

#[tokio::test]
async fn a_stream_can_end_without_done() {
    let bench = Bench::new().await;
    let stream = bench.stream("no-done").await;
    assert_eq!(stream.text(), TOKENS_17);
    assert_eq!(stream.finish().as_deref(), Some("stop"));
    assert!(!stream.is_done());

    let stream = bench.stream("no-done@2").await;
    assert_eq!(stream.text(), "alder beech");
    assert_eq!(stream.finish(), None);
    assert!(!stream.is_done());
}

#[tokio::test]
async fn a_stream_can_end_too_early() {
    let bench = Bench::new().await;
    let stream = bench.stream("early-done@2").await;
    assert_eq!((stream.finish(), stream.is_done()), (None, true));
    let stream = bench.stream("refusal-mid@2").await;
    assert_eq!(stream.text(), "alder beech");
    assert_eq!(stream.finish().as_deref(), Some("content_filter"));
    let document = bench.document(&plain("refusal-mid@2")).await;
    assert_eq!(document["usage"]["completion_tokens"], 2);
}

#[tokio::test]
async fn usage_can_be_told_twice() {
    let bench = Bench::new().await;
    let stream = bench.stream("double-usage").await;
    let told = stream.objects().filter(|chunk| chunk["usage"].is_object());
    let told: Vec<_> = told.map(|chunk| chunk["usage"].clone()).collect();
    assert_eq!(told.len(), 2);
    assert_eq!(told[0], told[1]);
    let document = bench
        .ask(&plain("double-usage"))
        .await
        .text()
        .await
        .unwrap();
    assert_eq!(document.matches("\"usage\"").count(), 2);
}

#[tokio::test]
async fn a_tool_is_called_in_deltas() {
    let bench = Bench::new().await;
    let mut body = streamed("tools?tokens=4");
    body["tools"] = serde_json::json!([{"type": "function", "function": {"name": "find"}}]);
    let stream = Stream::of(bench.ask(&body).await.text().await.unwrap());
    let calls: Vec<_> = stream
        .objects()
        .map(|chunk| chunk["choices"][0]["delta"]["tool_calls"][0]["function"].clone())
        .filter(Value::is_object)
        .collect();
    assert_eq!(calls.len(), 5);
    assert_eq!(calls[0]["name"], "find");
    let arguments: String = calls
        .iter()
        .map(|call| call["arguments"].as_str().unwrap())
        .collect();
    assert_eq!(arguments, r#"{"words": "alder beech cedar dogwood"}"#);
    assert_eq!(stream.finish().as_deref(), Some("tool_calls"));

    body["stream"] = false.into();
    let document = bench.document(&body).await;
    let call = &document["choices"][0]["message"]["tool_calls"][0]["function"];
    assert_eq!(call["arguments"], arguments);
}

#[tokio::test]
async fn a_drip_comes_byte_by_byte() {
    let bench = Bench::new().await;
    let (come, _) = bench.raw(&streamed("drip?tokens=2")).await;
    let come = String::from_utf8(come).unwrap();
    let (_, body) = come.split_once("\r\n\r\n").unwrap();
    let sizes: Vec<_> = body.split("\r\n").step_by(2).collect();
    let sizes = sizes.strip_suffix(&["0", ""]).unwrap();
    assert!(sizes.iter().all(|size| *size == "1"));
    assert_eq!(bench.stream("drip").await.text(), TOKENS_17);
    let document = bench.document(&plain("drip@3")).await;
    assert_eq!(document["choices"][0]["message"]["content"], TOKENS_17);
}

#[tokio::test]
async fn characters_are_split_across_chunks_and_whole_in_the_end() {
    let bench = Bench::new().await;
    let mut response = bench.ask(&streamed("split-utf8")).await;
    let (come, _) = bench.raw(&streamed("split-utf8")).await;
    assert!(
        String::from_utf8(come).is_err(),
        "a chunk's end stands within"
    );
    let mut body = Vec::new();
    while let Some(bytes) = response.chunk().await.unwrap() {
        body.extend(bytes);
    }
    let stream = Stream::of(String::from_utf8(body).unwrap());
    assert!(stream.text().contains("東京") && stream.is_done());
    let document = bench.document(&plain("split-utf8")).await;
    let said = document["choices"][0]["message"]["content"].as_str();
    assert_eq!(said, Some(stream.text().as_str()));
}

#[tokio::test]
async fn bytes_can_be_no_utf8() {
    let bench = Bench::new().await;
    for body in [plain("bad-utf8"), streamed("bad-utf8")] {
        let bytes = bench.ask(&body).await.bytes().await.unwrap();
        let error = std::str::from_utf8(&bytes).unwrap_err();
        assert_eq!(bytes[error.valid_up_to()..][..3], *b"\xf0\x9f(");
    }
}

#[tokio::test]
async fn a_page_of_html_is_no_answer() {
    let bench = Bench::new().await;
    for body in [plain("wrong-type"), streamed("wrong-type")] {
        let response = bench.ask(&body).await;
        assert_eq!(response.status(), 200);
        let content_type = response.headers()["content-type"].to_str().unwrap();
        assert!(content_type.starts_with("text/html"));
        assert!(
            response
                .text()
                .await
                .unwrap()
                .starts_with("<!doctype html>")
        );
    }
}

#[tokio::test]
async fn a_body_can_be_compressed_unasked() {
    let bench = Bench::new().await;
    for body in [plain("gzip"), streamed("gzip")] {
        let response = bench.ask(&body).await;
        assert_eq!(response.headers()["content-encoding"], "gzip");
        let bytes = response.bytes().await.unwrap();
        assert_eq!(bytes[..3], [0x1f, 0x8b, 8]);
    }
}

#[tokio::test]
async fn http_1_0_ends_with_the_connection() {
    let bench = Bench::new().await;
    let (come, end) = bench.raw(&streamed("http10")).await;
    assert!(end.is_ok());
    let come = String::from_utf8(come).unwrap();
    assert!(come.starts_with("HTTP/1.0 200 OK\r\n"));
    let head = come.split("\r\n\r\n").next().unwrap();
    assert!(!head.contains("content-length") && !head.contains("transfer-encoding"));
    assert!(come.ends_with("data: [DONE]\n\n"));
    assert_eq!(bench.stream("http10").await.text(), TOKENS_17);
    let document = bench.document(&plain("http10")).await;
    assert_eq!(document["choices"][0]["message"]["content"], TOKENS_17);
}

#[tokio::test]
async fn a_huge_answer_is_announced_and_can_be_left() {
    let bench = Bench::new().await;
    let mut response = bench.ask(&plain("huge")).await;
    assert!(response.content_length().unwrap() > 1_000_000_000);
    response.chunk().await.unwrap().unwrap();
    let mut response = bench.ask(&streamed("huge-event")).await;
    let mut read = 0;
    while read < 10_000_000 {
        read += response.chunk().await.unwrap().unwrap().len();
    }
}

#[tokio::test]
async fn a_huge_answer_has_as_much_text_as_asked_for() {
    let bench = Bench::new().await;
    for (model, events) in [("huge?bytes=100000", 7), ("huge-event?bytes=100000", 1)] {
        let stream = bench.stream(model).await;
        assert_eq!(stream.text().len(), 7 * 16 * 1024);
        assert!(stream.is_done());
        // Around the text: role, finish reason, usage, [DONE].
        assert_eq!(stream.data.len(), 4 + events, "{model}");
        let document = bench.document(&plain(model)).await;
        let said = document["choices"][0]["message"]["content"].as_str();
        assert_eq!(said.unwrap().len(), 7 * 16 * 1024);
    }
}

#[tokio::test]
async fn a_chunked_request_is_understood() {
    let bench = Bench::new().await;
    let body = plain("healthy").to_string().into_bytes();
    let pieces = body
        .chunks(5)
        .map(|piece| Ok::<_, Box<dyn Error + Send + Sync>>(piece.to_vec()));
    let pieces: Vec<_> = pieces.collect();
    let url = format!("{}/chat/completions", bench.server.base_url());
    let body = reqwest::Body::wrap_stream(futures_util::stream::iter(pieces));
    let response = bench.client.post(url).body(body).send().await.unwrap();
    assert_eq!(response.status(), 200);
}
