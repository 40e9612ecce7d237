//! Requests off a socket: HTTP/1.1 with bounds. By hand, because a reply may be what no HTTP library would send.

use std::{io, time::Duration};

use httparse::Status;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// Longest head of a request, in bytes.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// Most headers of a request.
const HEADERS_MAX: usize = 100;

/// Longest body of a request, in bytes.
const BODY_BYTES_MAX: usize = 16 << 20;

/// Longest line that announces a chunk, in bytes.
const CHUNK_LINE_BYTES_MAX: usize = 1024;

/// How much is read at once.
const READ_BYTES: usize = 16 << 10;

/// How long a connection may wait for its next byte: longer than clients commonly keep idle connections.
const IDLE_MAX: Duration = Duration::from_secs(600);

/// A request as it came.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) method: String,
    /// Without its query.
    pub(super) path: String,
    /// Names in lower case.
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    /// Whether the client may ask again on the same connection.
    pub(super) keep_alive: bool,
}

/// Why no request can be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum WireError {
    /// The client has left, or says nothing for too long.
    #[error("the connection is gone")]
    Gone(#[source] io::Error),
    /// What came is no request.
    #[error("the request is not HTTP/1.1: {0}")]
    Malformed(&'static str),
    /// The head has no end.
    #[error("the head of a request has at most {HEAD_BYTES_MAX} bytes and {HEADERS_MAX} headers")]
    HeadTooLong,
    /// The body has no end.
    #[error("the body of a request has at most {BODY_BYTES_MAX} bytes")]
    BodyTooLong,
}

impl From<io::Error> for WireError {
    fn from(error: io::Error) -> Self {
        Self::Gone(error)
    }
}

/// What has been read of a connection and not yet been taken for a request.
#[derive(Default)]
pub(super) struct Reader {
    buffer: Vec<u8>,
}

/// The first part of a request.
struct Head {
    request: Request,
    length: Length,
    /// The client waits for a word before it sends the body.
    expects: bool,
}

enum Length {
    Known(usize),
    Chunked,
}

impl Reader {
    /// The next request; `None` where the client has left between two.
    pub(super) async fn request(
        &mut self,
        stream: &mut TcpStream,
    ) -> Result<Option<Request>, WireError> {
        let head = loop {
            if let Some((head, bytes)) = head(&self.buffer)? {
                self.buffer.drain(..bytes);
                break head;
            }
            if self.buffer.len() >= HEAD_BYTES_MAX {
                return Err(WireError::HeadTooLong);
            }
            if !self.fill(stream).await? {
                return if self.buffer.is_empty() {
                    Ok(None)
                } else {
                    Err(io::Error::from(io::ErrorKind::UnexpectedEof).into())
                };
            }
        };
        if head.expects {
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        let mut request = head.request;
        request.body = match head.length {
            Length::Known(bytes) if bytes > BODY_BYTES_MAX => return Err(WireError::BodyTooLong),
            Length::Known(bytes) => self.take(stream, bytes).await?,
            Length::Chunked => self.chunks(stream).await?,
        };
        Ok(Some(request))
    }

    async fn chunks(&mut self, stream: &mut TcpStream) -> Result<Vec<u8>, WireError> {
        let mut body = Vec::new();
        loop {
            let size = self.chunk_size(stream).await?;
            if size == 0 {
                break;
            }
            if size > BODY_BYTES_MAX - body.len() {
                return Err(WireError::BodyTooLong);
            }
            body.extend(self.take(stream, size).await?);
            if self.take(stream, 2).await? != b"\r\n" {
                return Err(WireError::Malformed("a chunk does not end where it says"));
            }
        }
        // Trailers, of which nothing is wanted, end with an empty line.
        let mut read = 0;
        loop {
            let line = self.line(stream).await?;
            read += line.len();
            if line.is_empty() {
                return Ok(body);
            }
            if read > HEAD_BYTES_MAX {
                return Err(WireError::HeadTooLong);
            }
        }
    }

    async fn chunk_size(&mut self, stream: &mut TcpStream) -> Result<usize, WireError> {
        loop {
            match httparse::parse_chunk_size(&self.buffer) {
                Ok(Status::Complete((at, size))) => {
                    self.buffer.drain(..at);
                    return usize::try_from(size).map_err(|_too_long| WireError::BodyTooLong);
                }
                Ok(Status::Partial) if self.buffer.len() <= CHUNK_LINE_BYTES_MAX => {
                    self.fill_or_fail(stream).await?;
                }
                Ok(Status::Partial) | Err(_) => {
                    return Err(WireError::Malformed("a chunk has no size"));
                }
            }
        }
    }

    /// The next line without its end.
    async fn line(&mut self, stream: &mut TcpStream) -> Result<Vec<u8>, WireError> {
        loop {
            let end = self.buffer.windows(2).position(|two| two == b"\r\n");
            if let Some(end) = end {
                let mut line = self.take(stream, end + 2).await?;
                line.truncate(end);
                return Ok(line);
            }
            if self.buffer.len() >= HEAD_BYTES_MAX {
                return Err(WireError::HeadTooLong);
            }
            self.fill_or_fail(stream).await?;
        }
    }

    /// The next so many bytes.
    async fn take(&mut self, stream: &mut TcpStream, bytes: usize) -> Result<Vec<u8>, WireError> {
        while self.buffer.len() < bytes {
            self.fill_or_fail(stream).await?;
        }
        let rest = self.buffer.split_off(bytes);
        Ok(std::mem::replace(&mut self.buffer, rest))
    }

    async fn fill_or_fail(&mut self, stream: &mut TcpStream) -> Result<(), WireError> {
        if self.fill(stream).await? {
            return Ok(());
        }
        Err(io::Error::from(io::ErrorKind::UnexpectedEof).into())
    }

    /// Reads what is there; false where nothing will ever be.
    async fn fill(&mut self, stream: &mut TcpStream) -> io::Result<bool> {
        self.buffer.reserve(READ_BYTES);
        let read = timeout(IDLE_MAX, stream.read_buf(&mut self.buffer));
        Ok(read.await?? > 0)
    }
}

/// The head at the beginning of `bytes`, and its length; `None` where it is not all there.
fn head(bytes: &[u8]) -> Result<Option<(Head, usize)>, WireError> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut parsed = httparse::Request::new(&mut headers);
    let length = match parsed.parse(bytes) {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(WireError::HeadTooLong),
        Err(_other) => return Err(WireError::Malformed("its head cannot be read")),
    };
    let target = parsed.path.unwrap_or_default();
    let (path, _query) = target.split_once('?').unwrap_or((target, ""));
    let headers = parsed.headers.iter().map(|header| {
        let value = String::from_utf8_lossy(header.value);
        (header.name.to_lowercase(), value.trim().to_owned())
    });
    let mut request = Request {
        method: parsed.method.unwrap_or_default().to_owned(),
        path: path.to_owned(),
        headers: headers.collect(),
        body: Vec::new(),
        keep_alive: true,
    };
    let connection = request.header("connection").unwrap_or_default();
    request.keep_alive = parsed.version == Some(1) && !connection.eq_ignore_ascii_case("close");
    let head = Head {
        length: request.length()?,
        expects: request.header("expect").is_some(),
        request,
    };
    Ok(Some((head, length)))
}

impl Request {
    /// The value of a header, by its name in lower case.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(header, _)| header == name)?;
        Some(value)
    }

    fn length(&self) -> Result<Length, WireError> {
        if let Some(coding) = self.header("transfer-encoding") {
            return if coding.eq_ignore_ascii_case("chunked") {
                Ok(Length::Chunked)
            } else {
                Err(WireError::Malformed("its transfer coding is not known"))
            };
        }
        let length = self.header("content-length").unwrap_or("0");
        let length = length.parse().map(Length::Known);
        length.map_err(|_no_number| WireError::Malformed("its length is no number"))
    }
}

#[cfg(test)]
mod tests;
