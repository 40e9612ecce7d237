//! Whether Coterie learns from its traffic, and from nothing that it should not: replays labelled questions.
//!
//! `cargo bench --bench learning -- --labels F.jsonl … [replay] [shift] [adversary] [quiet] [kill]`: without a name, all of them.
//! - `replay`: through a server that knows twenty examples a category, with feedback on a third of the questions, a tenth
//!   of it wrong, and four retrainings; the accuracy on rows that nobody has seen after each.
//! - `shift`: the same server, until two categories are asked for no more and one that no route covers is: how soon that is
//!   noticed, what is proposed, and whether it is routed once it was accepted and learnt.
//! - `adversary`: a hundred times the same in small, where three tenths of the feedback are one client's lies. `--runs 20..40`
//!   does some of them: all take hours.
//! - `quiet`: twenty times 20,000 questions drawn at random, which is traffic without a shift: how often the watch for drift
//!   raises an alarm all the same. `--runs 0..5` does some of them: each takes seconds.
//! - `kill`: retrainings, promotions and roll-backs that are killed at a random moment of their own duration, until two hundred
//!   were hit before their end; after each the registry must be whole and a server answer.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a program for developers, which prints and may stop"
)]

mod adversary;
mod house;
mod kill;
mod quiet;
mod replay;
mod rows;
mod shift;

use std::{ops::Range, path::PathBuf};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let labels: Vec<PathBuf> = arguments
        .iter()
        .skip_while(|argument| *argument != "--labels")
        .skip(1)
        .take_while(|argument| argument.ends_with(".jsonl"))
        .map(PathBuf::from)
        .collect();
    if labels.is_empty() {
        println!("name labelled questions: --labels F.jsonl …");
        return;
    }
    let known = ["replay", "shift", "adversary", "quiet", "kill"];
    let named: Vec<&String> = arguments
        .iter()
        .filter(|argument| known.contains(&argument.as_str()))
        .collect();
    let is_wanted = |name: &str| named.is_empty() || named.iter().any(|named| *named == name);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    if is_wanted("replay") {
        runtime.block_on(replay::run(&labels));
    }
    if is_wanted("shift") {
        runtime.block_on(shift::run(&labels));
    }
    if is_wanted("adversary") {
        let runs = runs(&arguments, adversary::RUNS);
        runtime.block_on(adversary::run(&labels, runs));
    }
    if is_wanted("quiet") {
        let runs = runs(&arguments, quiet::RUNS);
        runtime.block_on(quiet::run(&labels, runs));
    }
    if is_wanted("kill") {
        runtime.block_on(kill::run(&labels));
    }
}

/// The runs that were asked for; without a word all of a part.
fn runs(arguments: &[String], all: Range<u64>) -> Range<u64> {
    let Some(at) = arguments.iter().position(|argument| argument == "--runs") else {
        return all;
    };
    let (first, end) = arguments[at + 1].split_once("..").unwrap();
    first.parse().unwrap()..end.parse().unwrap()
}
