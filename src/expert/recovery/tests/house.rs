//! Experts whose streams come as they are told, and what a client got of them.

use std::sync::{Arc, Mutex};

use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream};
use serde_json::{Value, json};

use crate::{
    chat::{ChatRequest, Chunk, Usage},
    config::{Delivery, Prefill, StreamRecovery},
    expert::{Answer, Attempt, Call, Expert, ExpertError, Experts, Refused, registry::Member},
};

/// What a stream brings.
#[derive(Clone)]
pub(super) enum Piece {
    Delta(Value),
    Finish,
    Usage(u64),
    Cut,
    Stall,
}

/// Answers each request with the next of its streams, the last for ever; keeps the bodies.
struct Scripted {
    id: &'static str,
    streams: Mutex<Vec<Vec<Piece>>>,
    takes_prefill: bool,
    asked: Arc<Mutex<Vec<Value>>>,
}

impl Expert for Scripted {
    fn answer<'a>(&'a self, call: &'a Call) -> BoxFuture<'a, Result<Answer, ExpertError>> {
        let body = Value::Object(call.request.body.clone());
        let messages = body["messages"].as_array().unwrap();
        let is_prefilled = messages.last().unwrap()["role"] == "assistant";
        self.asked.lock().unwrap().push(body);
        let refused = is_prefilled && !self.takes_prefill;
        async move {
            if refused {
                let body = json!({"error": {"message": "no prefill"}});
                let (status, why) = (400, Refused::Request);
                return Err(ExpertError::Refused { status, body, why });
            }
            let mut streams = self.streams.lock().unwrap();
            let pieces = if streams.len() > 1 {
                streams.remove(0)
            } else {
                streams[0].clone()
            };
            let id = self.id;
            let pieces = stream::iter(pieces).then(move |piece| read(id, piece));
            Ok(Answer::Stream(pieces.boxed()))
        }
        .boxed()
    }
}

async fn read(id: &'static str, piece: Piece) -> Result<Chunk, ExpertError> {
    let (delta, finish, usage) = match piece {
        Piece::Delta(delta) => (delta, Value::Null, Value::Null),
        Piece::Finish => (json!({}), json!("stop"), Value::Null),
        Piece::Usage(tokens) => {
            let usage = json!({"prompt_tokens": 1, "completion_tokens": tokens});
            let chunk = json!({"id": id, "model": id, "choices": [], "usage": usage});
            return Ok(Chunk::parse(chunk.to_string().into()).unwrap());
        }
        Piece::Cut => {
            return Err(ExpertError::Broken {
                detail: "cut".into(),
            });
        }
        Piece::Stall => std::future::pending().await,
    };
    let choice = json!({"index": 0, "delta": delta, "finish_reason": finish});
    let chunk = json!({"id": id, "created": 1, "model": id, "choices": [choice], "usage": usage});
    Ok(Chunk::parse(chunk.to_string().into()).unwrap())
}

pub(super) fn words(texts: &[&str]) -> Vec<Piece> {
    let role = Piece::Delta(json!({"role": "assistant", "content": ""}));
    let texts = texts
        .iter()
        .map(|text| Piece::Delta(json!({"content": text})));
    std::iter::once(role).chain(texts).collect()
}

pub(super) fn cut(texts: &[&str]) -> Vec<Piece> {
    [words(texts), vec![Piece::Cut]].concat()
}

pub(super) fn whole(texts: &[&str]) -> Vec<Piece> {
    [words(texts), vec![Piece::Finish, Piece::Usage(7)]].concat()
}

pub(super) struct House {
    members: Vec<Member>,
    asked: Vec<Arc<Mutex<Vec<Value>>>>,
    delivery: Delivery,
    pub(super) body: Value,
}

/// What came of it.
pub(super) struct Told {
    pub(super) text: String,
    pub(super) chunks: Vec<Chunk>,
    pub(super) error: Option<&'static str>,
    pub(super) attempts: Vec<Attempt>,
    pub(super) asked: Vec<Vec<Value>>,
    pub(super) usage: Option<Usage>,
}

impl House {
    pub(super) fn new(recovery: StreamRecovery) -> Self {
        Self {
            members: Vec::new(),
            asked: Vec::new(),
            delivery: Delivery {
                stream_recovery: recovery,
                retries_max: Some(0),
                ..Delivery::default()
            },
            body: json!({"model": "coterie", "stream": true, "max_tokens": 50,
                "messages": [{"role": "user", "content": "Count."}]}),
        }
    }

    pub(super) fn with(
        mut self,
        id: &'static str,
        prefill: Prefill,
        streams: &[Vec<Piece>],
    ) -> Self {
        let asked = Arc::default();
        let expert: Arc<dyn Expert> = Arc::new(Scripted {
            id,
            streams: Mutex::new(streams.to_vec()),
            takes_prefill: prefill != Prefill::Prefix,
            asked: Arc::clone(&asked),
        });
        self.asked.push(asked);
        let mut member = Member::scripted(id, expert);
        member.prefill = prefill;
        self.members.push(member);
        self
    }

    pub(super) async fn told(self) -> Told {
        let experts = Arc::new(Experts {
            members: self.members,
        });
        let request = Arc::new(ChatRequest::parse(self.body).unwrap());
        let call = Call::new(request, Arc::new(self.delivery));
        let order: Vec<_> = experts.ids().cloned().collect();
        let answered = experts.answer(&order, &call).await.ok().unwrap();
        call.attempts.answers(answered.attempt);
        let Answer::Stream(mut pieces) = answered.answer else {
            panic!("it streams")
        };
        let (mut chunks, mut error) = (Vec::new(), None);
        while let Some(piece) = pieces.next().await {
            match piece {
                Ok(chunk) => chunks.push(chunk),
                Err(broke) => error = Some(broke.kind()),
            }
        }
        let (attempts, _) = call.attempts.snapshot();
        let asked = self.asked.iter().map(|asked| asked.lock().unwrap().clone());
        Told {
            text: chunks.iter().filter_map(Chunk::text).collect(),
            usage: chunks.iter().find_map(Chunk::usage),
            error,
            attempts,
            asked: asked.collect(),
            chunks,
        }
    }
}

pub(super) fn roles(told: &Told) -> Vec<(String, String, Option<String>)> {
    let role = |attempt: &Attempt| json!(attempt.role).as_str().unwrap().to_owned();
    let attempts = told.attempts.iter();
    attempts
        .map(|it| (it.expert.to_string(), role(it), it.error.clone()))
        .collect()
}

pub(super) fn row(
    expert: &str,
    role: &str,
    error: Option<&str>,
) -> (String, String, Option<String>) {
    (expert.into(), role.into(), error.map(str::to_owned))
}
