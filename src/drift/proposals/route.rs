//! A proposal as a route's file.

use super::Proposal;

/// The content of `routes/<name>.yaml`: a description, without one a draft that a person has to put right, and the examples.
pub fn route_yaml(proposal: &Proposal, description: Option<&str>) -> String {
    let description = description.map_or_else(|| draft(proposal), str::to_owned);
    let mut yaml =
        "# yaml-language-server: $schema=../config/schema/route.schema.json\n".to_owned();
    yaml.push_str(&format!(
        "description: {}\nexamples:\n",
        quoted(&description)
    ));
    for example in &proposal.examples {
        yaml.push_str(&format!("  - {}\n", quoted(example)));
    }
    yaml
}

fn draft(proposal: &Proposal) -> String {
    let about = if proposal.terms.is_empty() {
        proposal.name.replace('_', " ")
    } else {
        proposal.terms.join(", ")
    };
    format!(
        "Questions about {about}. Proposed from {} texts that no category covered; say here what belongs to it and what does not.",
        proposal.size
    )
}

/// A text in double quotes, in which YAML reads every JSON string. What neither prints is escaped.
fn quoted(text: &str) -> String {
    let json = serde_json::Value::from(text).to_string();
    let mut quoted = String::with_capacity(json.len());
    for c in json.chars() {
        let breaks = matches!(
            c,
            '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}'
        );
        if c.is_control() || breaks {
            quoted.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            quoted.push(c);
        }
    }
    quoted
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Route {
        description: String,
        examples: Vec<String>,
    }

    #[test]
    fn whatever_is_asked_is_read_back_as_it_was() {
        let examples = [
            "plain text",
            "- no: list, {no} [map] # no comment",
            "two\nlines\tand \"quotes\" and a \\ back\\slash",
            "true",
            "café 気候 🙂 \u{2028} \u{85} \u{7f} \u{feff}",
            "  don't %percent @at `tick` &anchor *alias !tag",
        ];
        let proposal = Proposal {
            name: "travel_flight".to_owned(),
            terms: vec!["travel".to_owned(), "flight: \"x\"".to_owned()],
            size: 42,
            times: 99,
            cohesion: 0.3,
            nearest: None,
            examples: examples.map(str::to_owned).to_vec(),
            rows: Vec::new(),
        };
        let route: Route = serde_saphyr::from_str(&route_yaml(&proposal, None)).unwrap();
        assert_eq!(route.examples, examples);
        assert!(route.description.contains("travel, flight: \"x\""));
        let said = route_yaml(&proposal, Some("Journeys: \"by air\"."));
        let route: Route = serde_saphyr::from_str(&said).unwrap();
        assert_eq!(route.description, "Journeys: \"by air\".");
    }
}
