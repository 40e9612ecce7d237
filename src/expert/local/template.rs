//! A model's chat template: conversation → prompt, in the Jinja dialect that model files carry.

use minijinja::{Environment, Error, ErrorKind, context, syntax::SyntaxConfig};
use minijinja_contrib::pycompat;
use time::{UtcDateTime, format_description};

use super::{error::LoadFault, gguf::Gguf};
use crate::{chat::Message, clock, expert::ExpertError};

/// The template's name inside its environment.
const CHAT: &str = "chat";

/// Most steps that rendering may take: templates come with the models, and one could loop for ever. A turn takes a few
/// dozen.
const STEPS_MAX: u64 = 1_000_000;

/// A template, compiled, with the texts of the tokens that it may ask for.
pub(super) struct ChatTemplate {
    environment: Environment<'static>,
    bos_token: String,
    eos_token: String,
}

impl ChatTemplate {
    /// Reads and compiles the template of a model file.
    pub(super) fn load(gguf: &Gguf) -> Result<Self, LoadFault> {
        let source = gguf
            .text("tokenizer.chat_template")
            .map_err(|_missing| LoadFault::NoChatTemplate)?;
        let texts = gguf.texts("tokenizer.ggml.tokens")?;
        let token = |key: &str| {
            let id = gguf.count(key).ok()?;
            Some((*texts.get(id)?).to_owned())
        };
        Self::new(
            source,
            token("tokenizer.ggml.bos_token_id").unwrap_or_default(),
            token("tokenizer.ggml.eos_token_id").unwrap_or_default(),
        )
        .map_err(|source| LoadFault::ChatTemplate { source })
    }

    fn new(source: &str, bos_token: String, eos_token: String) -> Result<Self, Error> {
        let mut environment = Environment::new();
        // As the transformers library sets Jinja up, which is what templates are written for.
        let syntax = SyntaxConfig::builder()
            .trim_blocks(true)
            .lstrip_blocks(true)
            .build()?;
        environment.set_syntax(syntax);
        environment.set_unknown_method_callback(pycompat::unknown_method_callback);
        environment.add_function("raise_exception", raise_exception);
        environment.add_function("strftime_now", strftime_now);
        environment.set_fuel(Some(STEPS_MAX));
        environment.add_template_owned(CHAT, source.to_owned())?;
        Ok(Self {
            environment,
            bos_token,
            eos_token,
        })
    }

    /// The prompt that asks the model for the next turn.
    ///
    /// # Errors
    /// The template refuses the conversation (`Unsupported`), or fails at it (`Model`).
    pub(super) fn render(&self, messages: &[Message]) -> Result<String, ExpertError> {
        let messages: Vec<_> = messages
            .iter()
            .map(|message| context! { role => message.role.as_str(), content => &message.text })
            .collect();
        self.environment
            .get_template(CHAT)
            .and_then(|template| {
                template.render(context! {
                    messages,
                    add_generation_prompt => true,
                    bos_token => &self.bos_token,
                    eos_token => &self.eos_token,
                })
            })
            .map_err(|error| refusal(&error))
    }
}

/// What templates call when they cannot write a conversation down.
fn raise_exception(message: String) -> Result<String, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, message).with_source(Raised))
}

/// Marks the errors that a template raised itself.
#[derive(Debug, thiserror::Error)]
#[error("raised by the chat template")]
struct Raised;

fn refusal(error: &Error) -> ExpertError {
    let raised = std::error::Error::source(error).is_some_and(|source| source.is::<Raised>());
    if raised {
        tracing::debug!(
            detail = error.detail(),
            "the chat template refused a conversation"
        );
        return ExpertError::Unsupported {
            what: "a conversation of these roles in this order (its chat template refuses it)",
            param: "messages",
        };
    }
    ExpertError::Model {
        detail: format!("its chat template failed: {error}"),
    }
}

/// The date of today (UTC) in `strftime` notation.
fn strftime_now(format: &str) -> Result<String, Error> {
    let invalid = |detail: String| Error::new(ErrorKind::InvalidOperation, detail);
    let format = format_description::parse_strftime_owned(format)
        .map_err(|error| invalid(error.to_string()))?;
    UtcDateTime::from_unix_timestamp(clock::now_ms() / 1000)
        .map_err(|error| invalid(error.to_string()))?
        .format(&format)
        .map_err(|error| invalid(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::Role;

    fn message(role: Role, text: &str) -> Message {
        Message {
            role,
            text: text.into(),
            has_other_parts: false,
        }
    }

    fn template(source: &str) -> ChatTemplate {
        ChatTemplate::new(source, "<s>".into(), "</s>".into()).unwrap()
    }

    #[test]
    fn templates_written_for_python_render() {
        let rendered = template(
            "{{ bos_token }}\n{% for m in messages %}\n  {% if m['role'].startswith('u') %}\n{{ m.content.strip() }}{{ eos_token }}\n  {% endif %}\n{% endfor %}\n{% if tools %}never{% endif %}{% if add_generation_prompt %}>{% endif %}",
        )
        .render(&[message(Role::User, " hi "), message(Role::Assistant, "no")])
        .unwrap();
        assert_eq!(rendered, "<s>\nhi</s>\n>");
    }

    #[test]
    fn a_template_that_raises_refuses_the_conversation() {
        let error = template("{{ raise_exception('roles must alternate') }}")
            .render(&[message(Role::User, "hi")])
            .unwrap_err();
        assert!(
            matches!(
                error,
                ExpertError::Unsupported {
                    param: "messages",
                    ..
                }
            ),
            "{error:?}"
        );
    }

    #[test]
    fn a_template_that_fails_is_the_models_fault() {
        for source in [
            "{{ messages[0].content.nothing() }}",
            "{% for a in range(9000) %}{% for b in range(9000) %}{% endfor %}{% endfor %}",
        ] {
            let error = template(source)
                .render(&[message(Role::User, "hi")])
                .unwrap_err();
            assert!(matches!(error, ExpertError::Model { .. }), "{error:?}");
        }
    }

    #[test]
    fn templates_may_ask_for_the_date() {
        let rendered = template("{{ strftime_now('%d %b %Y') }}")
            .render(&[])
            .unwrap();
        assert_eq!(rendered.len(), "26 Jul 2024".len(), "{rendered}");
    }
}
