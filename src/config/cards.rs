//! `routes/_cards.yaml`: instruction cards, read and written.

use std::collections::BTreeMap;

use crate::{
    catalogue::{Card, Cards, Made},
    ids::{CategoryId, ExpertId},
};

use super::{
    document::{Document, Place},
    mistake::Mistakes,
    raw, schema, shape,
    suggest::suggest,
};

/// Columns of a written card.
const WIDTH: usize = 96;

/// How the file begins that is written.
const HEAD: &str = "\
# yaml-language-server: $schema=../config/schema/cards.schema.json
#
# Instruction cards: what the questions of a category demand, and what an expert is good at. `coterie instruct generate`
# writes those that are missing or older than what they were made from; one that was changed by hand stays as it is.
";

/// Reads the cards; `categories` are those that there are. Experts are not known here: a card of one that is not configured
/// waits until it is.
pub(super) fn read(
    document: &Document,
    categories: &[&str],
    mistakes: &mut Mistakes,
) -> Option<Cards> {
    let place = document.place();
    let raw: raw::Cards = shape::read("the file", place, &schema::cards_schema(), mistakes)?;
    for category in raw.categories.keys() {
        if !categories.contains(&category.as_str()) {
            let place = place.at("categories").key(category);
            let message = format!("there is no route `{category}`");
            mistakes.add(
                place,
                message,
                suggest(category, categories.iter().copied()),
            );
        }
    }
    let cards = |raw: BTreeMap<String, raw::Card>, place: Place<'_>, mistakes: &mut Mistakes| {
        let cards = raw.into_iter();
        let cards = cards.filter_map(|(id, card)| {
            let card = self::card(card, place.at(&id), mistakes)?;
            Some((id, card))
        });
        cards.collect::<Vec<_>>()
    };
    let of_categories = cards(raw.categories, place.at("categories"), mistakes).into_iter();
    let of_experts = cards(raw.experts, place.at("experts"), mistakes).into_iter();
    Some(Cards {
        categories: of_categories
            .map(|(id, card)| (CategoryId::new(id), card))
            .collect(),
        experts: of_experts
            .map(|(id, card)| (ExpertId::new(id), card))
            .collect(),
    })
}

fn card(raw: raw::Card, place: Place<'_>, mistakes: &mut Mistakes) -> Option<Card> {
    let words = raw.instruction.as_deref()?.split_whitespace();
    let instruction = words.collect::<Vec<_>>().join(" ");
    if instruction.is_empty() {
        let help =
            "say what the task is and which skills it takes, or take the card out".to_owned();
        mistakes.add(
            place.at("instruction"),
            "`instruction` is empty".to_owned(),
            help,
        );
        return None;
    }
    let line = |text: Option<String>| {
        let words = text.as_deref().unwrap_or_default().split_whitespace();
        let line = words.collect::<Vec<_>>().join(" ");
        (!line.is_empty()).then_some(line)
    };
    Some(Card {
        instruction,
        label: line(raw.label),
        gist: line(raw.gist),
        made: raw.made.and_then(made),
    })
}

fn made(raw: raw::Made) -> Option<Made> {
    Some(Made {
        by: raw.by?,
        model: raw.model?,
        prompt: raw.prompt?,
        on: raw.on?,
        from: raw.from?,
        text: raw.text?,
    })
}

/// The file that says so.
pub fn write(cards: &Cards) -> String {
    let mut text = HEAD.to_owned();
    let categories = cards
        .categories
        .iter()
        .map(|(id, card)| (id.as_str(), card));
    section(&mut text, "categories", categories);
    let experts = cards.experts.iter().map(|(id, card)| (id.as_str(), card));
    section(&mut text, "experts", experts);
    text
}

fn section<'c>(text: &mut String, name: &str, cards: impl Iterator<Item = (&'c str, &'c Card)>) {
    let mut cards = cards.peekable();
    if cards.peek().is_none() {
        return;
    }
    text.push_str(&format!("{name}:\n"));
    for (id, card) in cards {
        text.push_str(&format!("  {}:\n    instruction: >-\n", key(id)));
        for line in lines(&card.instruction) {
            text.push_str(&format!("      {line}\n"));
        }
        for (name, line) in [("label", &card.label), ("gist", &card.gist)] {
            if let Some(line) = line {
                text.push_str(&format!("    {name}: {}\n", quoted(line)));
            }
        }
        if let Some(made) = &card.made {
            let Made {
                by,
                model,
                prompt,
                on,
                from,
                text: digest,
            } = made;
            let fields = [
                ("by", by),
                ("model", model),
                ("prompt", prompt),
                ("on", on),
                ("from", from),
                ("text", digest),
            ];
            let fields = fields.map(|(name, value)| format!("{name}: {}", quoted(value)));
            text.push_str(&format!("    made: {{ {} }}\n", fields.join(", ")));
        }
    }
}

/// A folded text, in lines that are not too long.
fn lines(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let at = lines.len() - 1;
        if !lines[at].is_empty() && lines[at].chars().count() + 1 + word.chars().count() > WIDTH {
            lines.push(word.to_owned());
        } else {
            if !lines[at].is_empty() {
                lines[at].push(' ');
            }
            lines[at].push_str(word);
        }
    }
    lines
}

/// A key as it is where YAML takes it for nothing else.
fn key(id: &str) -> String {
    let is_plain = id.starts_with(|c: char| c.is_ascii_lowercase())
        && id
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
        && !["null", "true", "false", "yes", "no", "on", "off", "y", "n"].contains(&id);
    if is_plain { id.to_owned() } else { quoted(id) }
}

/// JSON's texts are YAML's as well.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue;

    fn read_text(text: &str, categories: &[&str]) -> Result<Cards, Mistakes> {
        let mut mistakes = Mistakes::default();
        let document = Document::parse("routes/_cards.yaml".into(), text, &mut mistakes);
        let cards = document.and_then(|document| read(&document, categories, &mut mistakes));
        mistakes.or(cards)
    }

    fn card(instruction: &str, made: Option<Made>) -> Card {
        Card {
            instruction: instruction.into(),
            label: made.is_some().then(|| "numbers".into()),
            gist: made.is_none().then(|| "all: of it".into()),
            made,
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let long = "Explain a rule: of law, # and \"cases\". ".repeat(9);
        let made = Made {
            by: "coder".into(),
            model: "qwen: 2.5".into(),
            prompt: "card-v1".into(),
            on: "2026-11-28".into(),
            from: "00e1".into(),
            text: catalogue::digest(["Work out numbers."]),
        };
        let cards = Cards {
            categories: [
                (CategoryId::new("law"), card(long.trim(), None)),
                (CategoryId::new("no"), card("Work out numbers.", Some(made))),
            ]
            .into(),
            experts: [(ExpertId::new("gpt-4.1"), card("Everything.", None))].into(),
        };
        let text = write(&cards);
        let folded = text.lines().filter(|line| line.starts_with("      "));
        assert!(
            folded.clone().count() > 3 && folded.clone().all(|line| line.len() <= WIDTH + 6),
            "{text}"
        );
        let read = read_text(&text, &["law", "no"]).unwrap();
        assert_eq!(read, cards);
        assert!(read.categories[&CategoryId::new("law")].is_by_hand());
        assert!(!read.categories[&CategoryId::new("no")].is_by_hand());
    }

    #[test]
    fn mistakes_are_told_with_their_places() {
        let text = "categories:\n  lex: { instruction: Law. }\n  math: { instruction: '  ' }\nexpert: {}\n";
        let mistakes = read_text(text, &["law", "math"]).unwrap_err().to_string();
        for part in [
            "_cards.yaml:2:3: there is no route `lex`",
            "_cards.yaml:3:",
            "`instruction` is empty",
            "_cards.yaml:4:1",
        ] {
            assert!(mistakes.contains(part), "{mistakes}");
        }
    }
}
