//! A connection: one request after another, until the client leaves or a fault ends it.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use serde_json::{Value, json};
use tokio::{
    net::{TcpStream, tcp::ReadHalf},
    sync::watch,
};

use super::{
    TimeScale,
    asked::Asked,
    book::{Book, Seen},
    kind::FAULTS,
    name::{Model, NAME_BYTES_MAX, NameError},
    plan::{self, Question},
    refusal::Refusal,
    reply::Reply,
    sender::{Sender, Then},
    wire::{Reader, Request, WireError},
};
use crate::clock;

/// What all connections share.
pub(super) struct Shared {
    pub(super) scale: TimeScale,
    book: Mutex<Book>,
    /// Changes with every request that is taken down.
    pub(super) arrivals: watch::Sender<()>,
}

impl Shared {
    pub(super) fn new(scale: TimeScale) -> Self {
        Self {
            scale,
            book: Mutex::new(Book::new(Instant::now())),
            arrivals: watch::Sender::new(()),
        }
    }

    /// Reads or changes the book. It is whole between any two changes, so that a panic elsewhere does not spoil it.
    pub(super) fn book<T>(&self, with: impl FnOnce(&mut Book) -> T) -> T {
        with(&mut self.book.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Begins a new book.
    pub(super) fn forget(&self) {
        self.book(|book| *book = Book::new(Instant::now()));
    }
}

/// Serves a client until it leaves or the connection is ended.
pub(super) async fn serve(mut stream: TcpStream, shared: Arc<Shared>) -> io::Result<()> {
    // Each event leaves when it is sent; the next does not wait for its acknowledgement.
    stream.set_nodelay(true)?;
    let mut reader = Reader::default();
    loop {
        let (reply, keep_alive) = match reader.request(&mut stream).await {
            Ok(Some(request)) => (shared.reply(&request), request.keep_alive),
            Ok(None) => return Ok(()),
            Err(error) => (unreadable(error)?, false),
        };
        // Halves that are borrowed: those that are owned say goodbye when they are dropped, which a reset must not.
        let (half, writer) = stream.split();
        let sender = Sender::new(writer, shared.scale, keep_alive);
        let then = tokio::select! {
            biased;
            then = sender.send(reply) => then?,
            () = left(half) => return Ok(()),
        };
        match then {
            Then::Next => {}
            Then::Close => return Ok(()),
            Then::Reset => return stream.set_zero_linger(),
        }
    }
}

/// Waits until the client has left; one that says more has not.
async fn left(mut half: ReadHalf<'_>) {
    if let Ok(1..) = half.peek(&mut [0]).await {
        std::future::pending::<()>().await;
    }
}

/// What a client is told whose request cannot be read.
fn unreadable(error: WireError) -> io::Result<Reply> {
    let status = match error {
        WireError::Gone(error) => return Err(error),
        WireError::Malformed(_) => 400,
        WireError::HeadTooLong => 431,
        WireError::BodyTooLong => 413,
    };
    Ok(Refusal::new(status, error.to_string()).reply())
}

impl Shared {
    fn reply(&self, request: &Request) -> Reply {
        match (request.method.as_str(), request.path.as_str()) {
            ("POST", "/v1/chat/completions") => self.chat(request).unwrap_or_else(|no| no.reply()),
            ("GET", "/v1/models") => Reply::json(200, &models()),
            ("GET", "/requests") => Reply::json(200, &self.book(|book| book.document())),
            ("POST", "/reset") => {
                self.forget();
                Reply::json(200, &json!({}))
            }
            (_, "/v1/chat/completions" | "/v1/models" | "/requests" | "/reset") => {
                Refusal::new(405, "this path is asked with another method").reply()
            }
            _ => Refusal::new(
                404,
                "there are POST /v1/chat/completions, GET /v1/models, GET /requests and POST /reset",
            )
            .reply(),
        }
    }

    fn chat(&self, request: &Request) -> Result<Reply, Refusal> {
        let refused = |message| Refusal::new(400, message);
        let arrived = Instant::now();
        let body: Value = serde_json::from_slice(&request.body)
            .map_err(|error| refused(format!("the body is no JSON: {error}")))?;
        let asked =
            Asked::of(&body).ok_or_else(|| refused("the body names no `model`".to_owned()))?;
        if asked.model.len() > NAME_BYTES_MAX {
            return Err(Refusal::name(&NameError::TooLong));
        }
        let seen = Seen {
            arrived,
            headers: request.headers.clone(),
            body,
        };
        let turn = self
            .book(|book| book.enter(&asked.model, seen, request.body.len()))
            .map_err(|full| Refusal::new(503, full.to_string()))?;
        self.arrivals.send_replace(());
        let model: Model = asked.model.parse().map_err(|error| Refusal::name(&error))?;
        let lasts = self.scale.scaled(model.lasts);
        Ok(plan::reply(&Question {
            asked: &asked,
            model: &model,
            nth: turn.nth,
            struck: turn.is_struck(&model, lasts),
            now_ms: clock::now_ms(),
        }))
    }
}

/// The faults as OpenAI lists models, each with what it does.
fn models() -> Value {
    let models = FAULTS.iter().map(|fault| {
        json!({
            "id": fault.name,
            "object": "model",
            "created": 0,
            "owned_by": "coterie",
            "description": fault.about,
        })
    });
    json!({"object": "list", "data": models.collect::<Vec<_>>()})
}
