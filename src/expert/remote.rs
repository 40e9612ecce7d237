//! An endpoint elsewhere.
//!
//! What the client sent goes there whole, and what comes back is passed on whole, but for the model's name: the provider
//! is told its own, the client the expert's. Where the provider speaks another dialect than OpenAI's, both are translated.
//!
//! The clocks of an answer and the number of answers under way are the [gate](crate::expert::Gate)'s; here are only the
//! bounds on bytes and connections. What is retried is decided outside.

mod dialect;
mod http;
pub mod sse;
mod status;
mod stream;
mod wire;

use std::{error::Error, fmt, sync::Arc, time::Duration};

use futures_util::{FutureExt, future::BoxFuture};
use hyper::{
    header::{CONTENT_TYPE, RETRY_AFTER},
    http::uri::PathAndQuery,
};
use secrecy::SecretString;
use serde_json::{Map, Value};
use tokio::time::timeout;
use url::{Position, Url};

use crate::{
    causes::in_full,
    chat::{ChatRequest, Choices, Completion},
    clock,
    config::{Dialect, Timeouts},
    expert::{Answer, Call, Expert, ExpertError},
    heavy,
    ids::ExpertId,
};
use http::{BodyError, Http, Response};
use wire::Outgoing;

/// Largest whole answer: far above any text, with room for sound, pictures and a batch of embeddings.
const ANSWER_BYTES_MAX: usize = 32 << 20;

/// Largest error body that is read: an OpenAI error object is below a thousand bytes.
const ERROR_BYTES_MAX: usize = 64 << 10;

/// Where a provider is and what it is told.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Up to and including `/v1`.
    pub base_url: Url,
    /// What it speaks.
    pub dialect: Dialect,
    /// The provider's name for the model.
    pub model: String,
    /// Sent as the dialect has it; never printed.
    pub api_key: Option<SecretString>,
}

/// How long the parts of an answer may take.
#[derive(Clone, Copy, Debug)]
pub struct Clocks {
    /// Where a route says nothing.
    pub usual: Timeouts,
    /// The longest that a connection may take, whatever a route says.
    pub connect_max: Duration,
}

/// How long a body may be silent.
#[derive(Clone, Copy)]
struct Silence {
    /// Before its first byte: some send the head at once, and think then.
    first: Duration,
    /// Between two pieces.
    idle: Duration,
}

impl Silence {
    fn of(timeouts: &Timeouts) -> Self {
        Self {
            first: timeouts.first_token.max(timeouts.idle),
            idle: timeouts.idle,
        }
    }
}

/// A model behind an endpoint.
pub struct RemoteExpert {
    id: ExpertId,
    dialect: Dialect,
    /// The provider's name for the model.
    model: Arc<str>,
    chat_path: PathAndQuery,
    embeddings_path: PathAndQuery,
    http: Http,
    clocks: Clocks,
}

/// Why a remote expert cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// Nothing can be appended to the URL.
    #[error("`base_url` must be an http:// or https:// address such as https://host/v1")]
    BaseUrl,
    /// The key is no header value.
    #[error("`api_key` has characters that no HTTP header can carry; check for a line end in it")]
    ApiKey,
    /// There is nothing to check the provider's certificate by.
    #[error("no TLS without root certificates; are the system's installed?")]
    Certificates {
        /// TLS's own words.
        source: Box<dyn Error + Send + Sync>,
    },
}

impl RemoteExpert {
    /// Sets up an expert; connects to nothing.
    ///
    /// # Errors
    /// The endpoint cannot be used as it stands.
    pub fn new(id: ExpertId, endpoint: Endpoint, clocks: Clocks) -> Result<Self, SetupError> {
        let headers = endpoint.dialect.headers(endpoint.api_key.as_ref())?;
        Ok(Self {
            dialect: endpoint.dialect,
            chat_path: path_below(&endpoint.base_url, endpoint.dialect.chat_path())?,
            embeddings_path: path_below(&endpoint.base_url, &["embeddings"])?,
            http: Http::new(&endpoint.base_url, headers, clocks.connect_max)?,
            clocks,
            model: endpoint.model.into(),
            id,
        })
    }

    async fn embeddings(
        &self,
        body: &Map<String, Value>,
    ) -> Result<Map<String, Value>, ExpertError> {
        let outgoing = Outgoing::plain(body, &self.model);
        let path = &self.embeddings_path;
        let timeouts = self.clocks.usual;
        let response = self.post(path, outgoing.to_json(), &timeouts).await?;
        let bytes = whole_body(response, Silence::of(&timeouts)).await?;
        let read = heavy::on(bytes.len(), || serde_json::from_slice(&bytes));
        let mut answer: Map<String, Value> =
            read.map_err(|error| broken(format!("not a JSON object: {error}")))?;
        if !answer.get("data").is_some_and(Value::is_array) {
            return Err(status::error_in(&answer)
                .unwrap_or_else(|| broken("the embeddings have no list of `data`".into())));
        }
        answer.insert("model".into(), self.id.as_str().into());
        Ok(answer)
    }

    async fn chat(&self, call: &Call) -> Result<Answer, ExpertError> {
        let request = &call.request;
        let timeouts = call.delivery.timeouts.over(self.clocks.usual);
        let silence = Silence::of(&timeouts);
        let json = self.json(request).await?;
        let response = self.post(&self.chat_path, json, &timeouts).await?;
        if !request.stream {
            return Ok(Answer::Whole(self.completion(response, silence).await?));
        }
        Ok(Answer::Stream(if is_json(&response) {
            // Some providers do not stream everything that they are asked to stream.
            stream::of_whole(self.completion(response, silence).await?)
        } else {
            stream::of_events(
                self.id.clone(),
                self.dialect.incoming(),
                response,
                Choices::new(request.choices_wanted),
            )
        }))
    }

    /// The body to send.
    async fn json(&self, request: &Arc<ChatRequest>) -> Result<Vec<u8>, ExpertError> {
        let (dialect, bytes) = (self.dialect, request.bytes());
        let (request, model) = (Arc::clone(request), Arc::clone(&self.model));
        let write = move || Ok(dialect.outgoing(&request, &model)?.to_json());
        heavy::apart(bytes, write).await
    }

    async fn completion(
        &self,
        response: Response,
        silence: Silence,
    ) -> Result<Completion, ExpertError> {
        let bytes = whole_body(response, silence).await?;
        let dialect = self.dialect;
        let read = heavy::apart(bytes.len(), move || completion_in(&bytes, dialect));
        let completion = read.await?;
        if !completion.is_finished() {
            return Err(broken(
                "it has no finish reason, as if it had been cut".into(),
            ));
        }
        Ok(completion.named(&self.id))
    }

    /// Sends a body and waits for the head of a successful response.
    async fn post(
        &self,
        path: &PathAndQuery,
        json: Vec<u8>,
        timeouts: &Timeouts,
    ) -> Result<Response, ExpertError> {
        let posted = self.http.post(path, json, timeouts.connect).await;
        let response = posted.map_err(|error| ExpertError::Unreachable {
            source: error.into(),
        })?;
        if (200..300).contains(&response.status) {
            return Ok(response);
        }
        Err(failure(response, Silence::of(timeouts)).await)
    }
}

impl Expert for RemoteExpert {
    fn answer<'a>(&'a self, call: &'a Call) -> BoxFuture<'a, Result<Answer, ExpertError>> {
        self.chat(call).boxed()
    }

    fn embed<'a>(
        &'a self,
        body: &'a Map<String, Value>,
    ) -> BoxFuture<'a, Result<Map<String, Value>, ExpertError>> {
        self.embeddings(body).boxed()
    }
}

impl fmt::Debug for RemoteExpert {
    /// Leaves out the URL, which may carry a password, and the client, which carries the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteExpert")
            .field("id", &self.id)
            .field("model", &self.model)
            .finish_non_exhaustive()
    }
}

/// The path of `segments` below the base's, with the base's query.
fn path_below(base: &Url, segments: &[&str]) -> Result<PathAndQuery, SetupError> {
    let mut url = base.clone();
    url.path_segments_mut()
        .map_err(|()| SetupError::BaseUrl)?
        .pop_if_empty()
        .extend(segments);
    let path = &url[Position::BeforePath..Position::AfterQuery];
    path.parse().map_err(|_no_path| SetupError::BaseUrl)
}

fn is_json(response: &Response) -> bool {
    response.headers.get(CONTENT_TYPE).is_some_and(|kind| {
        let kind = kind.as_bytes().to_ascii_lowercase();
        kind.starts_with(b"application/json")
    })
}

/// The completion that a body is, or what it says instead.
fn completion_in(bytes: &[u8], dialect: Dialect) -> Result<Completion, ExpertError> {
    dialect.completion(bytes).map_err(|error| {
        serde_json::from_slice(bytes)
            .ok()
            .and_then(|object| status::error_in(&object))
            .unwrap_or_else(|| broken(error.to_string()))
    })
}

async fn whole_body(response: Response, silence: Silence) -> Result<Vec<u8>, ExpertError> {
    match body_up_to(response, ANSWER_BYTES_MAX, silence).await? {
        (bytes, true) => Ok(bytes),
        (_, false) => Err(ExpertError::TooLong {
            bytes_max: ANSWER_BYTES_MAX,
            in_what: "as a whole",
        }),
    }
}

/// The body's first `bytes_max` bytes, and whether that is all of it.
async fn body_up_to(
    mut response: Response,
    bytes_max: usize,
    silence: Silence,
) -> Result<(Vec<u8>, bool), ExpertError> {
    let mut bytes = Vec::new();
    let mut patience = silence.first;
    loop {
        let Ok(next) = timeout(patience, response.next()).await else {
            return Err(ExpertError::TimedOut { waited: patience });
        };
        let Some(piece) = next.map_err(|error: BodyError| broken(in_full(&error)))? else {
            break;
        };
        patience = silence.idle;
        let room = bytes_max - bytes.len();
        bytes.extend_from_slice(&piece[..piece.len().min(room)]);
        if piece.len() > room {
            return Ok((bytes, false));
        }
    }
    Ok((bytes, true))
}

/// What an unsuccessful response means.
async fn failure(response: Response, silence: Silence) -> ExpertError {
    let code = response.status;
    let retry_after = response
        .headers
        .get(RETRY_AFTER)
        .and_then(|value| status::retry_after(value.to_str().ok()?, clock::now_ms()));
    // The status says enough where its body does not come.
    let (body, _) = body_up_to(response, ERROR_BYTES_MAX, silence)
        .await
        .unwrap_or_default();
    status::error_of(code, retry_after, &body)
}

fn broken(detail: String) -> ExpertError {
    ExpertError::Broken { detail }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpSocket, TcpStream},
        time::{sleep, timeout},
    };

    use super::*;
    use crate::{
        chat::ChatRequest,
        config::{Delivery, RouteTimeouts},
    };

    fn expert(base_url: &str, api_key: Option<&str>) -> Result<RemoteExpert, SetupError> {
        expert_within(clocks(Duration::from_secs(1)), base_url, api_key)
    }

    /// A connection may take so long, all else half a minute.
    fn clocks(connect: Duration) -> Clocks {
        let long = Duration::from_secs(30);
        Clocks {
            usual: Timeouts {
                connect,
                first_token: long,
                idle: long,
                total: long,
            },
            connect_max: connect,
        }
    }

    fn expert_within(
        clocks: Clocks,
        base_url: &str,
        api_key: Option<&str>,
    ) -> Result<RemoteExpert, SetupError> {
        let endpoint = Endpoint {
            base_url: base_url.parse().unwrap(),
            dialect: Dialect::Openai,
            model: "gpt".into(),
            api_key: api_key.map(SecretString::from),
        };
        RemoteExpert::new(ExpertId::new("far"), endpoint, clocks)
    }

    /// A host that takes no connection as long as it accepts none of those that wait, which come with it.
    async fn full_host() -> (TcpListener, Vec<TcpStream>) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        let mut waiting = Vec::new();
        let patience = Duration::from_millis(200);
        while let Ok(connected) = timeout(patience, TcpStream::connect(address)).await {
            waiting.push(connected.unwrap());
        }
        (listener, waiting)
    }

    /// Answers the first connection over which anything comes.
    async fn answer_one(listener: TcpListener) {
        let choice = json!({"index": 0, "message": {"content": "hi"}, "finish_reason": "stop"});
        let body = json!({"choices": [choice]}).to_string();
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ";
        let answer = format!("{head}{}\r\n\r\n{body}", body.len());
        let mut bytes = [0; 4096];
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            if stream.read(&mut bytes).await.unwrap_or(0) > 0 {
                return stream.write_all(answer.as_bytes()).await.unwrap();
            }
        }
    }

    #[tokio::test]
    async fn a_route_may_wait_longer_for_a_connection_than_the_expert_does() {
        let (listener, waiting) = full_host().await;
        let clocks = Clocks {
            connect_max: Duration::from_secs(60),
            ..clocks(Duration::from_millis(50))
        };
        let base_url = format!("http://{}/v1", listener.local_addr().unwrap());
        let expert = expert_within(clocks, &base_url, None).unwrap();
        let body = json!({"model": "coterie", "messages": [{"role": "user", "content": "hi"}]});
        let request = Arc::new(ChatRequest::parse(body).unwrap());
        let delivery = Delivery {
            timeouts: RouteTimeouts {
                connect: Some(clocks.connect_max),
                ..RouteTimeouts::default()
            },
            ..Delivery::default()
        };
        let call = Call::new(request, Arc::new(delivery));
        let serving = async {
            sleep(4 * clocks.usual.connect).await;
            drop(waiting);
            answer_one(listener).await;
        };
        let (answered, ()) = tokio::join!(expert.answer(&call), serving);
        assert!(answered.is_ok());
    }

    #[test]
    fn paths_are_appended_and_a_query_is_kept() {
        for (base, chat) in [
            ("http://h/v1", "/v1/chat/completions"),
            ("http://h/v1/", "/v1/chat/completions"),
            ("http://h", "/chat/completions"),
            (
                "http://h/v1?api-version=3",
                "/v1/chat/completions?api-version=3",
            ),
        ] {
            assert_eq!(expert(base, None).unwrap().chat_path.as_str(), chat);
        }
        assert!(matches!(
            expert("mailto:a@b", None),
            Err(SetupError::BaseUrl)
        ));
    }

    #[test]
    fn a_key_is_never_printed() {
        let printed = format!(
            "{:?}",
            expert("http://u:sesame@h/v1", Some("sesame")).unwrap()
        );
        assert!(!printed.contains("sesame"), "{printed}");
        let refused = expert("http://h/v1", Some("sesame\n")).unwrap_err();
        assert!(!format!("{refused:?} {refused}").contains("sesame"));
    }
}
