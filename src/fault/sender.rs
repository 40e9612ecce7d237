//! Carries a reply out on a socket.

use std::{io, time::Duration};

use tokio::{
    io::AsyncWriteExt,
    net::tcp::WriteHalf,
    time::{sleep, timeout},
};

use super::{
    TimeScale,
    reply::{End, Framing, Head, Reply, Step},
};

/// How many bytes are gathered before they are sent.
const GATHERED_BYTES_MAX: usize = 64 << 10;

/// How long a client may take no bytes.
const WRITE_MAX: Duration = Duration::from_secs(60);

/// How long a silence lasts before the connection is closed after all; not scaled.
const SILENCE_MAX: Duration = Duration::from_secs(3600);

/// The shortest sleep that is worth its name: timers tick in milliseconds. What is shorter adds up until it is as long.
const SLEEP_MIN: Duration = Duration::from_millis(1);

/// What becomes of a connection after a reply.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Then {
    Next,
    Close,
    Reset,
}

/// The writing half of a connection.
pub(super) struct Sender<'s> {
    writer: WriteHalf<'s>,
    scale: TimeScale,
    /// Whether the head must say that the connection closes.
    closes: bool,
    gathered: Vec<u8>,
    framing: Framing,
    /// Waits that were too short to be slept.
    owed: Duration,
}

impl<'s> Sender<'s> {
    pub(super) fn new(writer: WriteHalf<'s>, scale: TimeScale, keep_alive: bool) -> Self {
        Self {
            writer,
            scale,
            closes: !keep_alive,
            gathered: Vec::new(),
            framing: Framing::Length(0),
            owed: Duration::ZERO,
        }
    }

    /// # Errors
    /// The client has left.
    pub(super) async fn send(mut self, reply: Reply) -> io::Result<Then> {
        for step in reply.steps {
            self.step(step).await?;
        }
        if reply.end == End::Whole && self.framing == Framing::Chunked {
            self.gathered.extend(b"0\r\n\r\n");
        }
        self.flush().await?;
        Ok(match reply.end {
            End::Whole if self.closes || self.framing == Framing::UntilClose => Then::Close,
            End::Whole => Then::Next,
            End::Close => Then::Close,
            End::Reset => Then::Reset,
            End::Silence => {
                sleep(SILENCE_MAX).await;
                Then::Close
            }
        })
    }

    async fn step(&mut self, step: Step) -> io::Result<()> {
        match step {
            Step::Head(head) => {
                self.head(&head);
                Ok(())
            }
            Step::Bytes(bytes) => self.body(&bytes).await,
            Step::Flush => self.flush().await,
            Step::Wait(wait) => self.wait(wait).await,
            Step::Drip { bytes, pace } => {
                for byte in bytes {
                    self.wait(pace).await?;
                    self.body(&[byte]).await?;
                    self.flush().await?;
                }
                Ok(())
            }
            Step::Repeat { bytes, times } => {
                for _time in 0..times {
                    self.body(&bytes).await?;
                }
                Ok(())
            }
        }
    }

    fn head(&mut self, head: &Head) {
        self.framing = head.framing;
        let version = match head.framing {
            Framing::UntilClose => "1.0",
            Framing::Chunked | Framing::Length(_) => "1.1",
        };
        let Head { status, .. } = *head;
        let mut text = format!("HTTP/{version} {status} {}\r\n", reason(status));
        for (name, value) in &head.headers {
            text += &format!("{name}: {value}\r\n");
        }
        match head.framing {
            Framing::Chunked => text += "transfer-encoding: chunked\r\n",
            Framing::Length(length) => text += &format!("content-length: {length}\r\n"),
            Framing::UntilClose => {}
        }
        if self.closes || head.framing == Framing::UntilClose {
            text += "connection: close\r\n";
        }
        text += "\r\n";
        self.gathered.extend(text.bytes());
    }

    async fn body(&mut self, bytes: &[u8]) -> io::Result<()> {
        // A chunk without bytes would be the end of the body.
        if bytes.is_empty() {
            return Ok(());
        }
        if self.framing == Framing::Chunked {
            let size = format!("{:x}\r\n", bytes.len());
            self.gathered.extend(size.bytes());
            self.gathered.extend(bytes);
            self.gathered.extend(b"\r\n");
        } else {
            self.gathered.extend(bytes);
        }
        if self.gathered.len() >= GATHERED_BYTES_MAX {
            self.flush().await?;
        }
        Ok(())
    }

    async fn wait(&mut self, wait: Duration) -> io::Result<()> {
        self.flush().await?;
        self.owed = self.owed.saturating_add(self.scale.scaled(wait));
        if self.owed >= SLEEP_MIN {
            sleep(std::mem::take(&mut self.owed)).await;
        }
        Ok(())
    }

    async fn flush(&mut self) -> io::Result<()> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        timeout(WRITE_MAX, self.writer.write_all(&self.gathered)).await??;
        self.gathered.clear();
        Ok(())
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        404 => "Not Found",
        405 => "Method Not Allowed",
        413 => "Content Too Large",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => "Other",
    }
}
