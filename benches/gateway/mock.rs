//! A provider that answers at once, one JSON body or a stream of 17 chunks; or, for who asks as `paced`, at a pace.

use std::{convert::Infallible, fmt::Write, net::SocketAddr, time::Instant};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::DefaultBodyLimit,
    http::header::CONTENT_TYPE,
    response::IntoResponse,
    routing::post,
    serve::ListenerExt,
};
use futures_util::stream;

use crate::paced;

const CHUNKS: usize = 17;

/// Chunks with text of a paced stream: five seconds of them.
pub(crate) const PACED_TOKENS: usize = 250;

/// Starts it on its own thread; it lives as long as the process.
pub(crate) fn start() -> SocketAddr {
    let (tell, told) = std::sync::mpsc::sync_channel(1);
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
                .await
                .expect("a free port");
            tell.send(listener.local_addr().expect("an address"))
                .expect("someone who waits");
            let listener = listener.tap_io(|stream| stream.set_nodelay(true).expect("TCP_NODELAY"));
            let endpoints = Router::new()
                .route("/v1/chat/completions", post(answer))
                .layer(DefaultBodyLimit::disable());
            axum::serve(listener, endpoints)
                .await
                .expect("serving goes on");
        });
    });
    told.recv().expect("the mock's address")
}

async fn answer(body: Bytes) -> impl IntoResponse {
    // Looked for as quickly as can be: while this thread looks through a huge prompt, small ones wait.
    let streamed = memchr::memmem::find(&body, b"\"stream\":true").is_some();
    let is_paced = memchr::memmem::find(&body, b"\"paced\"").is_some();
    if is_paced {
        ([(CONTENT_TYPE, "text/event-stream")], paced())
    } else if streamed {
        let events = (0..CHUNKS).map(|at| Ok::<_, Infallible>(event(at)));
        (
            [(CONTENT_TYPE, "text/event-stream")],
            Body::from_stream(stream::iter(events)),
        )
    } else {
        ([(CONTENT_TYPE, "application/json")], Body::from(PLAIN))
    }
}

/// Tokens, each of which tells when it was sent.
fn paced() -> Body {
    let began = Instant::now();
    let events = stream::unfold(0, move |token| async move {
        if token > PACED_TOKENS {
            return None;
        }
        tokio::time::sleep_until(paced::due(began, token).into()).await;
        let (delta, reason) = if token == PACED_TOKENS {
            ("{}".to_owned(), r#""stop""#)
        } else {
            (format!(r#"{{"content":"@{}@"}}"#, paced::now_us()), "null")
        };
        let done = if token == PACED_TOKENS {
            "data: [DONE]\n\n"
        } else {
            ""
        };
        let event = format!(
            "data: {{\"id\":\"m\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"mock\",\
             \"choices\":[{{\"index\":0,\"delta\":{delta},\"finish_reason\":{reason}}}]}}\n\n{done}"
        );
        Some((Ok::<_, Infallible>(Bytes::from(event)), token + 1))
    });
    Body::from_stream(events)
}

const PLAIN: &str = r#"{"id":"m","object":"chat.completion","created":1,"model":"mock","choices":[{"index":0,"message":{"role":"assistant","content":"Hello from the mock, which has nothing more to say."},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":12,"total_tokens":21}}"#;

fn event(at: usize) -> Bytes {
    let mut event = String::from(
        r#"data: {"id":"m","object":"chat.completion.chunk","created":1,"model":"mock","choices":[{"index":0,"delta":"#,
    );
    let last = at + 1 == CHUNKS;
    let delta = if last {
        "{}".into()
    } else {
        format!(r#"{{"content":"word{at} "}}"#)
    };
    let reason = if last { r#""stop""# } else { "null" };
    let usage = if last {
        r#","usage":{"prompt_tokens":9,"completion_tokens":16}"#
    } else {
        ""
    };
    let _ = write!(event, r#"{delta},"finish_reason":{reason}}}]{usage}}}"#);
    event.push_str("\n\n");
    if last {
        event.push_str("data: [DONE]\n\n");
    }
    event.into()
}
