//! Without a terminal: a question on standard output, a category's name a line on standard input.

use std::{
    io::{self, BufRead as _, Read as _, stdin},
    thread,
};

use tokio::{select, sync::mpsc};

use super::{
    super::{CliError, output, signals::Signals},
    choices::{Choices, Typed},
    session::{Given, Session},
    text::one_line,
    view,
};

/// Most that is read from standard input, in bytes: a million labels.
const INPUT_BYTES_MAX: u64 = 64 << 20;

/// Lines that are read ahead of the questions.
const LINES_AHEAD_MAX: usize = 16;

/// What a line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Asked<'l> {
    Label(&'l str),
    Skip,
    Undo,
    Quit,
    Nothing,
    Unknown(String),
}

/// Asks until the input or the questions end; what was labelled is in the store, whatever ends it.
pub(super) async fn run(session: &mut Session<'_>, choices: &Choices) -> Result<(), CliError> {
    let mut signals = Signals::listen().map_err(CliError::failed)?;
    let mut lines = read();
    tell(session);
    while session.current().is_some() {
        let Some(line) = next(&mut lines, &mut signals).await? else {
            break;
        };
        match asked(choices, line.trim()) {
            Asked::Label(category) => {
                match session.label(category).await.map_err(CliError::failed)? {
                    Given::Kept => output::line(&format!("= {category}")),
                    Given::Gone => {
                        output::note("that question was deleted from the store meanwhile");
                    }
                }
                tell(session);
            }
            Asked::Skip => {
                session.skip();
                tell(session);
            }
            Asked::Undo => {
                if session.undo().await.map_err(CliError::failed)? {
                    tell(session);
                } else {
                    output::note("there is nothing to take back");
                }
            }
            Asked::Quit => break,
            Asked::Nothing => {}
            Asked::Unknown(why) => output::note(&why),
        }
    }
    Ok(())
}

/// Reads standard input on a thread of its own, for which nobody waits: a signal ends the sitting although no line comes.
fn read() -> mpsc::Receiver<io::Result<String>> {
    let (sender, lines) = mpsc::channel(LINES_AHEAD_MAX);
    thread::spawn(move || {
        for line in stdin().lock().take(INPUT_BYTES_MAX).lines() {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    lines
}

/// The next line; none at the end of the input, or where a signal asks for the end.
async fn next(
    lines: &mut mpsc::Receiver<io::Result<String>>,
    signals: &mut Signals,
) -> Result<Option<String>, CliError> {
    let line = select! {
        line = lines.recv() => line.transpose(),
        () = signals.received() => Ok(None),
    };
    line.map_err(|error| CliError::Failed(format!("standard input cannot be read: {error}")))
}

fn asked<'l>(choices: &'l Choices, line: &str) -> Asked<'l> {
    match line {
        "" => return Asked::Nothing,
        ":skip" => return Asked::Skip,
        ":undo" => return Asked::Undo,
        ":quit" => return Asked::Quit,
        _ => {}
    }
    match choices.typed(line) {
        Typed::One(name) | Typed::Whole(name) => Asked::Label(name),
        Typed::Several => Asked::Unknown(format!(
            "several categories begin with `{line}`; write more of the name"
        )),
        Typed::None => {
            let names: Vec<&str> = choices.all().iter().map(|it| it.name.as_str()).collect();
            Asked::Unknown(format!(
                "there is no category `{}`; write one of {}, or :skip, :undo, :quit",
                one_line(line),
                names.join(", ")
            ))
        }
    }
}

fn tell(session: &Session<'_>) {
    if let Some(candidate) = session.current() {
        output::line(&format!("? {}", one_line(&candidate.question)));
        output::line(&format!("  {}", view::router(candidate)));
    }
}

#[cfg(test)]
mod tests {
    use super::{super::choices::tests::choices, *};

    #[test]
    fn a_line_is_a_category_or_its_beginning_or_a_command() {
        let choices = choices(["math", "medical", "out_of_domain"]);
        assert_eq!(asked(&choices, "math"), Asked::Label("math"));
        assert_eq!(asked(&choices, "me"), Asked::Label("medical"));
        assert_eq!(asked(&choices, ":undo"), Asked::Undo);
        assert_eq!(asked(&choices, ":skip"), Asked::Skip);
        assert_eq!(asked(&choices, ":quit"), Asked::Quit);
        assert_eq!(asked(&choices, ""), Asked::Nothing);
        assert!(matches!(asked(&choices, "m"), Asked::Unknown(_)));
        let Asked::Unknown(told) = asked(&choices, "art\u{1b}[2J") else {
            panic!("there is no such category");
        };
        assert!(
            told.contains("math, medical") && !told.contains('\u{1b}'),
            "{told}"
        );
    }
}
