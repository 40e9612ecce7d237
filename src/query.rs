//! The human ask, taken out of a conversation: the only text that is classified. Pure: no I/O, no clock.
//!
//! 1. Of the turns only those of the user count, and of those only what a person wrote ([`boilerplate`]). The ask is the
//!    last turn of which anything is left.
//! 2. An ask that leans on what came before ([`follow_up`]) is put behind the turns that it leans on: back to the one
//!    that stands alone, [`TURNS_BACK_MAX`] at most, and the beginning of the last answer. Any other ask stands alone,
//!    so that a change of topic is not drowned by the past.
//! 3. The text is tidied and cut to what an encoder reads ([`length`]).

mod boilerplate;
mod follow_up;
mod length;

use crate::chat::{Message, Role};

/// Earlier turns that an ask is put behind: further back the topic has mostly changed.
const TURNS_BACK_MAX: usize = 3;

/// Pieces of each earlier turn that are kept: enough to tell what it was about, too few to outweigh the ask.
const EARLIER_TURN_PIECES_MAX: usize = 40;

/// Pieces of the last answer that are kept: its first words tell code from prose.
const ANSWER_PIECES_MAX: usize = 24;

/// What is classified of one conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// The text to classify; empty where no person asked anything.
    pub text: String,
}

impl Query {
    /// Takes the human ask out of a conversation.
    pub fn from_messages(messages: &[Message]) -> Self {
        let mut turns = human_turns(messages);
        let Some((ask_at, ask)) = turns.next() else {
            return Self {
                text: String::new(),
            };
        };
        let mut parts = Vec::new();
        if follow_up::leans_on_context(&ask) {
            parts.extend(last_answer(&messages[..ask_at]));
            for (_, turn) in turns.take(TURNS_BACK_MAX) {
                parts.push(length::beginning(&turn, EARLIER_TURN_PIECES_MAX).to_owned());
                if !follow_up::leans_on_context(&turn) {
                    break;
                }
            }
            parts.reverse();
        }
        parts.push(ask);
        Self {
            text: length::cut(&parts.join("\n")),
        }
    }

    /// A question that stands alone: the same as a conversation of this one turn.
    pub fn from_text(text: &str) -> Self {
        let human = length::tidy(&boilerplate::human_text(text));
        Self {
            text: length::cut(&human),
        }
    }

    /// Whether there is nothing to classify.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }
}

/// What people wrote, latest turn first, each with its place in the conversation.
fn human_turns(messages: &[Message]) -> impl Iterator<Item = (usize, String)> {
    messages
        .iter()
        .enumerate()
        .rev()
        .filter(|(_, message)| message.role == Role::User)
        .map(|(at, message)| (at, length::tidy(&boilerplate::human_text(&message.text))))
        .filter(|(_, human)| !human.is_empty())
}

/// The beginning of the last answer that has any text.
fn last_answer(messages: &[Message]) -> Option<String> {
    let mut answers = messages
        .iter()
        .rev()
        .filter(|message| message.role == Role::Assistant)
        .map(|message| length::tidy(&message.text));
    let answer = answers.find(|answer| !answer.is_empty())?;
    Some(length::beginning(&answer, ANSWER_PIECES_MAX).to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message((role, text): &(Role, &str)) -> Message {
        Message {
            role: *role,
            text: (*text).to_owned(),
            has_other_parts: false,
        }
    }

    fn asked(turns: &[(Role, &str)]) -> String {
        let messages: Vec<Message> = turns.iter().map(message).collect();
        Query::from_messages(&messages).text
    }

    use Role::{Assistant, System, Tool, User};

    const FILMS: (Role, &str) = (
        User,
        "Which film won the award for best picture in the year 1994?",
    );

    #[test]
    fn the_last_user_turn_is_the_ask_whatever_surrounds_it() {
        let turns = [
            (System, "You are a helpful pirate."),
            FILMS,
            (Assistant, "Schindler's List."),
            (
                User,
                "Write a function that reverses a linked list in Rust.",
            ),
            (Assistant, ""),
            (Tool, "{\"files\": [\"list.rs\"]}"),
        ];
        assert_eq!(
            asked(&turns),
            "Write a function that reverses a linked list in Rust."
        );
    }

    #[test]
    fn a_follow_up_brings_the_topic_and_the_beginning_of_the_answer_along() {
        let turns = [
            FILMS,
            (Assistant, "Schindler's List."),
            (User, "and in 1995?"),
        ];
        assert_eq!(
            asked(&turns),
            "Which film won the award for best picture in the year 1994?\nSchindler's List.\nand in 1995?"
        );
    }

    #[test]
    fn a_chain_of_follow_ups_goes_back_to_the_turn_that_stands_alone() {
        let turns = [
            (
                User,
                "Tell me about the history of sourdough bread in San Francisco.",
            ),
            FILMS,
            (User, "and in 1995?"),
            (User, "who directed it?"),
        ];
        let query = asked(&turns);
        assert!(query.starts_with("Which film"), "{query}");
        assert!(query.ends_with("and in 1995?\nwho directed it?"), "{query}");
    }

    #[test]
    fn a_chain_without_an_end_is_bounded() {
        let turns = [
            (User, "one"),
            (User, "two"),
            (User, "three"),
            (User, "four"),
            (User, "five"),
        ];
        assert_eq!(asked(&turns), "two\nthree\nfour\nfive");
    }

    #[test]
    fn the_past_does_not_outweigh_the_ask() {
        let long = "blah ".repeat(5000);
        let query = asked(&[(User, &long), (Assistant, &long), (User, "why is that so?")]);
        let blahs = query.matches("blah").count();
        assert_eq!(blahs, EARLIER_TURN_PIECES_MAX + ANSWER_PIECES_MAX);
        assert!(query.ends_with("why is that so?"));
    }

    #[test]
    fn a_turn_that_an_agent_wrote_gives_way_to_the_person_before_it() {
        let turns = [
            FILMS,
            (Assistant, "Let me look."),
            (
                User,
                "<tool_result>\n1994.csv\n</tool_result>\n<system-reminder>\nBe brief.\n</system-reminder>",
            ),
            (User, "[read_file for '1994.csv'] Result:\nfilm,year"),
        ];
        assert_eq!(asked(&turns), FILMS.1);
    }

    #[test]
    fn where_no_person_asked_the_query_is_empty() {
        let nothing: [&[(Role, &str)]; 4] = [
            &[(System, "You are helpful.")],
            &[(User, " \n\t")],
            &[(User, "<system-reminder>x</system-reminder>")],
            &[(Assistant, "Hello."), (Tool, "7")],
        ];
        for turns in nothing {
            assert!(asked(turns).is_empty(), "{turns:?}");
        }
        assert!(Query::from_text("\u{200b}").is_empty());
    }

    /// Texts that are rich in what the rules look at.
    fn any_text() -> impl Strategy<Value = String> {
        let word = prop_oneof![
            Just("<system-reminder>".to_owned()),
            Just("</system-reminder>".to_owned()),
            Just("<task>".to_owned()),
            Just("</task>".to_owned()),
            Just("<context x=\"1\">".to_owned()),
            Just("</context>".to_owned()),
            Just("```".to_owned()),
            Just("~~~".to_owned()),
            Just("[tool result]".to_owned()),
            Just("\n".to_owned()),
            "\\PC{0,6}",
            "[a-z ]{0,40}",
        ];
        prop::collection::vec(word, 0..60).prop_map(|words| words.concat())
    }

    proptest! {
        #[test]
        fn any_conversation_gives_a_bounded_query(texts in prop::collection::vec((0..4_usize, any_text()), 0..8)) {
            let turns: Vec<Message> = texts
                .iter()
                .map(|(role, text)| message(&([System, User, Assistant, Tool][*role], text)))
                .collect();
            let query = Query::from_messages(&turns).text;
            prop_assert!(query.len() <= 4 * 1024);
            prop_assert_eq!(query.trim(), query.as_str());
        }

        #[test]
        fn a_text_is_a_conversation_of_one_turn(text in any_text()) {
            prop_assert_eq!(Query::from_text(&text).text, asked(&[(User, &text)]));
        }
    }
}
