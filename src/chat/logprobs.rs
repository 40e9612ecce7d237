//! The log-probabilities of an answer's tokens (`logprobs`, `top_logprobs`), as OpenAI has them.

use serde_json::{Map, Value, json};

use super::Completion;

/// One token of an answer, and the tokens that it was chosen from.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenChoice {
    /// Its text.
    pub token: String,
    /// The log-probability with which the model would say it.
    pub logprob: f64,
    /// The likeliest tokens in its place with their log-probabilities, likeliest first, itself among them.
    pub among: Vec<(String, f64)>,
}

impl TokenChoice {
    fn to_json(&self, most: usize) -> Value {
        let likeliest = self.among.iter().take(most);
        let likeliest: Vec<Value> = likeliest
            .map(|(text, logprob)| token(text, *logprob))
            .collect();
        let mut object = token(&self.token, self.logprob);
        object["top_logprobs"] = likeliest.into();
        object
    }

    fn from_json(object: &Value) -> Option<Self> {
        let token = |object: &Value| {
            let text = object.get("token")?.as_str()?.to_owned();
            Some((text, object.get("logprob")?.as_f64()?))
        };
        let among = object.get("top_logprobs")?.as_array()?;
        let (text, logprob) = token(object)?;
        Some(Self {
            token: text,
            logprob,
            among: among.iter().map(token).collect::<Option<_>>()?,
        })
    }
}

impl Completion {
    /// The same answer, which tells of each token the `most` likeliest in its place.
    #[must_use]
    pub fn with_token_choices(self, tokens: &[TokenChoice], most: usize) -> Self {
        let content: Vec<Value> = tokens.iter().map(|token| token.to_json(most)).collect();
        let mut object = self.object();
        if let Some(choice) = object.get_mut("choices").and_then(|it| it.get_mut(0)) {
            choice["logprobs"] = json!({"content": content, "refusal": null});
        }
        Self::from_object(object)
    }

    /// Of each token of the first choice what it was chosen from; none where the expert does not tell.
    pub fn token_choices(&self) -> Option<Vec<TokenChoice>> {
        let object: Map<String, Value> = self.object();
        let content = object
            .get("choices")?
            .get(0)?
            .get("logprobs")?
            .get("content")?;
        content
            .as_array()?
            .iter()
            .map(TokenChoice::from_json)
            .collect()
    }
}

fn token(text: &str, logprob: f64) -> Value {
    json!({"token": text, "logprob": logprob, "bytes": text.as_bytes()})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::{AnswerHead, FinishReason, Usage};

    fn completion() -> Completion {
        let head = AnswerHead {
            id: "a".into(),
            model: "general".into(),
            created_s: 1,
        };
        head.completion("B", FinishReason::Stop, Usage::default())
    }

    #[test]
    fn what_is_told_is_read_back_up_to_the_most_that_was_asked_for() {
        let choice = TokenChoice {
            token: "B".into(),
            logprob: -0.5,
            among: vec![("B".into(), -0.5), ("A".into(), -1.0), ("C".into(), -7.0)],
        };
        let told = completion().with_token_choices(std::slice::from_ref(&choice), 2);
        let told = Completion::parse(told.json().as_bytes()).unwrap();
        assert_eq!(told.text(), Some("B"));
        let read = told.token_choices().unwrap();
        assert_eq!(read[0].among, choice.among[..2]);
        assert_eq!((read[0].logprob, read.len()), (-0.5, 1));
        assert_eq!(
            told.object()["choices"][0]["logprobs"]["content"][0]["bytes"],
            json!([66])
        );
    }

    #[test]
    fn an_expert_that_does_not_tell_or_tells_something_else_says_nothing() {
        assert_eq!(completion().token_choices(), None);
        let odd =
            json!({"choices": [{"logprobs": {"content": [{"token": "A", "logprob": "high"}]}}]});
        assert_eq!(
            Completion::parse(odd.to_string().as_bytes())
                .unwrap()
                .token_choices(),
            None
        );
    }
}
