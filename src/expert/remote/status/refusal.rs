//! What a provider refused, by its own words: the request, to answer such a question, so long a conversation, or us.

use serde_json::Value;

use super::message;
use crate::expert::Refused;

/// Codes of a refusal to answer such a question: OpenAI, Azure, and those who follow them.
const POLICY: [&str; 8] = [
    "content_filter",
    "content_policy_violation",
    "responsibleaipolicyviolation",
    "content_filter_error",
    "moderation_blocked",
    "cyber_policy",
    "data_inspection_failed",
    "datainspectionfailed",
];

/// What those say who have no code for it: `OpenRouter`, OpenAI, xAI, Azure, Anthropic, `DeepSeek`. A sentence that only speaks of
/// policies may as well mean our account.
const POLICY_SENTENCES: [&str; 9] = [
    "your input was flagged",
    "your prompt was flagged",
    "flagged as potentially violating",
    "flagged by moderation",
    "violates usage guidelines",
    "as a result of our safety system",
    "content management policy",
    "content filtering policy",
    "content exists risk",
];

/// Codes of a refusal to read so much.
const LENGTH: [&str; 4] = [
    "context_length_exceeded",
    "string_above_max_length",
    "request_too_large",
    "exceed_context_size_error",
];

/// What those say who have no code for it: vLLM and many others, llama.cpp, Anthropic, OpenAI, then `SGLang` and Together, vLLM
/// once more, xAI, Gemini, Bedrock.
const LENGTH_SENTENCES: [&str; 9] = [
    "maximum context length",
    "exceeds the available context size",
    "prompt is too long",
    "exceeds the context window",
    "longer than the model's context length",
    "longer than the maximum model length",
    "maximum prompt length is",
    "exceeds the maximum number of tokens allowed",
    "input is too long for requested model",
];

/// Codes of a key, a bill or a name of a model that is wrong, whatever the status: OpenAI, Anthropic, Google, Groq.
const US: [&str; 15] = [
    "authentication_error",
    "invalid_api_key",
    "api_key_invalid",
    "unauthenticated",
    "permission_error",
    "permission_denied",
    "insufficient_permissions",
    "unsupported_country_region_territory",
    "account_deactivated",
    "billing_error",
    "billing_hard_limit_reached",
    "billing_not_active",
    "insufficient_quota",
    "model_not_found",
    "model_decommissioned",
];

/// What those say who have no code for it: Google, xAI, Anthropic.
const US_SENTENCES: [&str; 5] = [
    "api key not valid",
    "incorrect api key",
    "invalid api key",
    "user location is not supported",
    "credit balance is too low",
];

/// What a refusal means that came with this status and this error object.
pub(super) fn why(status: u16, body: &Value) -> Refused {
    let said = said(body);
    let says = |words: &[&str]| said.iter().any(|word| words.contains(&word.as_str()));
    let sentence = message(body).to_ascii_lowercase();
    // A page is none of the provider's sentences, but of what stands before it.
    let is_page = sentence.trim_start().starts_with('<');
    let tells = |words: &[&str]| !is_page && words.iter().any(|word| sentence.contains(word));
    match status {
        _ if says(&POLICY) => Refused::ByPolicy,
        _ if says(&LENGTH) => Refused::Length,
        413 => Refused::Length,
        401 | 402 | 404 | 429 => Refused::Us,
        // xAI says of a text what others say of a key, but for the sentence.
        _ if tells(&POLICY_SENTENCES) => Refused::ByPolicy,
        // Where it is the text that may not be, they say so: a bare 403 is about the key, or from a firewall.
        403 => Refused::Us,
        _ if says(&US) || tells(&US_SENTENCES) => Refused::Us,
        _ if tells(&LENGTH_SENTENCES) => Refused::Length,
        _ => Refused::Request,
    }
}

/// What providers call the reason of a refusal: the error's code and type, and Google's status and reasons.
pub(super) fn said(body: &Value) -> Vec<String> {
    let error = body.get("error").unwrap_or(body);
    let details = error.get("details").and_then(Value::as_array);
    let reasons = details.into_iter().flatten().map(|it| &it["reason"]);
    ["code", "type", "status"]
        .into_iter()
        .filter_map(|field| error.get(field))
        .chain(reasons)
        .filter_map(|word| Some(word.as_str()?.to_ascii_lowercase()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::error_of;

    /// Bodies as providers send them: who, the status, the body, and the kind of error that it is.
    const BODIES: &[(&str, u16, &str, &str)] = &[
        (
            "OpenAI, a model that the project may not use",
            403,
            r#"{"error": {"message": "Project `proj_a` does not have access to model `gpt-4o`", "type": "invalid_request_error", "param": null, "code": "model_not_found"}}"#,
            "authentication",
        ),
        (
            "OpenAI, a country",
            403,
            r#"{"error": {"message": "Country, region, or territory not supported", "type": "request_forbidden", "param": null, "code": "unsupported_country_region_territory"}}"#,
            "authentication",
        ),
        (
            "OpenAI, a prompt",
            400,
            r#"{"error": {"message": "Invalid prompt: your prompt was flagged as potentially violating our usage policy. Please try again with a different prompt.", "type": "invalid_request_error", "param": null, "code": "invalid_prompt"}}"#,
            "policy_refused",
        ),
        (
            "Azure, a prompt",
            400,
            r#"{"error": {"message": "The response was filtered due to the prompt triggering Azure OpenAI's content management policy.", "type": null, "param": "prompt", "code": "content_filter", "status": 400}}"#,
            "policy_refused",
        ),
        (
            "Google, a service that is not switched on",
            403,
            r#"{"error": {"code": 403, "message": "Generative Language API has not been used in project 1 before or it is disabled.", "status": "PERMISSION_DENIED"}}"#,
            "authentication",
        ),
        (
            "Google, a key",
            400,
            r#"{"error": {"code": 400, "message": "API key not valid. Please pass a valid API key.", "status": "INVALID_ARGUMENT", "details": [{"reason": "API_KEY_INVALID"}]}}"#,
            "authentication",
        ),
        (
            "Google, a key, in a list",
            400,
            r#"[{"error": {"code": 400, "message": "Please pass a key.", "status": "INVALID_ARGUMENT", "details": [{"reason": "API_KEY_INVALID"}]}}]"#,
            "authentication",
        ),
        (
            "Google, a place",
            400,
            r#"{"error": {"code": 400, "message": "User location is not supported for the API use.", "status": "FAILED_PRECONDITION"}}"#,
            "authentication",
        ),
        (
            "Google, a field",
            400,
            r#"{"error": {"code": 400, "message": "Invalid value at 'temperature'", "status": "INVALID_ARGUMENT"}}"#,
            "refused",
        ),
        (
            "a firewall",
            403,
            "<html><title>403 Forbidden</title>Sorry, you have been blocked: your input was flagged</html>",
            "authentication",
        ),
        ("nobody says why", 403, "{}", "authentication"),
        (
            "OpenRouter, a question",
            403,
            r#"{"error": {"code": 403, "message": "openai/gpt-4o requires moderation on OpenAI. Your input was flagged for \"violence\".", "metadata": {"reasons": ["violence"]}}}"#,
            "policy_refused",
        ),
        (
            "xAI, a question",
            403,
            r#"{"code": "The caller does not have permission to execute the specified operation", "error": "Content violates usage guidelines. Failed check: SAFETY_CHECK_TYPE_BIO"}"#,
            "policy_refused",
        ),
        (
            "xAI, a key",
            400,
            r#"{"code": "Client specified an invalid argument", "error": "Incorrect API key provided: a. You can obtain an API key from https://console.x.ai."}"#,
            "authentication",
        ),
        (
            "xAI, a long prompt",
            400,
            r#"{"code": "Client specified an invalid argument", "error": "This model's maximum prompt length is 131072 but the request contains 537812 tokens."}"#,
            "context_too_long",
        ),
        (
            "Anthropic, a bill",
            400,
            r#"{"type": "error", "error": {"type": "invalid_request_error", "message": "Your credit balance is too low to access the Anthropic API."}}"#,
            "authentication",
        ),
        (
            "Anthropic, a long prompt",
            400,
            r#"{"type": "error", "error": {"type": "invalid_request_error", "message": "prompt is too long: 210000 tokens > 200000 maximum"}}"#,
            "context_too_long",
        ),
        (
            "DeepSeek, a question",
            400,
            r#"{"error": {"message": "Content Exists Risk", "type": "invalid_request_error", "param": null, "code": "invalid_request_error"}}"#,
            "policy_refused",
        ),
        (
            "SGLang and Together, a long prompt",
            400,
            r#"{"object": "error", "message": "The input (40000 tokens) is longer than the model's context length (32768 tokens).", "type": "BadRequestError", "param": null, "code": 400}"#,
            "context_too_long",
        ),
        (
            "vLLM, a long prompt",
            400,
            r#"{"object": "error", "message": "The decoder prompt (length 5000) is longer than the maximum model length of 4096. Make sure that `max_model_len` is no smaller than the number of text tokens.", "type": "BadRequestError", "param": null, "code": 400}"#,
            "context_too_long",
        ),
        (
            "vLLM, a long prompt, in other words",
            400,
            r#"{"object": "error", "message": "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens.", "type": "BadRequestError", "param": null, "code": 400}"#,
            "context_too_long",
        ),
        (
            "llama.cpp, a long prompt",
            400,
            r#"{"error": {"code": 400, "message": "the request exceeds the available context size, try increasing it", "type": "exceed_context_size_error", "n_prompt_tokens": 9, "n_ctx": 8}}"#,
            "context_too_long",
        ),
        (
            "Gemini, a long prompt",
            400,
            r#"{"error": {"code": 400, "message": "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).", "status": "INVALID_ARGUMENT"}}"#,
            "context_too_long",
        ),
        (
            "Gemini, a long prompt, in a list",
            400,
            r#"[{"error": {"code": 400, "message": "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).", "status": "INVALID_ARGUMENT"}}]"#,
            "context_too_long",
        ),
        (
            "Bedrock, a long prompt",
            400,
            r#"{"message": "Input is too long for requested model."}"#,
            "context_too_long",
        ),
    ];

    #[test]
    fn what_providers_say_is_understood() {
        for (who, status, body, kind) in BODIES {
            let error = error_of(*status, None, body.as_bytes());
            assert_eq!(error.kind(), *kind, "{who}: {error:?}");
        }
    }
}
