//! Whether Coterie learns from its traffic, and from nothing that it should not: replays labelled questions.
//!
//! `cargo bench --bench learning -- --labels F.jsonl … [replay] [shift] [adversary] [kill]`: without a name, all of them.
//! - `replay`: through a server that knows twenty examples a category, with feedback on a third of the questions, a tenth
//!   of it wrong, and four retrainings; the accuracy on rows that nobody has seen after each.
//! - `shift`: the same server, until two categories are asked for no more and one that no route covers is: how soon that is
//!   noticed, what is proposed, and whether it is routed once it was accepted and learnt.
//! - `adversary`: a hundred times the same in small, where three tenths of the feedback are one client's lies. `--runs 20..40`
//!   does some of them: all take hours.
//! - `kill`: two hundred retrainings, promotions and roll-backs that are killed at a random moment of their own duration; the
//!   registry must be whole after each.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a program for developers, which prints and may stop"
)]

mod adversary;
mod house;
mod kill;
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
    let known = ["replay", "shift", "adversary", "kill"];
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
        runtime.block_on(adversary::run(&labels, runs(&arguments)));
    }
    if is_wanted("kill") {
        runtime.block_on(kill::run(&labels));
    }
}

/// The runs that were asked for; without a word all of them.
fn runs(arguments: &[String]) -> Range<u64> {
    let Some(at) = arguments.iter().position(|argument| argument == "--runs") else {
        return adversary::RUNS;
    };
    let (first, end) = arguments[at + 1].split_once("..").unwrap();
    first.parse().unwrap()..end.parse().unwrap()
}
