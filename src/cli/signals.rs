//! SIGTERM and Ctrl-C: the person or the service manager wants the process to end. SIGHUP: to read its files again.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Both signals; from the moment that this exists, neither ends the process by itself.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// # Errors
    /// The system takes no handler.
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for either of them, one that came since [`Self::listen`] included.
    pub(super) async fn received(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// SIGHUP; from the moment that this exists, it does not end the process.
pub(super) struct Hangups(Signal);

impl Hangups {
    /// # Errors
    /// The system takes no handler.
    pub(super) fn listen() -> io::Result<Self> {
        signal(SignalKind::hangup()).map(Self)
    }

    /// Waits for the next.
    pub(super) async fn received(&mut self) {
        self.0.recv().await;
    }
}
