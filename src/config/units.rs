//! Times, sizes, addresses and digests, from text.

use std::time::Duration;

use url::Url;

/// A time longer than nothing, such as `30s` or `90 days`.
pub(super) fn duration(text: &str) -> Option<Duration> {
    duration_or_none(text).filter(|duration| !duration.is_zero())
}

/// The same, or `0 days`.
pub(super) fn duration_or_none(text: &str) -> Option<Duration> {
    humantime::parse_duration(text.trim()).ok()
}

/// A size in bytes, such as `8 MiB`; at least one.
pub(super) fn bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit: u64 = match unit.trim_start() {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    let bytes = number.parse::<u64>().ok()?.checked_mul(unit)?;
    (bytes > 0).then_some(bytes)
}

/// A share, such as `5%` or `0.05`.
pub(super) fn share(text: &str) -> Option<f64> {
    let text = text.trim();
    match text.strip_suffix('%') {
        Some(percent) => Some(percent.trim_end().parse::<f64>().ok()? / 100.0),
        None => text.parse().ok(),
    }
}

/// A web address under which more paths lie, without a slash at its end; or what is wrong with it.
pub(super) fn base_url(text: &str) -> Result<Url, &'static str> {
    let Ok(mut url) = Url::parse(text.trim()) else {
        return Err("is not a web address");
    };
    if !matches!(url.scheme(), "http" | "https") {
        return Err("is neither http nor https");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("holds a user or a password");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("holds more than a path");
    }
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    Ok(url)
}

/// SHA-256 in 64 hexadecimal digits.
pub(super) fn sha256(text: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    hex::decode_to_slice(text.trim(), &mut digest).ok()?;
    Some(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        assert_eq!(duration("30s"), Some(Duration::from_secs(30)));
        assert_eq!(duration("100ms"), Some(Duration::from_millis(100)));
        assert_eq!(duration("90 days"), Some(Duration::from_secs(90 * 86_400)));
        assert_eq!(duration("1h 30min"), Some(Duration::from_secs(5_400)));
        for wrong in ["", "30", "0s", "-1s", "soon", "9999999999999999999 years"] {
            assert_eq!(duration(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn sizes_are_binary() {
        assert_eq!(bytes("8 MiB"), Some(8 << 20));
        assert_eq!(bytes("512B"), Some(512));
        for wrong in ["", "8", "MiB", "8 MB", "0 B", "-1 B", "99999999999999 GiB"] {
            assert_eq!(bytes(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn addresses_lose_their_last_slash() {
        let url = base_url("https://api.example.com/v1/").unwrap();
        assert_eq!(url.as_str(), "https://api.example.com/v1");
    }

    #[test]
    fn addresses_that_no_path_can_follow_are_refused() {
        for wrong in [
            "api.example.com/v1",
            "https://",
            "ftp://example.com/v1",
            "https://me:secret@example.com/v1",
            "https://example.com/v1?version=2",
        ] {
            assert!(base_url(wrong).is_err(), "{wrong}");
        }
    }
}
