//! The terminal: raw, on a page of its own, and given back as it was.

use std::{
    io::{self, Stdout, Write as _},
    time::Duration,
};

use crossterm::{
    cursor::{Hide, MoveTo, Show},
    event::{
        self, DisableBracketedPaste, EnableBracketedPaste, Event, KeyCode, KeyEvent, KeyEventKind,
        KeyModifiers,
    },
    execute, queue,
    style::{Attribute, Print, SetAttribute},
    terminal::{
        Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode,
        enable_raw_mode, size,
    },
};
use tokio::task::spawn_blocking;

use super::{
    screen::Key,
    view::{Line, Style},
};

/// Longest wait for a key: as long as a signal waits to be noticed.
const KEY_WAIT_MAX: Duration = Duration::from_millis(200);

/// The terminal while it is ours.
pub(super) struct Terminal(Stdout);

impl Terminal {
    /// Takes the terminal; dropping what is returned gives it back.
    ///
    /// # Errors
    /// It cannot be put into raw mode.
    pub(super) fn take() -> io::Result<Self> {
        enable_raw_mode()?;
        let mut terminal = Self(io::stdout());
        // What is pasted comes as one event, which says nothing here, and not as keys, which would label.
        execute!(terminal.0, EnterAlternateScreen, EnableBracketedPaste, Hide)?;
        Ok(terminal)
    }

    /// Columns and rows.
    pub(super) fn size(&self) -> (usize, usize) {
        let (columns, rows) = size().unwrap_or((80, 24));
        (columns.into(), rows.into())
    }

    /// Shows these lines and nothing else.
    ///
    /// # Errors
    /// The terminal is gone.
    pub(super) fn show(&mut self, lines: &[Line]) -> io::Result<()> {
        queue!(self.0, Clear(ClearType::All))?;
        for (row, line) in (0..).zip(lines) {
            let attribute = match line.style {
                Style::Plain => Attribute::Reset,
                Style::Strong => Attribute::Bold,
                Style::Faint => Attribute::Dim,
            };
            queue!(
                self.0,
                MoveTo(0, row),
                SetAttribute(attribute),
                Print(&line.text),
                SetAttribute(Attribute::Reset)
            )?;
        }
        self.0.flush()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Nothing more can be done for a terminal that is gone.
        execute!(self.0, Show, DisableBracketedPaste, LeaveAlternateScreen).ok();
        disable_raw_mode().ok();
    }
}

/// What came from the terminal.
pub(super) enum Came {
    /// A key that means something.
    Key(Key),
    /// Something after which the screen is to be shown again.
    Other,
}

/// Waits for the next key, or for the terminal to change.
///
/// # Errors
/// The terminal is gone.
pub(super) async fn next() -> io::Result<Came> {
    loop {
        let waiting = spawn_blocking(|| {
            if event::poll(KEY_WAIT_MAX)? {
                return event::read().map(Some);
            }
            Ok(None)
        });
        match waiting.await.map_err(io::Error::other)?? {
            Some(Event::Key(pressed)) if pressed.kind != KeyEventKind::Release => {
                if let Some(key) = key(pressed) {
                    return Ok(Came::Key(key));
                }
            }
            Some(Event::Resize(..)) => return Ok(Came::Other),
            _ => {}
        }
    }
}

fn key(pressed: KeyEvent) -> Option<Key> {
    if pressed.modifiers.contains(KeyModifiers::CONTROL) {
        return match pressed.code {
            KeyCode::Char('z' | 'u') => Some(Key::Undo),
            KeyCode::Char('c' | 'd') => Some(Key::Quit),
            _ => None,
        };
    }
    match pressed.code {
        KeyCode::Char(c) => Some(Key::Char(c)),
        KeyCode::Enter => Some(Key::Enter),
        KeyCode::Backspace => Some(Key::Backspace),
        KeyCode::Esc => Some(Key::Escape),
        KeyCode::Down | KeyCode::PageDown => Some(Key::Down),
        KeyCode::Up | KeyCode::PageUp => Some(Key::Up),
        _ => None,
    }
}
