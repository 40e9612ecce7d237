use tokio::net::TcpListener;

use super::*;

/// A reader's end and a client's.
async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await;
    (listener.accept().await.unwrap().0, client.unwrap())
}

/// What is read of these bytes, which come in pieces of `at_once`.
async fn read(bytes: &[u8], at_once: usize) -> Vec<Result<Request, WireError>> {
    let (mut stream, mut client) = pair().await;
    let send = async move {
        for piece in bytes.chunks(at_once) {
            client.write_all(piece).await.unwrap();
            tokio::task::yield_now().await;
        }
        client
    };
    let receive = async {
        let mut reader = Reader::default();
        let mut requests = Vec::new();
        loop {
            match reader.request(&mut stream).await {
                Ok(Some(request)) => requests.push(Ok(request)),
                Ok(None) => return requests,
                Err(error) => {
                    requests.push(Err(error));
                    return requests;
                }
            }
        }
    };
    // The client leaves when it has said all.
    let (requests, ()) = tokio::join!(receive, async { drop(send.await) });
    requests
}

async fn only(bytes: &[u8]) -> Result<Request, WireError> {
    let mut requests = read(bytes, bytes.len().max(1)).await;
    assert_eq!(requests.len(), 1);
    requests.remove(0)
}

#[tokio::test]
async fn requests_follow_each_other_however_their_bytes_come() {
    let bytes =
        b"POST /a?b=c HTTP/1.1\r\nContent-Length: 3\r\nX-Y: z \r\n\r\nabcGET /d HTTP/1.1\r\n\r\n";
    for at_once in [1, 2, 7, bytes.len()] {
        let requests = read(bytes, at_once).await;
        let [Ok(first), Ok(second)] = requests.as_slice() else {
            panic!("{requests:?}");
        };
        assert_eq!((first.method.as_str(), first.path.as_str()), ("POST", "/a"));
        assert_eq!(first.body, b"abc");
        assert_eq!(first.header("x-y"), Some("z"));
        assert!(first.keep_alive);
        assert_eq!(second.path, "/d");
        assert!(second.body.is_empty());
    }
}

#[tokio::test]
async fn a_chunked_body_is_put_together() {
    let bytes = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n\
        3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nTrailer: t\r\n\r\nGET /next HTTP/1.1\r\n\r\n";
    for at_once in [1, 5, bytes.len()] {
        let requests = read(bytes, at_once).await;
        assert_eq!(requests[0].as_ref().unwrap().body, b"abcde");
        assert_eq!(requests[1].as_ref().unwrap().path, "/next");
    }
}

#[tokio::test]
async fn a_client_can_say_that_it_will_leave() {
    for (head, keep_alive) in [
        ("GET / HTTP/1.1\r\n\r\n", true),
        ("GET / HTTP/1.1\r\nConnection: Close\r\n\r\n", false),
        ("GET / HTTP/1.0\r\n\r\n", false),
    ] {
        let request = only(head.as_bytes()).await.unwrap();
        assert_eq!(request.keep_alive, keep_alive, "{head}");
    }
}

#[tokio::test]
async fn a_client_that_waits_for_a_word_gets_it() {
    let (mut stream, mut client) = pair().await;
    let ask = async {
        let head = b"POST / HTTP/1.1\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n";
        client.write_all(head).await.unwrap();
        let mut word = [0; 25];
        client.read_exact(&mut word).await.unwrap();
        assert_eq!(&word, b"HTTP/1.1 100 Continue\r\n\r\n");
        client.write_all(b"ok").await.unwrap();
    };
    let mut reader = Reader::default();
    let (request, ()) = tokio::join!(reader.request(&mut stream), ask);
    assert_eq!(request.unwrap().unwrap().body, b"ok");
}

#[tokio::test]
async fn what_is_no_request_is_told_apart() {
    let long_line = format!("GET /{} HTTP/1.1\r\n", "a".repeat(HEAD_BYTES_MAX));
    let many_headers = format!(
        "GET / HTTP/1.1\r\n{}\r\n",
        "a: b\r\n".repeat(HEADERS_MAX + 1)
    );
    let long_body = format!(
        "POST / HTTP/1.1\r\ncontent-length: {}\r\n\r\n",
        BODY_BYTES_MAX + 1
    );
    let chunked = "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n";
    let wrong = |text: &'static str| (text.to_owned(), "not HTTP/1.1");
    for (bytes, message) in [
        wrong("\u{1}\r\n\r\n"),
        wrong("GET / HTTP/1.1\r\ncontent-length: -1\r\n\r\n"),
        wrong("GET / HTTP/1.1\r\ntransfer-encoding: gzip\r\n\r\n"),
        (format!("{chunked}xyz\r\n"), "a chunk has no size"),
        (
            format!("{chunked}1\r\nab\r\n"),
            "does not end where it says",
        ),
        (
            format!("{chunked}ffffffff\r\n"),
            "the body of a request has at most",
        ),
        (
            format!("{chunked}fffffffffffffffff\r\n"),
            "a chunk has no size",
        ),
        (long_body, "the body of a request has at most"),
        (many_headers, "the head of a request has at most"),
        (long_line, "the head of a request has at most"),
        ("GET / HT".to_owned(), "the connection is gone"),
        (
            "GET / HTTP/1.1\r\ncontent-length: 5\r\n\r\nab".to_owned(),
            "the connection is gone",
        ),
    ] {
        let told = only(bytes.as_bytes()).await.unwrap_err().to_string();
        assert!(told.contains(message), "{told}");
    }
}
