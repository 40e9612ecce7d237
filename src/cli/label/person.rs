//! A person labels, on a screen or line by line.

use std::{
    collections::HashSet,
    io::{IsTerminal as _, stdin, stdout},
};

use rayon::prelude::*;
use tokio::select;

use super::{
    super::{CliError, output, signals::Signals},
    choices::Choices,
    lines, said,
    screen::{Screen, Step},
    session::Session,
    terminal::{self, Came, Terminal},
    view,
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
    query::Query,
    router::static_encoder::StaticEncoder,
    store::Store,
};

pub(super) async fn run(store: &Store, config: &Config, by: &str) -> Result<(), CliError> {
    let (_, rows) = said(store, config).await.map_err(CliError::failed)?;
    let candidates = store.unlabelled(informative::CANDIDATES_MAX).await;
    let candidates = distinct(candidates.map_err(CliError::failed)?, &rows);
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
    done
}

/// Each text once, the newest, without those that people have labelled already.
fn distinct(mut candidates: Vec<Candidate>, labelled: &[Row]) -> Vec<Candidate> {
    let mut seen: HashSet<String> = labelled.iter().map(|row| row.text.clone()).collect();
    candidates.retain(|it| {
        let text = Query::from_text(&it.question).text;
        !text.is_empty() && seen.insert(text)
    });
    candidates
}

/// The candidates by what their labels would teach; those first that labelled questions nearby disagree about.
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
        match screen.press(key) {
            Step::Stay => {}
            Step::Label(category) => {
                session.label(&category).await.map_err(CliError::failed)?;
                screen.turn(format!("the last one: {category}"));
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
