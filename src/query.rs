//! The human ask, taken out of a conversation: what is classified. Pure: no I/O, no clock.
//!
//! 1. Of the turns only those of the user count, and of those only what a person wrote ([`boilerplate`]). The ask is the
//!    last turn of which anything is left.
//! 2. What came before it is put together: the beginning of the system message, which may set the task; earlier turns,
//!    back to the one that stands alone, [`TURNS_BACK_MAX`] at most; and the beginning of the last answer.
//! 3. An ask that may lean on that ([`leaning`]) is read twice, alone and behind it, and whoever classifies weighs the two
//!    readings by how much it leans. Any other ask is read alone, so that a change of topic is not drowned by the past.
//! 4. Each text is tidied and cut to what an encoder reads ([`length`]).

mod boilerplate;
mod leaning;
mod length;

use crate::chat::{Message, Role};

/// Earlier turns that an ask is put behind: further back the topic has mostly changed.
const TURNS_BACK_MAX: usize = 3;

/// Pieces of each earlier turn that are kept: enough to tell what it was about, too few to outweigh the ask.
const EARLIER_TURN_PIECES_MAX: usize = 40;

/// Pieces of the last answer that are kept: its first words tell code from prose.
const ANSWER_PIECES_MAX: usize = 24;

/// Pieces of the system message that are kept: its first sentences set the task.
const SYSTEM_PIECES_MAX: usize = 80;

/// Below this the second reading would weigh too little to change anything: it is not made.
const LEANING_MIN: f32 = 0.2;

/// From here on an ask is likelier understood behind what came before it than alone.
const LEANING_LIKELY: f32 = 0.5;

/// What is classified of one conversation.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// The ask, as if it stood alone; empty where no person asked anything.
    pub text: String,
    /// The ask behind what it may lean on; none where nothing came before, or where it leans on none of it.
    pub context: Option<String>,
    /// See [`leaning`](Self::leaning); none where nothing came before: then it is told when somebody asks.
    leaning: Option<f32>,
}

impl Query {
    /// Takes the human ask out of a conversation.
    pub fn from_messages(messages: &[Message]) -> Self {
        let mut turns = human_turns(messages);
        let Some((ask_at, ask)) = turns.next() else {
            return Self::alone("");
        };
        let before = before(&messages[..ask_at], turns);
        if before.is_empty() {
            return Self::alone(&ask);
        }
        let text = length::cut(&ask);
        let leaning = leaning::of(&text, &before);
        let context = (leaning >= LEANING_MIN).then(|| length::cut(&format!("{before}\n{text}")));
        Self {
            text,
            context,
            leaning: Some(leaning),
        }
    }

    /// A question that stands alone: the same as a conversation of this one turn.
    pub fn from_text(text: &str) -> Self {
        Self::alone(&length::tidy(&boilerplate::human_text(text)))
    }

    fn alone(ask: &str) -> Self {
        Self {
            text: length::cut(ask),
            context: None,
            leaning: None,
        }
    }

    /// The probability that the ask keeps to the topic of what came before it, 0 to 1, from its words.
    pub fn leaning(&self) -> f32 {
        self.leaning.unwrap_or_else(|| leaning::of(&self.text, ""))
    }

    /// A question of which it is known how much it leans.
    #[cfg(test)]
    pub(crate) fn leaning_by(text: &str, leaning: f32) -> Self {
        Self {
            leaning: Some(leaning),
            ..Self::alone(text)
        }
    }

    /// Whether there is nothing to classify.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// The reading by which the ask is likelier understood: what is kept of a question, for people and for training.
    pub fn likelier_reading(&self) -> &str {
        match &self.context {
            Some(context) if self.leaning() >= LEANING_LIKELY => context,
            _ => &self.text,
        }
    }
}

/// The first thing that a person wrote in a conversation; none where nobody did.
pub fn first_turn(messages: &[Message]) -> Option<String> {
    messages
        .iter()
        .filter(|message| message.role == Role::User)
        .map(|message| length::tidy(&boilerplate::human_text(&message.text)))
        .find(|human| !human.is_empty())
}

/// What an ask may lean on, oldest first: the task, the turns, the last answer. Empty where there is nothing.
fn before(earlier: &[Message], turns: impl Iterator<Item = (usize, String)>) -> String {
    let mut parts = Vec::from_iter(last_answer(earlier));
    for (_, turn) in turns.take(TURNS_BACK_MAX) {
        let turn = length::beginning(&turn, EARLIER_TURN_PIECES_MAX).to_owned();
        let stands_alone = leaning::of(&turn, "") < LEANING_LIKELY;
        parts.push(turn);
        if stands_alone {
            break;
        }
    }
    parts.extend(task(earlier));
    parts.reverse();
    parts.join("\n")
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
    beginning_of(Role::Assistant, ANSWER_PIECES_MAX, messages.iter().rev())
}

/// The beginning of the system message.
fn task(messages: &[Message]) -> Option<String> {
    beginning_of(Role::System, SYSTEM_PIECES_MAX, messages.iter())
}

/// The beginning of the first of `messages` in a role that has any text.
fn beginning_of<'m>(
    role: Role,
    pieces_max: usize,
    messages: impl Iterator<Item = &'m Message>,
) -> Option<String> {
    let mut texts = messages
        .filter(|message| message.role == role)
        .map(|message| length::tidy(&message.text));
    let text = texts.find(|text| !text.is_empty())?;
    Some(length::beginning(&text, pieces_max).to_owned())
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

    fn query(turns: &[(Role, &str)]) -> Query {
        let messages: Vec<Message> = turns.iter().map(message).collect();
        Query::from_messages(&messages)
    }

    fn asked(turns: &[(Role, &str)]) -> String {
        query(turns).text
    }

    /// What a leaning ask is put behind, itself at the end.
    fn context(turns: &[(Role, &str)]) -> String {
        query(turns).context.expect("the ask leans")
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
        let query = query(&turns);
        assert_eq!(
            query.text,
            "Write a function that reverses a linked list in Rust."
        );
        assert_eq!(query.context, None);
        assert_eq!(query.likelier_reading(), query.text);
    }

    #[test]
    fn a_follow_up_brings_the_topic_and_the_beginning_of_the_answer_along() {
        let turns = [
            FILMS,
            (Assistant, "Schindler's List."),
            (User, "and in 1995?"),
        ];
        let query = query(&turns);
        assert_eq!(query.text, "and in 1995?");
        assert_eq!(
            query.likelier_reading(),
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
        let query = context(&turns);
        assert!(query.starts_with("Which film"), "{query}");
        assert!(query.ends_with("and in 1995?\nwho directed it?"), "{query}");
    }

    #[test]
    fn a_chain_without_an_end_is_bounded() {
        let turns = [
            (User, "and one?"),
            (User, "and two?"),
            (User, "and three?"),
            (User, "and four?"),
            (User, "and five?"),
        ];
        assert_eq!(
            context(&turns),
            "and two?\nand three?\nand four?\nand five?"
        );
    }

    #[test]
    fn the_past_does_not_outweigh_the_ask() {
        let long = "blah ".repeat(5000);
        let turns = [
            (System, long.as_str()),
            (User, &long),
            (Assistant, &long),
            (User, "why is that so?"),
        ];
        let query = context(&turns);
        let blahs = query.matches("blah").count();
        assert_eq!(
            blahs,
            SYSTEM_PIECES_MAX + EARLIER_TURN_PIECES_MAX + ANSWER_PIECES_MAX
        );
        assert!(query.ends_with("why is that so?"));
    }

    #[test]
    fn the_task_that_a_system_message_sets_is_context() {
        let database = (System, "Database concert: singer(Singer_ID, Name, Age)");
        let query = query(&[database, (User, "How old are the singers?")]);
        assert_eq!(query.text, "How old are the singers?");
        assert_eq!(
            query.context.as_deref(),
            Some("Database concert: singer(Singer_ID, Name, Age)\nHow old are the singers?")
        );
        let other = [database, (User, "Why does bread rise in a warm place?")];
        assert_eq!(self::query(&other).context, None);
    }

    #[test]
    fn the_first_turn_is_what_a_person_wrote_first() {
        let turns = [
            (System, "Be brief."),
            (User, "<system-reminder>x</system-reminder>"),
            FILMS,
            (User, "and in 1995?"),
        ];
        let messages = turns.map(|turn| message(&turn));
        assert_eq!(first_turn(&messages).as_deref(), Some(FILMS.1));
        assert_eq!(first_turn(&messages[..2]), None);
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
            let query = Query::from_messages(&turns);
            for text in std::iter::once(&query.text).chain(&query.context) {
                prop_assert!(text.len() <= 4 * 1024);
                prop_assert_eq!(text.trim(), text.as_str());
            }
            prop_assert!((0.0..=1.0).contains(&query.leaning()));
        }

        #[test]
        fn a_text_is_a_conversation_of_one_turn(text in any_text()) {
            prop_assert_eq!(Query::from_text(&text), query(&[(User, &text)]));
        }
    }
}
