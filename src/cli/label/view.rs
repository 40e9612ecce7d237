//! The screen's state → lines of a terminal. Pure.

use unicode_width::UnicodeWidthStr as _;

use super::{
    screen::Screen,
    text::{cut, one_line, pad, printable, wrap},
};
use crate::learning::Candidate;

/// Scores that are shown: what follows is next to nothing.
const SCORES_SHOWN: usize = 4;

/// Lines of a question that are shown even where the categories then do not fit.
const QUESTION_LINES_MIN: usize = 3;

/// How a line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    Strong,
    Faint,
}

/// One line, no wider than the terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) text: String,
    pub(super) style: Style,
}

/// What is told of the work.
#[derive(Clone, Copy, Debug)]
pub(super) struct Progress<'p> {
    /// Who labels.
    pub(super) by: &'p str,
    /// Labels that they gave today.
    pub(super) today: u64,
    /// Questions that wait.
    pub(super) left: usize,
}

/// What is shown.
pub(super) struct Shown {
    /// From the top.
    pub(super) lines: Vec<Line>,
    /// Lines of the question that can be passed over, so that its end is seen.
    pub(super) scrolled_max: usize,
}

/// The whole screen, `height` lines at most.
pub(super) fn view(
    screen: &Screen,
    candidate: &Candidate,
    progress: Progress<'_>,
    (width, height): (usize, usize),
) -> Shown {
    let mut foot = vec![
        line("", Style::Plain),
        line(&router(candidate), Style::Faint),
        line("", Style::Plain),
    ];
    foot.extend(choices(screen, width));
    foot.push(line("", Style::Plain));
    foot.push(line(&format!("> {}", screen.typed()), Style::Strong));
    foot.push(line(screen.message(), Style::Plain));
    let help = "space skip · ctrl-z undo · ↑ ↓ scroll · esc quit";
    foot.push(line(help, Style::Faint));

    let room = height
        .saturating_sub(foot.len() + 2)
        .max(QUESTION_LINES_MIN);
    let mut lines = vec![line(&head(progress), Style::Faint), line("", Style::Plain)];
    let wrapped = wrap(&printable(&candidate.question), width);
    let scrolled_max = wrapped.len().saturating_sub(room);
    lines.extend(question(
        &wrapped,
        screen.scrolled().min(scrolled_max),
        room,
    ));
    lines.extend(foot);
    lines.truncate(height);
    for line in &mut lines {
        line.text = cut(&line.text, width);
    }
    Shown {
        lines,
        scrolled_max,
    }
}

fn head(progress: Progress<'_>) -> String {
    let Progress { by, today, left } = progress;
    format!("{} · {today} labelled today · {left} left", one_line(by))
}

fn question(wrapped: &[String], from: usize, room: usize) -> Vec<Line> {
    let mut lines: Vec<Line> = wrapped
        .iter()
        .skip(from)
        .take(room)
        .map(|text| line(text, Style::Strong))
        .collect();
    let hidden = wrapped.len() - from - lines.len();
    if hidden > 0
        && let Some(last) = lines.last_mut()
    {
        *last = line(&format!("… {} more lines", hidden + 1), Style::Faint);
    }
    lines
}

/// What the router said, in one line.
pub(super) fn router(candidate: &Candidate) -> String {
    let scores = candidate.scores.iter().take(SCORES_SHOWN);
    let scores =
        scores.map(|score| format!("{} {:.0} %", score.category, score.probability * 100.0));
    let scores = scores.collect::<Vec<_>>().join(", ");
    one_line(&format!("router: {scores} ({})", candidate.reason))
}

/// The categories in columns, each with what has to be typed in brackets.
fn choices(screen: &Screen, width: usize) -> Vec<Line> {
    let labels: Vec<String> = screen
        .choices()
        .all()
        .iter()
        .filter(|choice| super::choices::begins(&choice.name, screen.typed()))
        .map(|choice| {
            let chars = choice.name.chars();
            let key: String = chars.clone().take(choice.key_chars).collect();
            let rest: String = chars.skip(choice.key_chars).collect();
            one_line(&format!("[{key}]{rest}"))
        })
        .collect();
    let column = labels.iter().map(|label| label.width()).max().unwrap_or(0) + 2;
    let columns = (width / column).max(1);
    let rows = labels.len().div_ceil(columns).max(1);
    let row = |at: usize| -> String {
        let cells = labels.iter().skip(at).step_by(rows);
        cells.map(|label| pad(label, column)).collect()
    };
    (0..rows)
        .map(|at| line(row(at).trim_end(), Style::Plain))
        .collect()
}

fn line(text: &str, style: Style) -> Line {
    Line {
        text: text.to_owned(),
        style,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::{
        super::{choices::tests::choices, screen::Key, text::is_invisible},
        *,
    };
    use crate::{decision::Score, ids::CategoryId};

    fn candidate(question: &str) -> Candidate {
        let score = |category, probability| Score {
            category: CategoryId::new(category),
            probability,
        };
        Candidate {
            outcome_id: "a".into(),
            asked_at_ms: 1,
            conversation: None,
            question: question.into(),
            scores: vec![score("math", 0.61), score("law", 0.3)],
            reason: "unsure".into(),
        }
    }

    const PROGRESS: Progress<'_> = Progress {
        by: "ann",
        today: 12,
        left: 488,
    };

    fn shown(screen: &Screen, question: &str, size: (usize, usize)) -> Vec<String> {
        let shown = view(screen, &candidate(question), PROGRESS, size);
        shown.lines.into_iter().map(|line| line.text).collect()
    }

    fn screen() -> Screen {
        Screen::new(choices(["math", "medical", "law", "out_of_domain"]))
    }

    #[test]
    fn everything_that_is_needed_is_shown() {
        let text = shown(&screen(), "What is a tort?", (60, 24)).join("\n");
        for needed in [
            "ann · 12 labelled today · 488 left",
            "What is a tort?",
            "router: math 61 %, law 30 % (unsure)",
            "[ma]th",
            "[l]aw",
            "[o]ut_of_domain",
            "space skip",
        ] {
            assert!(text.contains(needed), "{needed} is missing:\n{text}");
        }
    }

    #[test]
    fn only_what_can_still_be_meant_is_shown() {
        let mut screen = screen();
        screen.press(Key::Char('m'), Instant::now());
        let text = shown(&screen, "Why?", (60, 24)).join("\n");
        assert!(text.contains("> m") && text.contains("[me]dical"), "{text}");
        assert!(!text.contains("[l]aw"), "{text}");
    }

    #[test]
    fn nothing_is_wider_or_higher_than_the_terminal() {
        let long = "Wörter 漢字漢字漢字 ".repeat(200) + &"x".repeat(500);
        for size in [(80, 24), (20, 10), (7, 5), (1, 1), (0, 0)] {
            let lines = shown(&screen(), &long, size);
            assert!(lines.len() <= size.1, "{size:?}");
            assert!(
                lines.iter().all(|line| line.width() <= size.0),
                "{size:?} {lines:?}"
            );
        }
    }

    #[test]
    fn a_long_question_is_read_by_scrolling() {
        let long: String = (0..100).map(|at| format!("line {at}\n")).collect();
        let mut screen = screen();
        let text = shown(&screen, &long, (60, 20)).join("\n");
        assert!(
            text.contains("line 0") && text.contains("more lines"),
            "{text}"
        );
        for _ in 0..200 {
            screen.press(Key::Down, Instant::now());
        }
        let text = shown(&screen, &long, (60, 20)).join("\n");
        assert!(
            text.contains("line 99") && !text.contains("more lines"),
            "{text}"
        );
    }

    #[test]
    fn a_question_cannot_control_the_terminal() {
        let evil = "a\u{1b}[2J\u{7}b\u{9b}31m\u{202e}c\r\nd\te";
        let text = shown(&screen(), evil, (60, 24)).join("\n");
        assert!(
            !text
                .chars()
                .any(|c| c != '\n' && (c.is_control() || is_invisible(c))),
            "{text:?}"
        );
        assert!(
            text.contains("a\u{fffd}[2J") && text.contains("d    e"),
            "{text}"
        );
    }
}
