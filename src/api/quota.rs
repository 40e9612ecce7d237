//! The headers that say what a client may still use, as the clients of a path know them.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue},
    middleware::Next,
    response::Response,
};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{ApiState, auth::Caller, dialect::Dialect};
use crate::{
    clock,
    quota::{Quota, Standing, Unit},
};

/// The names of what is told of one limit.
struct Names {
    limit: HeaderName,
    remaining: HeaderName,
    reset: HeaderName,
}

impl Names {
    const OPENAI_REQUESTS: Self = Self {
        limit: HeaderName::from_static("x-ratelimit-limit-requests"),
        remaining: HeaderName::from_static("x-ratelimit-remaining-requests"),
        reset: HeaderName::from_static("x-ratelimit-reset-requests"),
    };
    const OPENAI_TOKENS: Self = Self {
        limit: HeaderName::from_static("x-ratelimit-limit-tokens"),
        remaining: HeaderName::from_static("x-ratelimit-remaining-tokens"),
        reset: HeaderName::from_static("x-ratelimit-reset-tokens"),
    };
    const ANTHROPIC_REQUESTS: Self = Self {
        limit: HeaderName::from_static("anthropic-ratelimit-requests-limit"),
        remaining: HeaderName::from_static("anthropic-ratelimit-requests-remaining"),
        reset: HeaderName::from_static("anthropic-ratelimit-requests-reset"),
    };
    const ANTHROPIC_TOKENS: Self = Self {
        limit: HeaderName::from_static("anthropic-ratelimit-tokens-limit"),
        remaining: HeaderName::from_static("anthropic-ratelimit-tokens-remaining"),
        reset: HeaderName::from_static("anthropic-ratelimit-tokens-reset"),
    };
}

/// Puts the quota of whoever asks beside the response, for [`tell`]: to an answer and to a refusal alike.
pub(super) async fn note(State(state): State<ApiState>, request: Request, next: Next) -> Response {
    let caller = request.extensions().get::<Caller>();
    let key_name = caller.and_then(|caller| caller.key_name.as_deref());
    let quota = state.app.quotas.of(key_name).cloned();
    let mut response = next.run(request).await;
    if let Some(quota) = quota {
        response.extensions_mut().insert(quota);
    }
    response
}

/// Tells how the quota beside a response stands, in the names of the path's dialect.
pub(super) fn tell(dialect: Option<Dialect>, response: &mut Response) {
    let Some(quota) = response.extensions_mut().remove::<Arc<Quota>>() else {
        return;
    };
    let now_ms = clock::now_ms();
    for standing in quota.standings() {
        write(dialect, standing, now_ms, response.headers_mut());
    }
}

fn write(dialect: Option<Dialect>, standing: Standing, now_ms: i64, headers: &mut HeaderMap) {
    let full_in = standing.level.full_in;
    let (names, reset) = match (dialect, standing.unit) {
        (Some(Dialect::Anthropic), unit) => {
            let names = match unit {
                Unit::Requests => Names::ANTHROPIC_REQUESTS,
                Unit::Tokens => Names::ANTHROPIC_TOKENS,
            };
            (names, moment(now_ms, full_in))
        }
        (Some(Dialect::Responses) | None, unit) => {
            let names = match unit {
                Unit::Requests => Names::OPENAI_REQUESTS,
                Unit::Tokens => Names::OPENAI_TOKENS,
            };
            (names, Some(span(full_in)))
        }
    };
    headers.insert(names.limit, standing.per_minute.into());
    headers.insert(names.remaining, standing.level.remaining.into());
    if let Some(Ok(reset)) = reset.map(HeaderValue::try_from) {
        headers.insert(names.reset, reset);
    }
}

/// `20ms`, `1s`, `1m30.5s`, `6m0s`: as OpenAI writes times, rounded up.
fn span(time: Duration) -> String {
    let ms = time.as_nanos().div_ceil(1_000_000);
    if ms > 0 && ms < 1000 {
        return format!("{ms}ms");
    }
    let (minutes, ms) = (ms / 60_000, ms % 60_000);
    let (hours, minutes) = (minutes / 60, minutes % 60);
    let fraction = format!(".{:03}", ms % 1000);
    let seconds = format!("{}{}", ms / 1000, fraction.trim_end_matches(['0', '.']));
    match (hours, minutes) {
        (0, 0) => format!("{seconds}s"),
        (0, _) => format!("{minutes}m{seconds}s"),
        _ => format!("{hours}h{minutes}m{seconds}s"),
    }
}

/// The second at which a time from now will be over, as RFC 3339 writes it; none beyond the year 9999.
fn moment(now_ms: i64, time: Duration) -> Option<String> {
    let end_ms = i128::from(now_ms) + i128::try_from(time.as_millis()).ok()?;
    let end_s = i64::try_from((end_ms + 999).div_euclid(1000)).ok()?;
    let end = OffsetDateTime::from_unix_timestamp(end_s).ok()?;
    end.format(&Rfc3339).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quota::Level;

    #[test]
    fn spans_are_written_as_openai_does() {
        for (ms, written) in [
            (0, "0s"),
            (20, "20ms"),
            (999, "999ms"),
            (1000, "1s"),
            (8640, "8.64s"),
            (60_000, "1m0s"),
            (90_951, "1m30.951s"),
            (360_000, "6m0s"),
            (10_800_500, "3h0m0.5s"),
        ] {
            assert_eq!(span(Duration::from_millis(ms)), written);
        }
        assert_eq!(span(Duration::from_nanos(1)), "1ms");
    }

    #[test]
    fn moments_are_whole_seconds() {
        let minute = Duration::from_secs(60);
        let written = moment(1_700_000_000_001, minute);
        assert_eq!(written.as_deref(), Some("2023-11-14T22:14:21Z"));
        assert_eq!(moment(0, Duration::MAX), None);
    }

    fn told(dialect: Option<Dialect>, unit: Unit) -> Vec<(String, String)> {
        let standing = Standing {
            unit,
            per_minute: 60,
            level: Level {
                remaining: 58,
                full_in: Duration::from_millis(1500),
            },
        };
        let mut headers = HeaderMap::new();
        write(dialect, standing, 0, &mut headers);
        let told = headers
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
        let mut told: Vec<_> = told.collect();
        told.sort();
        told
    }

    #[test]
    fn each_dialect_has_names_of_its_own() {
        let named = |headers: &[(&str, &str)]| -> Vec<(String, String)> {
            let headers = headers.iter();
            headers.map(|(a, b)| ((*a).into(), (*b).into())).collect()
        };
        let openai = named(&[
            ("x-ratelimit-limit-requests", "60"),
            ("x-ratelimit-remaining-requests", "58"),
            ("x-ratelimit-reset-requests", "1.5s"),
        ]);
        assert_eq!(told(None, Unit::Requests), openai);
        assert_eq!(told(Some(Dialect::Responses), Unit::Requests), openai);
        let anthropic = named(&[
            ("anthropic-ratelimit-tokens-limit", "60"),
            ("anthropic-ratelimit-tokens-remaining", "58"),
            ("anthropic-ratelimit-tokens-reset", "1970-01-01T00:00:02Z"),
        ]);
        assert_eq!(told(Some(Dialect::Anthropic), Unit::Tokens), anthropic);
    }
}
