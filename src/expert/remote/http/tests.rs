use std::io::{self, Write};

use flate2::{Compression, write::GzEncoder};
use futures_util::future::join;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// A host that waits for us to say what it does.
struct Host {
    listener: TcpListener,
    http: Http,
}

impl Host {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let url = format!("http://{address}/v1").parse().unwrap();
        let http = Http::new(&url, HeaderMap::new(), SECOND).unwrap();
        Self { listener, http }
    }

    async fn connected(&self) -> TcpStream {
        self.listener.accept().await.unwrap().0
    }

    async fn post(&self) -> Result<Response, HttpError> {
        let path = PathAndQuery::from_static("/v1/chat");
        self.http.post(&path, b"{}".to_vec(), SECOND).await
    }
}

/// Reads a request with the body `{}`.
async fn request(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n{}") {
        let read = stream.read_buf(&mut bytes).await.unwrap();
        assert_ne!(read, 0, "{}", String::from_utf8_lossy(&bytes));
    }
    String::from_utf8(bytes).unwrap().to_ascii_lowercase()
}

async fn answer(stream: &mut TcpStream, bytes: impl AsRef<[u8]>) {
    request(stream).await;
    stream.write_all(bytes.as_ref()).await.unwrap();
}

async fn whole(mut response: Response) -> Result<Vec<u8>, BodyError> {
    let mut bytes = Vec::new();
    while let Some(piece) = response.next().await? {
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

async fn text(response: Response) -> String {
    String::from_utf8(whole(response).await.unwrap()).unwrap()
}

/// Whether the other side closes the connection, within a second.
async fn is_closed(stream: &mut TcpStream) -> bool {
    let mut byte = [0];
    match timeout(SECOND, stream.read(&mut byte)).await {
        Ok(Ok(read)) => read == 0,
        Ok(Err(error)) => error.kind() == io::ErrorKind::ConnectionReset,
        Err(_) => false,
    }
}

const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
const LENGTH_2: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi";

#[tokio::test]
async fn one_connection_serves_one_request_after_another() {
    let host = Host::new().await;
    let serve = async {
        let mut stream = host.connected().await;
        answer(&mut stream, format!("{CHUNKED}2\r\nhi\r\n0\r\n\r\n")).await;
        answer(&mut stream, LENGTH_2).await;
    };
    let ask = async {
        for _request in 0..2 {
            assert_eq!(text(host.post().await.unwrap()).await, "hi");
        }
    };
    join(serve, ask).await;
}

#[tokio::test]
async fn two_requests_at_once_have_a_connection_each_and_both_are_kept() {
    let host = Host::new().await;
    let serve = async {
        let mut streams = [host.connected().await, host.connected().await];
        for _round in 0..2 {
            for stream in &mut streams {
                answer(stream, LENGTH_2).await;
            }
        }
    };
    let ask = async {
        for _round in 0..2 {
            let (one, other) = join(host.post(), host.post()).await;
            let texts = join(text(one.unwrap()), text(other.unwrap())).await;
            assert_eq!(texts, ("hi".to_owned(), "hi".to_owned()));
        }
    };
    join(serve, ask).await;
}

#[tokio::test]
async fn a_kept_connection_that_was_closed_is_replaced() {
    let host = Host::new().await;
    let serve = async {
        answer(&mut host.connected().await, LENGTH_2).await;
        answer(&mut host.connected().await, LENGTH_2).await;
    };
    let ask = async {
        assert_eq!(text(host.post().await.unwrap()).await, "hi");
        tokio::task::yield_now().await;
        assert_eq!(text(host.post().await.unwrap()).await, "hi");
    };
    join(serve, ask).await;
}

#[tokio::test]
async fn a_kept_connection_that_closes_just_before_it_is_used_hands_the_request_back() {
    let host = Host::new().await;
    let serve = async {
        let mut stream = host.connected().await;
        answer(&mut stream, LENGTH_2).await;
        stream
    };
    let ask = async { text(host.post().await.unwrap()).await };
    let (stream, _) = join(serve, ask).await;
    let kept = host.http.idle.take().unwrap();
    drop(stream);
    tokio::time::sleep(Duration::from_millis(50)).await;
    let path = PathAndQuery::from_static("/v1/chat");
    let sent = timeout(SECOND, kept.send(host.http.request(&path, Vec::new())));
    assert!(matches!(sent.await.unwrap(), Exchange::Unsent(..)));
}

#[tokio::test]
async fn a_request_that_may_have_been_read_is_not_sent_twice() {
    let host = Host::new().await;
    let serve = async {
        let mut stream = host.connected().await;
        answer(&mut stream, LENGTH_2).await;
        request(&mut stream).await;
    };
    let ask = async {
        assert_eq!(text(host.post().await.unwrap()).await, "hi");
        assert!(matches!(host.post().await, Err(HttpError::Exchange(_))));
    };
    join(serve, ask).await;
}

#[tokio::test]
async fn pieces_come_as_they_are_sent_and_a_dropped_body_closes_the_connection() {
    let host = Host::new().await;
    let serve = async {
        let mut stream = host.connected().await;
        answer(&mut stream, format!("{CHUNKED}2\r\nhi\r\n")).await;
        assert!(is_closed(&mut stream).await);
    };
    let ask = async {
        let mut response = host.post().await.unwrap();
        assert_eq!(response.next().await.unwrap().unwrap(), "hi");
        drop(response);
    };
    join(serve, ask).await;
}

#[tokio::test]
async fn a_body_that_is_cut_is_an_error_and_one_without_a_length_ends_with_the_connection() {
    let host = Host::new().await;
    let serve = async {
        answer(&mut host.connected().await, format!("{CHUNKED}5\r\nhi")).await;
        answer(&mut host.connected().await, "HTTP/1.0 200 OK\r\n\r\nhi").await;
    };
    let ask = async {
        let cut = host.post().await.unwrap();
        assert!(matches!(whole(cut).await, Err(BodyError::Exchange(_))));
        assert_eq!(text(host.post().await.unwrap()).await, "hi");
    };
    join(serve, ask).await;
}

fn gzipped(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn a_compressed_body_is_read_in_steps_and_a_cut_one_is_an_error() {
    let host = Host::new().await;
    let long = "far more than a step ".repeat(1 << 20);
    let packed = gzipped(&long);
    let head = |bytes: usize| {
        format!("HTTP/1.1 200 OK\r\ncontent-encoding: GZIP\r\ncontent-length: {bytes}\r\n\r\n")
    };
    let serve = async {
        let mut stream = host.connected().await;
        for body in [&packed[..], &packed[..packed.len() / 2]] {
            answer(&mut stream, [head(body.len()).as_bytes(), body].concat()).await;
        }
    };
    let ask = async {
        let mut response = host.post().await.unwrap();
        let (mut read, mut most) = (0, 0);
        while let Some(piece) = response.next().await.unwrap() {
            (read, most) = (read + piece.len(), most.max(piece.len()));
        }
        assert_eq!(read, long.len());
        assert!(most < read / 2, "{most} of {read} at once");
        let cut = host.post().await.unwrap();
        assert!(matches!(whole(cut).await, Err(BodyError::Gzip(_))));
    };
    join(serve, ask).await;
}

#[tokio::test]
async fn the_request_names_the_host_and_what_it_takes() {
    let host = Host::new().await;
    let address = host.listener.local_addr().unwrap();
    let serve = async {
        let mut stream = host.connected().await;
        let request = request(&mut stream).await;
        for line in [
            "post /v1/chat http/1.1".to_owned(),
            format!("host: {address}"),
            "accept-encoding: identity".to_owned(),
            "content-type: application/json".to_owned(),
            "content-length: 2".to_owned(),
        ] {
            assert!(request.contains(&format!("{line}\r\n")), "{request}");
        }
        stream.write_all(LENGTH_2.as_bytes()).await.unwrap();
    };
    let (_, response) = join(serve, host.post()).await;
    assert_eq!(response.unwrap().status, 200);
}

#[tokio::test]
async fn nobody_there_is_told_as_such() {
    let host = Host::new().await;
    let address = host.listener.local_addr().unwrap();
    drop(host.listener);
    let url = format!("http://{address}").parse().unwrap();
    let http = Http::new(&url, HeaderMap::new(), SECOND).unwrap();
    let path = PathAndQuery::from_static("/");
    let posted = http.post(&path, Vec::new(), SECOND).await;
    assert!(matches!(posted, Err(HttpError::Connect(_))));
}
