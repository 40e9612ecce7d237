//! Downloads from a model hub: `{hub}/{repo}/resolve/{revision}/{path}`, resumed after a cut.

use std::{
    io::{ErrorKind, SeekFrom},
    path::PathBuf,
    time::Duration,
};

use reqwest::{
    Client, Response,
    header::{CONTENT_RANGE, ETAG, HeaderValue, IF_RANGE, RANGE},
};
use secrecy::{ExposeSecret, SecretString};
use tokio::{
    fs::File,
    io::{AsyncSeekExt, AsyncWriteExt},
    time::sleep,
};
use url::Url;

use super::{HubRepo, ModelError, Step};

/// A hub that does not take a connection in this time is down.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection on which nothing comes for this long is cut. There is no limit for a whole file: lines differ too much.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// What a hub's statuses mean for a download.
const WHOLE: u16 = 200;
const PART: u16 = 206;
const NO_SUCH_FILE: u16 = 404;
const NO_SUCH_RANGE: u16 = 416;

/// A model hub.
#[derive(Debug)]
pub struct Hub {
    client: Client,
    base: Url,
    token: Option<SecretString>,
    retry: Retry,
}

/// How often a file is asked for, and how long is waited in between.
#[derive(Clone, Copy, Debug)]
pub struct Retry {
    /// The first attempt counts.
    pub attempts_max: u32,
    /// Before the second attempt; doubled before each further one.
    pub pause: Duration,
}

impl Default for Retry {
    /// Five attempts within some eight seconds: enough for a router that reboots its line, not for a hub that is down.
    fn default() -> Self {
        Self {
            attempts_max: 5,
            pause: Duration::from_millis(500),
        }
    }
}

/// One file to download.
pub(super) struct Download {
    /// Where it is.
    pub(super) url: String,
    /// Where it is written; may already hold its beginning.
    pub(super) part: PathBuf,
    /// Its whole size.
    pub(super) bytes: u64,
}

/// What is told of a download, step by step.
pub(super) type Report<'a> = &'a mut (dyn FnMut(Step<'_>) + Send);

impl Hub {
    /// A hub at `base`. The token goes to that host alone: the client drops it when redirected to another.
    ///
    /// # Errors
    /// [`ModelError::Client`]
    pub fn new(base: Url, token: Option<SecretString>) -> Result<Self, ModelError> {
        let client = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            // The client would read proxies from the environment, which is for the configuration to read.
            .no_proxy()
            .build()
            .map_err(ModelError::Client)?;
        Ok(Self {
            client,
            base,
            token,
            retry: Retry::default(),
        })
    }

    /// The same hub, asked this often.
    pub fn with_retry(self, retry: Retry) -> Self {
        Self { retry, ..self }
    }

    /// Where a file of a repository is.
    pub(super) fn url(&self, HubRepo { repo, revision }: &HubRepo, path: &str) -> String {
        let base = self.base.as_str().trim_end_matches('/');
        format!("{base}/{repo}/resolve/{revision}/{path}")
    }

    /// Writes the whole file to its part, going on from what the part holds. The bytes are not verified, only counted.
    ///
    /// After a cut the part keeps what came. A file of another size leaves no part.
    pub(super) async fn download(
        &self,
        download: &Download,
        report: Report<'_>,
    ) -> Result<(), ModelError> {
        let mut etag = None;
        let mut pause = self.retry.pause;
        for attempt in 1.. {
            match self.attempt(download, &mut etag, report).await {
                Ok(()) => break,
                Err(error) if error.may_pass() && attempt < self.retry.attempts_max => {
                    report(Step::Retrying {
                        error: &error,
                        pause,
                    });
                    sleep(pause).await;
                    pause *= 2;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn attempt(
        &self,
        download: &Download,
        etag: &mut Option<HeaderValue>,
        report: Report<'_>,
    ) -> Result<(), ModelError> {
        let held_bytes = download.held_bytes().await?;
        if held_bytes == download.bytes {
            return Ok(());
        }
        let response = self.ask(download, held_bytes, etag.as_ref()).await?;
        let start_bytes = match response.status().as_u16() {
            WHOLE => 0,
            PART if range_start(&response) == Some(held_bytes) => held_bytes,
            // The hub does not go on where the part ends: the next attempt begins at zero.
            PART | NO_SUCH_RANGE => {
                download.remove_part().await?;
                return Err(download.refused(NO_SUCH_RANGE));
            }
            NO_SUCH_FILE => {
                return Err(ModelError::NotFound {
                    url: download.url.clone(),
                });
            }
            status => return Err(download.refused(status)),
        };
        if let Some(more_bytes) = response.content_length() {
            download.expect_total(start_bytes + more_bytes).await?;
        }
        *etag = strong_etag(&response);
        let mut part = Part::open(download, start_bytes).await?;
        part.fill(response, report).await
    }

    async fn ask(
        &self,
        download: &Download,
        held_bytes: u64,
        etag: Option<&HeaderValue>,
    ) -> Result<Response, ModelError> {
        let mut request = self.client.get(&download.url);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token.expose_secret());
        }
        if held_bytes > 0 {
            request = request.header(RANGE, format!("bytes={held_bytes}-"));
            // A part of an earlier run has no tag; there the checksum alone tells whether the halves belong together.
            if let Some(etag) = etag {
                request = request.header(IF_RANGE, etag);
            }
        }
        request
            .send()
            .await
            .map_err(|error| ModelError::Unreachable {
                url: download.url.clone(),
                source: error.without_url(),
            })
    }
}

impl Download {
    /// How much of the file the part holds already; more than the whole file is nothing of it.
    async fn held_bytes(&self) -> Result<u64, ModelError> {
        match tokio::fs::metadata(&self.part).await {
            Ok(metadata) if metadata.len() <= self.bytes => Ok(metadata.len()),
            Ok(_) => Ok(0),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(0),
            Err(error) => Err(ModelError::io("read", &self.part)(error)),
        }
    }

    /// Refuses a file that cannot be the pinned one, whatever its bytes are.
    async fn expect_total(&self, found_bytes: u64) -> Result<(), ModelError> {
        if found_bytes == self.bytes {
            return Ok(());
        }
        self.remove_part().await?;
        Err(ModelError::WrongSize {
            url: self.url.clone(),
            expected_bytes: self.bytes,
            found_bytes,
        })
    }

    async fn remove_part(&self) -> Result<(), ModelError> {
        match tokio::fs::remove_file(&self.part).await {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(ModelError::io("remove", &self.part)(error))
            }
            _ => Ok(()),
        }
    }

    fn refused(&self, status: u16) -> ModelError {
        ModelError::Refused {
            url: self.url.clone(),
            status,
        }
    }
}

/// The beginning of a file, open for more.
struct Part<'a> {
    download: &'a Download,
    file: File,
    received_bytes: u64,
}

impl<'a> Part<'a> {
    /// Opens the part and drops what it holds after `received_bytes`.
    async fn open(download: &'a Download, received_bytes: u64) -> Result<Self, ModelError> {
        let io = |action| ModelError::io(action, &download.part);
        let mut options = File::options();
        let options = options.create(true).truncate(false).write(true);
        let mut file = options.open(&download.part).await.map_err(io("open"))?;
        file.set_len(received_bytes).await.map_err(io("cut"))?;
        let end = SeekFrom::Start(received_bytes);
        file.seek(end).await.map_err(io("seek in"))?;
        Ok(Self {
            download,
            file,
            received_bytes,
        })
    }

    async fn fill(&mut self, mut response: Response, report: Report<'_>) -> Result<(), ModelError> {
        let write_failed = || ModelError::io("write", &self.download.part);
        report(Step::Received {
            bytes: self.received_bytes,
        });
        loop {
            let piece = match response.chunk().await {
                Ok(Some(piece)) => piece,
                ended => {
                    self.file.flush().await.map_err(write_failed())?;
                    return self.end(ended.err());
                }
            };
            let received_bytes = self.received_bytes + piece.len() as u64;
            if received_bytes > self.download.bytes {
                return self.download.expect_total(received_bytes).await;
            }
            self.file.write_all(&piece).await.map_err(write_failed())?;
            self.received_bytes = received_bytes;
            report(Step::Received {
                bytes: received_bytes,
            });
        }
    }

    fn end(&self, error: Option<reqwest::Error>) -> Result<(), ModelError> {
        if self.received_bytes == self.download.bytes {
            return Ok(());
        }
        Err(ModelError::Cut {
            url: self.download.url.clone(),
            received_bytes: self.received_bytes,
            expected_bytes: self.download.bytes,
            source: error.map(reqwest::Error::without_url),
        })
    }
}

/// Where a partial answer begins: `Content-Range: bytes 100-199/200`.
fn range_start(response: &Response) -> Option<u64> {
    let range = response.headers().get(CONTENT_RANGE)?.to_str().ok()?;
    let (start, _) = range.strip_prefix("bytes ")?.split_once('-')?;
    start.trim().parse().ok()
}

/// The answer's tag, unless it is weak: a weak one never matches in `If-Range`, and would make every attempt start anew.
fn strong_etag(response: &Response) -> Option<HeaderValue> {
    let etag = response.headers().get(ETAG)?;
    (!etag.as_bytes().starts_with(b"W/")).then(|| etag.clone())
}
