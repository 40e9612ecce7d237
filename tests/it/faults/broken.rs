//! Refusals, connections that break, and silences.

use std::io::ErrorKind;

use coterie::fault::{FaultServer, Options};
use serde_json::Value;
use tokio::{
    io::AsyncReadExt,
    net::TcpListener,
    time::{Duration, timeout},
};

use super::{Bench, HUNG, Stream, begun, plain, reason, streamed};

/// Long enough to see that nothing comes; nothing depends on its length.
const QUIET: Duration = Duration::from_millis(50);

#[tokio::test]
async fn what_strikes_once_is_healthy_afterwards() {
    let bench = Bench::new().await;
    let response = bench.ask(&plain("rate-limit-once?after=3")).await;
    assert_eq!(response.status(), 429);
    assert_eq!(response.headers()["retry-after"], "3");
    assert_eq!(bench.status("rate-limit-once?after=3").await, 200);

    assert_eq!(bench.status("error-once").await, 500);
    assert_eq!(bench.status("error-once").await, 200);
    assert_eq!(bench.status("error-once#other").await, 500);
    for status in [503, 503, 200] {
        assert_eq!(bench.status("overloaded?times=2").await, status);
    }
}

#[tokio::test]
async fn what_strikes_for_ever_does() {
    let bench = Bench::new().await;
    for (model, status, code) in [
        ("rate-limit", 429, "rate_limit_exceeded"),
        ("overloaded", 503, "overloaded"),
        ("context", 400, "context_length_exceeded"),
        ("filter", 400, "content_filter"),
        ("auth", 401, "invalid_api_key"),
    ] {
        for _request in 0..3 {
            let response = bench.ask(&streamed(model)).await;
            assert_eq!(response.status(), status, "{model}");
            assert!(!response.headers().contains_key("retry-after"), "{model}");
            let error: Value = response.json().await.unwrap();
            assert_eq!(error["error"]["code"], code);
        }
    }
}

#[tokio::test]
async fn retry_after_can_be_a_date() {
    let bench = Bench::new().await;
    let response = bench.ask(&plain("rate-limit?after=60&date")).await;
    let date = response.headers()["retry-after"].to_str().unwrap();
    assert!(httpdate::parse_http_date(date).is_ok(), "{date}");
}

#[tokio::test]
async fn a_provider_that_is_down_comes_back() {
    // A thousandth of a minute is over soon; of the whole minute nobody sees the end.
    let bench = Bench::new().await;
    assert_eq!(bench.status("down").await, 503);
    timeout(HUNG, async { while bench.status("down").await != 200 {} })
        .await
        .unwrap();
    assert_eq!(bench.status("down").await, 200);

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let unscaled = Bench {
        server: FaultServer::start(listener, Options::default()).unwrap(),
        client: bench.client,
    };
    for _request in 0..5 {
        assert_eq!(unscaled.status("down").await, 503);
    }
}

#[tokio::test]
async fn a_prefill_is_rejected() {
    let bench = Bench::new().await;
    for model in ["reject-prefill", "healthy?prefill=reject"] {
        assert_eq!(bench.status(model).await, 200);
        let response = bench.ask(&begun(streamed(model), "alder")).await;
        assert_eq!(response.status(), 400);
        let error: Value = response.json().await.unwrap();
        assert_eq!(error["error"]["type"], "invalid_request_error");
        let message = error["error"]["message"].as_str().unwrap();
        assert!(message.contains("prefill"), "{message}");
    }
}

#[tokio::test]
async fn a_reset_is_a_reset_and_a_close_is_none() {
    let bench = Bench::new().await;
    for body in [plain("reset"), streamed("reset")] {
        let (come, end) = bench.raw(&body).await;
        assert!(come.is_empty());
        assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
        let error = bench.try_ask(&body).await.unwrap_err();
        assert_eq!(reason(&error), Some(ErrorKind::ConnectionReset));
    }
    for body in [plain("close"), streamed("close")] {
        let (come, end) = bench.raw(&body).await;
        assert!(come.is_empty() && end.is_ok());
        assert!(bench.try_ask(&body).await.is_err());
    }
}

#[tokio::test]
async fn a_reset_can_come_at_any_token() {
    let bench = Bench::new().await;
    for position in [1, 5, 17] {
        let model = format!("reset@{position}");
        let (come, end) = bench.raw(&streamed(&model)).await;
        assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
        let events = String::from_utf8(come).unwrap().matches("data: ").count();
        assert_eq!(events, 1 + position);
    }
}

#[tokio::test]
async fn a_cut_stream_has_no_last_chunk() {
    let bench = Bench::new().await;
    for position in [0, 1, 9, 17] {
        let model = format!("cut@{position}");
        let (come, end) = bench.raw(&streamed(&model)).await;
        assert!(end.is_ok(), "it is closed, not reset");
        assert!(!come.ends_with(b"0\r\n\r\n"));

        let (come, error) = bench.broken(&streamed(&model)).await;
        assert!(error.is_body() || error.is_decode(), "{error:?}");
        let stream = Stream::of(String::from_utf8(come).unwrap());
        assert_eq!(stream.text().split_whitespace().count(), position);
        assert_eq!(stream.finish(), None);
    }
}

#[tokio::test]
async fn a_cut_document_is_shorter_than_it_says() {
    let bench = Bench::new().await;
    for (model, said) in [
        ("cut@0", "\"content\":\""),
        ("cut@2", "\"content\":\"alder beech"),
        ("torn@1", "\"content\":\"alder be"),
    ] {
        let (come, _) = bench.broken(&plain(model)).await;
        let come = String::from_utf8(come).unwrap();
        assert!(come.starts_with('{'));
        assert!(come.contains(said), "{come}");
        assert!(!come.contains("finish_reason"), "{come}");
    }
}

#[tokio::test]
async fn a_torn_stream_ends_within_an_event() {
    let bench = Bench::new().await;
    let (come, _) = bench.broken(&streamed("torn@3")).await;
    let come = String::from_utf8(come).unwrap();
    let (whole, torn) = come.rsplit_once("\n\n").unwrap();
    assert_eq!(whole.matches("data: ").count(), 4);
    assert!(torn.starts_with("data: {"), "{torn}");
}

#[tokio::test]
async fn silence_keeps_the_connection_and_says_nothing_more() {
    let bench = Bench::new().await;
    let event = "{\"content\":\"alder\"},\"finish_reason\":null}]}\n\n\r\n";
    for (body, ends) in [
        (plain("silent"), ""),
        (streamed("silent"), ""),
        (plain("header-only"), "\r\n\r\n"),
        (streamed("header-only"), "\r\n\r\n"),
        (plain("stall@1"), "\"content\":\"alder"),
        (streamed("stall@1"), event),
        (streamed("silent@1"), event),
    ] {
        let mut socket = bench.raw_begun(&body).await;
        bench.server.asked(body["model"].as_str().unwrap(), 1).await;
        let mut come = String::new();
        let mut buffer = [0; 4096];
        while !come.ends_with(ends) || come.is_empty() != ends.is_empty() {
            let read = timeout(HUNG, socket.read(&mut buffer)).await.unwrap();
            let read = read.unwrap();
            assert_ne!(read, 0, "{body}: the connection stays");
            come += std::str::from_utf8(&buffer[..read]).unwrap();
        }
        let more = timeout(QUIET, socket.read(&mut buffer)).await;
        assert!(more.is_err(), "{body}: neither bytes nor an end");
    }
}

#[tokio::test]
async fn a_refusal_behind_tokens_is_an_event() {
    let bench = Bench::new().await;
    for model in ["error-event@2", "overloaded@2", "rate-limit@2"] {
        let stream = bench.stream(model).await;
        assert_eq!(stream.text(), "alder beech", "{model}");
        assert!(!stream.is_done());
        let last = stream.objects().last().unwrap();
        assert!(last["error"]["message"].is_string(), "{last}");
    }
    let document = bench.document(&plain("error-event")).await;
    assert!(document["error"]["message"].is_string());
}
