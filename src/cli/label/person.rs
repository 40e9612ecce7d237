//! A person labels, on a screen or line by line.

use std::{
    io::{IsTerminal as _, stdin, stdout},
    time::Instant,
};

use rayon::prelude::*;
use tokio::select;

use super::{
    super::{CliError, output, signals::Signals},
    choices::Choices,
    is_new, lines, said,
    screen::{Screen, Step},
    session::{Given, Session},
    terminal::{self, Came, Terminal},
    texts, view,
};
use crate::{
    config::Config,
    learning::{
        Candidate,
        informative::{self, Queue},
        neighbours::{SEED_MAX, Seed},
        resolve::Row,
        vectors,
    },
    router::static_encoder::StaticEncoder,
    store::Store,
};

pub(super) async fn run(store: &Store, config: &Config, by: &str) -> Result<(), CliError> {
    let (_, rows) = said(store, config).await.map_err(CliError::failed)?;
    let mut seen = texts(&rows);
    let waiting = store.unlabelled(informative::CANDIDATES_MAX, |it| is_new(&mut seen, it));
    let candidates = waiting.await.map_err(CliError::failed)?.candidates;
    if candidates.is_empty() {
        output::note(
            "no question waits for a label; the router must have routed some, and `store.content` must keep their text",
        );
        return Ok(());
    }
    let router = config.router.clone();
    let classes = config.catalogue.routes.len() + 1;
    let preparing = tokio::task::spawn_blocking(move || {
        let queue = queue(&candidates, rows, vectors::open(&router).as_ref(), classes);
        (candidates, queue)
    });
    let (candidates, queue) = preparing.await.map_err(CliError::failed)?;
    let session = Session::begin(store, by, candidates, queue).await;
    let mut session = session.map_err(CliError::failed)?;
    let choices = Choices::of(&config.catalogue);
    let done = if stdin().is_terminal() && stdout().is_terminal() {
        on_screen(&mut session, choices).await
    } else {
        lines::run(&mut session, &choices).await
    };
    let left = session.progress().left;
    output::note(&format!("{} labelled, {left} left", session.labelled()));
    if session.gone() > 0 {
        output::note(&format!(
            "{} were deleted from the store before they got their label",
            session.gone()
        ));
    }
    done
}

/// The candidates by what their labels would teach; that labelled questions nearby disagree is one of the reasons.
fn queue(
    candidates: &[Candidate],
    mut rows: Vec<Row>,
    encoder: Option<&StaticEncoder>,
    classes: usize,
) -> Queue {
    let texts: Vec<&str> = candidates.iter().map(|it| it.question.as_str()).collect();
    let of_candidates = vectors::of(encoder, &texts);
    // Rows come oldest first.
    rows.drain(..rows.len().saturating_sub(SEED_MAX));
    let texts: Vec<&str> = rows.iter().map(|row| row.text.as_str()).collect();
    let of_rows = vectors::of(encoder, &texts);
    let seed = Seed::new(rows, of_rows);
    let uncertainties: Vec<f64> = candidates
        .par_iter()
        .zip(of_candidates.outer_iter().into_par_iter())
        .map(|(candidate, vector)| {
            let disagreement = seed.near(vector).map_or(0.0, |nearby| nearby.disagreement);
            informative::uncertainty(&candidate.scores, classes) + disagreement
        })
        .collect();
    Queue::new(&uncertainties, of_candidates)
}

async fn on_screen(session: &mut Session<'_>, choices: Choices) -> Result<(), CliError> {
    let mut signals = Signals::listen().map_err(CliError::failed)?;
    let mut terminal = Terminal::take().map_err(CliError::failed)?;
    let mut screen = Screen::new(choices);
    while let Some(candidate) = session.current() {
        let shown = view::view(&screen, candidate, session.progress(), terminal.size());
        screen.scroll_at_most(shown.scrolled_max);
        terminal.show(&shown.lines).map_err(CliError::failed)?;
        let came = select! {
            came = terminal::next() => came.map_err(CliError::failed)?,
            () = signals.received() => break,
        };
        let Came::Key(key) = came else {
            continue;
        };
        match screen.press(key, Instant::now()) {
            Step::Stay => {}
            Step::Label(category) => {
                let given = session.label(&category).await.map_err(CliError::failed)?;
                screen.turn(match given {
                    Given::Kept => format!("the last one: {category}"),
                    Given::Gone => "the last one is gone: it was deleted meanwhile".to_owned(),
                });
            }
            Step::Skip => {
                session.skip();
                screen.turn("the last one: skipped".to_owned());
            }
            Step::Undo => {
                let undone = session.undo().await.map_err(CliError::failed)?;
                let told = if undone {
                    "taken back"
                } else {
                    "there is nothing to take back"
                };
                screen.turn(told.to_owned());
            }
            Step::Quit => break,
        }
    }
    Ok(())
}
