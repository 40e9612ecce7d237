//! The screen's state: keys in → state and what is to be done out. Pure.

use std::time::{Duration, Instant};

use super::choices::{Choices, Typed};

/// How long after a label letters may still go on with its name: whoever types it whole makes no longer pauses, and nobody has
/// read the next question by then.
const TYPED_ON_WITHIN: Duration = Duration::from_secs(1);

/// What a person pressed, as far as it means something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// A character of a category's name; a space skips.
    Char(char),
    /// Takes the whole name that was typed.
    Enter,
    /// Takes the last character back.
    Backspace,
    /// Takes what was typed back; leaves where there is nothing.
    Escape,
    /// Takes the last label or skip back.
    Undo,
    /// Leaves.
    Quit,
    /// Shows more of a long question.
    Down,
    /// Goes back in it.
    Up,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing but showing the state.
    Stay,
    /// The question gets this category.
    Label(String),
    /// The next question, without a label.
    Skip,
    /// The last label or skip is taken back.
    Undo,
    /// The end.
    Quit,
}

/// What is shown beside the question.
pub(super) struct Screen {
    choices: Choices,
    typed: String,
    message: String,
    scrolled: usize,
    typed_on: Option<TypedOn>,
}

/// What is left of a name whose beginning was enough for a label: whoever types the whole of it must not name the next
/// question's category with its end.
struct TypedOn {
    rest: String,
    until: Instant,
}

impl Screen {
    /// With nothing typed.
    pub(super) fn new(choices: Choices) -> Self {
        Self {
            choices,
            typed: String::new(),
            message: String::new(),
            scrolled: 0,
            typed_on: None,
        }
    }

    /// What can be named.
    pub(super) fn choices(&self) -> &Choices {
        &self.choices
    }

    /// The beginning of a name that was typed.
    pub(super) fn typed(&self) -> &str {
        &self.typed
    }

    /// What happened last.
    pub(super) fn message(&self) -> &str {
        &self.message
    }

    /// Lines of the question that are passed over.
    pub(super) fn scrolled(&self) -> usize {
        self.scrolled
    }

    /// The question ends there.
    pub(super) fn scroll_at_most(&mut self, lines: usize) {
        self.scrolled = self.scrolled.min(lines);
    }

    /// Another question is shown: nothing is typed, and this is what happened.
    pub(super) fn turn(&mut self, message: String) {
        self.typed.clear();
        self.scrolled = 0;
        self.message = message;
    }

    /// Takes a key that was pressed at a moment.
    pub(super) fn press(&mut self, key: Key, at: Instant) -> Step {
        if self.is_typed_on(key, at) {
            return Step::Stay;
        }
        self.message.clear();
        match key {
            Key::Char(' ') if self.typed.is_empty() => Step::Skip,
            Key::Char(c) => self.letter(c, at),
            Key::Enter => self.enter(),
            Key::Backspace => {
                self.typed.pop();
                Step::Stay
            }
            Key::Escape if self.typed.is_empty() => Step::Quit,
            Key::Escape => {
                self.typed.clear();
                Step::Stay
            }
            Key::Undo => Step::Undo,
            Key::Quit => Step::Quit,
            Key::Down => {
                self.scrolled += 1;
                Step::Stay
            }
            Key::Up => {
                self.scrolled = self.scrolled.saturating_sub(1);
                Step::Stay
            }
        }
    }

    /// A letter names a category as soon as no other begins so; one with which none begins is not taken.
    fn letter(&mut self, c: char, at: Instant) -> Step {
        self.typed.push(c);
        match self.choices.typed(&self.typed) {
            Typed::One(name) => {
                self.typed_on = Some(TypedOn {
                    rest: name.chars().skip(self.typed.chars().count()).collect(),
                    until: at + TYPED_ON_WITHIN,
                });
                Step::Label(name.to_owned())
            }
            Typed::Several | Typed::Whole(_) => Step::Stay,
            Typed::None => {
                self.message = format!("no category begins with `{}`", self.typed);
                self.typed.pop();
                Step::Stay
            }
        }
    }

    /// Whether a key only goes on with the name that was just taken; any other, and any after a pause, is meant for the question
    /// that is shown.
    fn is_typed_on(&mut self, key: Key, at: Instant) -> bool {
        let Some(TypedOn { rest, until }) = self.typed_on.take() else {
            return false;
        };
        let mut rest = rest.chars();
        let (Key::Char(c), Some(next)) = (key, rest.next()) else {
            return false;
        };
        if at > until || !c.eq_ignore_ascii_case(&next) {
            return false;
        }
        self.typed_on = Some(TypedOn {
            rest: rest.collect(),
            until: at + TYPED_ON_WITHIN,
        });
        true
    }

    fn enter(&mut self) -> Step {
        match self.choices.typed(&self.typed) {
            Typed::One(name) | Typed::Whole(name) => Step::Label(name.to_owned()),
            Typed::Several | Typed::None => {
                "type the beginning of a category until no other begins so"
                    .clone_into(&mut self.message);
                Step::Stay
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::choices::tests::choices, *};

    fn screen() -> Screen {
        Screen::new(choices([
            "math",
            "math_word",
            "medical",
            "law",
            "out_of_domain",
        ]))
    }

    fn label(name: &str) -> Step {
        Step::Label(name.to_owned())
    }

    /// What comes of the last of some keys, pressed at once.
    fn press(screen: &mut Screen, keys: &[Key]) -> Step {
        let now = Instant::now();
        let steps: Vec<_> = keys.iter().map(|key| screen.press(*key, now)).collect();
        let (last, before) = steps.split_last().unwrap();
        assert!(before.iter().all(|step| *step == Step::Stay), "{steps:?}");
        last.clone()
    }

    fn word(text: &str) -> Vec<Key> {
        text.chars().map(Key::Char).collect()
    }

    #[test]
    fn a_beginning_that_is_unique_labels_at_once() {
        assert_eq!(press(&mut screen(), &word("l")), label("law"));
        assert_eq!(press(&mut screen(), &word("me")), label("medical"));
        assert_eq!(press(&mut screen(), &word("o")), label("out_of_domain"));
        assert_eq!(press(&mut screen(), &word("math_")), label("math_word"));
    }

    #[test]
    fn a_name_that_is_the_beginning_of_another_needs_enter() {
        let keys = [word("math"), vec![Key::Enter]].concat();
        assert_eq!(press(&mut screen(), &keys), label("math"));
        let mut screen = screen();
        assert_eq!(
            press(&mut screen, &[Key::Char('m'), Key::Enter]),
            Step::Stay
        );
        assert!(!screen.message().is_empty());
        assert_eq!(screen.typed(), "m", "what was typed stays");
    }

    #[test]
    fn a_slip_is_not_taken_and_told() {
        let mut screen = screen();
        assert_eq!(press(&mut screen, &word("mx")), Step::Stay);
        assert_eq!(screen.typed(), "m");
        assert!(screen.message().contains("`mx`"), "{}", screen.message());
        assert_eq!(press(&mut screen, &word("e")), label("medical"));
        assert!(screen.message().is_empty());
    }

    #[test]
    fn what_was_typed_can_be_taken_back() {
        let mut screen = screen();
        press(&mut screen, &word("mat"));
        press(&mut screen, &[Key::Backspace]);
        assert_eq!(screen.typed(), "ma");
        assert_eq!(press(&mut screen, &[Key::Escape]), Step::Stay);
        assert_eq!(screen.typed(), "");
        assert_eq!(press(&mut screen, &[Key::Backspace]), Step::Stay);
        assert_eq!(press(&mut screen, &[Key::Escape]), Step::Quit);
    }

    #[test]
    fn space_skips_and_the_other_keys_do_what_they_say() {
        let mut screen = screen();
        assert_eq!(press(&mut screen, &[Key::Char(' ')]), Step::Skip);
        assert_eq!(press(&mut screen, &[Key::Undo]), Step::Undo);
        assert_eq!(press(&mut screen, &[Key::Quit]), Step::Quit);
    }

    #[test]
    fn who_types_the_whole_name_labels_one_question() {
        let mut screen = screen();
        let now = Instant::now();
        let type_at = |screen: &mut Screen, text: &str, at: Instant| -> Vec<Step> {
            let steps = text.chars().map(|c| {
                let step = screen.press(Key::Char(c), at);
                if matches!(step, Step::Label(_)) {
                    screen.turn(String::new());
                }
                step
            });
            steps.filter(|step| *step != Step::Stay).collect()
        };
        assert_eq!(type_at(&mut screen, "medical", now), [label("medical")]);
        assert_eq!(type_at(&mut screen, "law", now), [label("law")], "the next");
        // `l`, then `a…` which is no category, then `o`: another letter than the name has is meant for the next question.
        assert_eq!(
            type_at(&mut screen, "lo", now),
            [label("law"), label("out_of_domain")]
        );
        let later = now + TYPED_ON_WITHIN * 2;
        assert_eq!(type_at(&mut screen, "me", later), [label("medical")]);
        let much_later = later + TYPED_ON_WITHIN * 2;
        assert_eq!(
            type_at(&mut screen, "l", much_later),
            [label("law")],
            "`medica` and a pause"
        );
    }

    #[test]
    fn a_space_after_a_label_skips() {
        let mut screen = screen();
        assert_eq!(press(&mut screen, &word("l")), label("law"));
        screen.turn(String::new());
        assert_eq!(press(&mut screen, &[Key::Char(' ')]), Step::Skip);
        assert_eq!(press(&mut screen, &word("a")), Step::Stay);
        assert!(!screen.message().is_empty(), "no category begins so");
    }

    #[test]
    fn the_next_question_begins_anew() {
        let mut screen = screen();
        press(
            &mut screen,
            &[Key::Char('m'), Key::Down, Key::Down, Key::Up],
        );
        assert_eq!((screen.scrolled(), screen.typed()), (1, "m"));
        screen.turn("math".into());
        assert_eq!((screen.scrolled(), screen.typed()), (0, ""));
        assert_eq!(screen.message(), "math");
    }
}
