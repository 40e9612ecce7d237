//! Masks what must not be kept: e-mail addresses, phone numbers, card and bank account numbers, keys and passwords.
//!
//! A list of patterns, applied one after another; each hit becomes a marker such as `[email]`. Where a form is too
//! common to mask whatever has it (sixteen digits, a word after `token:`), a check of the hit decides. Time is linear in
//! the text: the patterns are finite automata, and no hit that a check refuses holds the start of a long one. A pattern is
//! not tried on a text that lacks the bytes which each of its hits has.

use std::{borrow::Cow, sync::LazyLock};

use memchr::memchr;
use regex::Regex;

/// One kind of thing to mask.
struct Mask {
    /// What it looks like. The group `secret` is what is replaced, without such a group the whole hit.
    pattern: Regex,
    /// What is in every text in which there is a hit.
    needs: Needs,
    marker: &'static str,
    /// How much of what would be replaced, from its start, is a secret; none if nothing is.
    length: fn(&str) -> Option<usize>,
}

/// Bytes without which a text has no hit.
#[derive(Clone, Copy)]
enum Needs {
    /// Those that the pattern begins with; to look for them is what it does first itself.
    Its,
    Byte(u8),
    /// So many of the digits 0 to 9.
    Digits(usize),
}

/// Keys before the rest, which could take bites out of them; account numbers before phone numbers for the same reason.
/// Hits are whole words and markers count as such, so that nothing beside a marker looks more like a secret than before.
static MASKS: LazyLock<Vec<Mask>> = LazyLock::new(|| {
    vec![
        // A private key in PEM form, to its end or to where the text was cut.
        mask(
            "[key]",
            Needs::Its,
            r"-----BEGIN [A-Z ]{0,32}PRIVATE KEY-----(?s:.*?)(?:-----END [A-Z ]{0,32}PRIVATE KEY-----|\z)",
            all,
        ),
        // A JSON web token: base64 of `{"`, twice, and a signature.
        mask(
            "[key]",
            Needs::Its,
            r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)?\w*",
            all,
        ),
        mask("[key]", Needs::Its, PREFIXED_KEY, all),
        mask(
            "[key]",
            Needs::Digits(1),
            r"(?i)\b(?:bearer|basic)\s+(?<secret>[a-z0-9._~+/-]{16,}=*\w*)",
            if_digit,
        ),
        // The password in `scheme://user:password@host`.
        mask(
            "[key]",
            Needs::Its,
            r"://[^\s/:@]+:(?<secret>[^\s/@]+)@",
            all,
        ),
        // `PASSWORD=…`, as in a shell or a URL: whatever follows.
        mask(
            "[key]",
            Needs::Byte(b'='),
            &format!(r#"{SECRET_NAME}=(?<secret>[^\s"'`,;&()\[\]<>{{}}]{{4,}})"#),
            all,
        ),
        // `password: "…"`, as in JSON, YAML or code: whatever is quoted.
        mask(
            "[key]",
            Needs::Byte(b'"'),
            &format!(
                r#"{SECRET_NAME}["']?\s{{0,8}}(?:=|:|=>|:=)\s{{0,8}}"(?<secret>[^"\n]{{4,}})""#
            ),
            all,
        ),
        mask(
            "[key]",
            Needs::Byte(b'\''),
            &format!(r"{SECRET_NAME}'?\s{{0,8}}(?:=|:|=>|:=)\s{{0,8}}'(?<secret>[^'\n]{{4,}})'"),
            all,
        ),
        // The same without quotes may be code (`token: str`) or prose, so it must look made up.
        mask(
            "[key]",
            Needs::Digits(1),
            &format!(
                r#"{SECRET_NAME}(?:\s{{0,8}}[=:]\s{{0,8}}|\s{{1,8}}is\s{{1,8}})(?<secret>[^\s"'`,;:=&()\[\]<>{{}}]{{6,}})"#
            ),
            if_digit,
        ),
        mask(
            "[email]",
            Needs::Byte(b'@'),
            r"[\w.%+-]+@[\p{L}\p{N}-]+(?:\.[\p{L}\p{N}-]+)*\.\p{L}{2,}\b",
            all,
        ),
        mask(
            "[iban]",
            Needs::Digits(2),
            r"\b[A-Z]{2}[0-9]{2}(?:[ -]?[A-Z0-9]{4}){2,7}(?:[ -]?[A-Z0-9]{1,3})?\b",
            iban,
        ),
        // Card numbers begin with 2 to 6, and no card begins with 20 or 21, as points in time do.
        mask(
            "[card]",
            Needs::Digits(13),
            &format!(
                r"\b(?:2[2-7]|[3-6][0-9])(?:[0-9]{{11,17}}|[0-9]{{2}}(?:{GAP}[0-9]{{4}}){{2}}(?:{GAP}[0-9]{{1,4}}){{1,2}}|[0-9]{{2}}{GAP}[0-9]{{6}}{GAP}[0-9]{{4,5}})\b"
            ),
            card,
        ),
        mask("[phone]", Needs::Digits(9), INTERNATIONAL_PHONE, phone),
        mask("[phone]", Needs::Digits(9), NORTH_AMERICAN_PHONE, all),
        mask("[phone]", Needs::Digits(9), TRUNK_PHONE, phone),
    ]
});

/// Keys that say by their first letters whose they are: OpenAI, Anthropic and their like, Stripe, AWS, GitHub, GitLab,
/// Slack, Google, Hugging Face, npm, `PyPI`.
const PREFIXED_KEY: &str = concat!(
    r"\b(?:",
    r"sk-[A-Za-z0-9_-]{16,}",
    r"|[srpw][kh](?:_live|_test|sec)_[A-Za-z0-9]{10,}",
    r"|(?:AKIA|ASIA)[A-Z0-9]{16}",
    r"|gh[pousr]_[A-Za-z0-9]{20,}",
    r"|github_pat_[A-Za-z0-9_]{20,}",
    r"|glpat-[A-Za-z0-9_-]{20,}",
    r"|xox[a-z]-[A-Za-z0-9-]{10,}",
    r"|AIza[A-Za-z0-9_-]{35}",
    r"|hf_[A-Za-z0-9]{20,}",
    r"|npm_[A-Za-z0-9]{30,}",
    r"|pypi-[A-Za-z0-9_-]{50,}",
    r")\w*",
);

/// The name of something secret, alone or at the end of a longer name: `password`, `DB_PASSWORD`, `x-api-key`.
const SECRET_NAME: &str = r"(?i)(?:password|passwd|passphrase|pwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|secret[_-]?key)";

/// What may stand between the groups of a card number.
const GAP: &str = r"[ .\x{a0}\x{2009}-]";

/// `+49 (0)30 901820`, `+14155552671`, `0044 20 7946 0958`; not `a+12345678`, which is a sum.
const INTERNATIONAL_PHONE: &str =
    r"(?:^|[^\w\]+])(?<secret>(?:\+|00)[1-9][0-9]{0,2}(?:[ .\x{a0}/()-]{0,2}[0-9]){6,13})\b";

/// `(415) 555-2671`, `415-555-2671`, `1 415 555 2671`: neither area nor exchange begins with 0 or 1.
const NORTH_AMERICAN_PHONE: &str = r"(?:^|[^\w\].$€£-])(?<secret>(?:1[ .-])?(?:\([2-9][0-9]{2}\) ?|[2-9][0-9]{2}[ .-])[2-9][0-9]{2}[ .-][0-9]{4})\b";

/// The trunk prefix 0 of most other countries: `030 901820`, `020 7946 0958`, `06.12.34.56.78`, `090-1234-5678`,
/// `0171/1234567`, `07911123456`. One kind of separator in a number: dates with a time have two.
const TRUNK_PHONE: &str = concat!(
    r"(?:^|[^\w\].,:/-])(?<secret>",
    r"0[1-9][0-9]{8,10}",
    r"|0[1-9][0-9]{0,4}(?: [0-9]{2,8}){1,5}",
    r"|0[1-9](?:\.[0-9]{2}){4}",
    r"|0[1-9][0-9]{0,3}(?:-[0-9]{3,8}){1,3}",
    r"|0[1-9][0-9]{1,4} ?/ ?[0-9]{4,9}(?: [0-9]{2,4}){0,3}",
    r"|\(0[1-9][0-9]{0,4}\) ?[0-9]{3,9}(?:[ -][0-9]{2,8}){0,3}",
    r")\b",
);

/// `text` with everything masked that the patterns find; the text itself where they find nothing.
pub(super) fn redact(text: &str) -> Cow<'_, str> {
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    let mut masked = Cow::Borrowed(text);
    for mask in MASKS.iter().filter(|mask| mask.needs.are_in(text, digits)) {
        if let Some(changed) = mask.apply(&masked) {
            masked = Cow::Owned(changed);
        }
    }
    masked
}

impl Needs {
    /// Whether they are in a text with so many digits.
    fn are_in(self, text: &str, digits: usize) -> bool {
        match self {
            Self::Its => true,
            Self::Byte(byte) => memchr(byte, text.as_bytes()).is_some(),
            Self::Digits(least) => digits >= least,
        }
    }
}

impl Mask {
    /// The text with every hit replaced; none if there is no hit.
    fn apply(&self, text: &str) -> Option<String> {
        let mut masked = String::new();
        let mut copied_to = 0;
        let mut search_from = 0;
        // Whether there is a hit is told without any memory, and mostly there is none.
        while self.pattern.is_match_at(text, search_from)
            && let Some(hit) = self.pattern.captures_at(text, search_from)
        {
            let secret = hit.name("secret").unwrap_or_else(|| hit.get_match());
            if let Some(length) = (self.length)(secret.as_str()) {
                masked.push_str(&text[copied_to..secret.start()]);
                masked.push_str(self.marker);
                copied_to = secret.start() + length;
                search_from = copied_to;
            } else {
                // What was refused may still hold the start of a hit: four digits before a card number.
                search_from = text.ceil_char_boundary(secret.start() + 1);
            }
        }
        (copied_to > 0).then(|| masked + &text[copied_to..])
    }
}

fn mask(
    marker: &'static str,
    needs: Needs,
    pattern: &str,
    length: fn(&str) -> Option<usize>,
) -> Mask {
    Mask {
        pattern: Regex::new(pattern)
            .expect("the patterns are constants, and every test compiles them"),
        needs,
        marker,
        length,
    }
}

fn all(hit: &str) -> Option<usize> {
    Some(hit.len())
}

fn if_digit(hit: &str) -> Option<usize> {
    let digit = hit.bytes().any(|byte| byte.is_ascii_digit());
    digit.then_some(hit.len())
}

/// From 9 digits, the shortest numbers that are written with an area or a country, to 15, the longest there are (E.164),
/// with two more for a prefix.
fn phone(hit: &str) -> Option<usize> {
    let length = (9..=17).contains(&digits(hit).count());
    length.then_some(hit.len())
}

fn card(hit: &str) -> Option<usize> {
    longest(hit, passes_luhn)
}

fn iban(hit: &str) -> Option<usize> {
    longest(hit, passes_mod_97)
}

/// The longest part that passes, from the start to where a group ends: what follows a number often looks like more of it.
fn longest(hit: &str, passes: fn(&str) -> bool) -> Option<usize> {
    hit.char_indices()
        .filter(|(_, symbol)| !symbol.is_alphanumeric())
        .map(|(at, _)| at)
        .chain([hit.len()])
        .rev()
        .find(|end| passes(&hit[..*end]))
}

/// The check digit of card numbers (ISO/IEC 7812-1, annex B).
fn passes_luhn(number: &str) -> bool {
    let digits: Vec<u32> = digits(number).collect();
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| match place % 2 {
            0 => *digit,
            _ => digit * 2 / 10 + digit * 2 % 10,
        })
        .sum();
    (13..=19).contains(&digits.len()) && sum.is_multiple_of(10)
}

/// The check digits of bank accounts (ISO 13616): the country and they go to the end, letters count from 10, and the
/// whole leaves 1 when it is divided by 97.
fn passes_mod_97(number: &str) -> bool {
    let symbols: Vec<u32> = number
        .chars()
        .filter_map(|symbol| symbol.to_digit(36))
        .collect();
    let (head, tail) = symbols.split_at(4.min(symbols.len()));
    let rest = tail
        .iter()
        .chain(head)
        .fold(0, |rest, symbol| match symbol {
            0..10 => (rest * 10 + symbol) % 97,
            _ => (rest * 100 + symbol) % 97,
        });
    (15..=34).contains(&symbols.len()) && rest == 1
}

fn digits(text: &str) -> impl Iterator<Item = u32> + '_ {
    text.chars().filter_map(|symbol| symbol.to_digit(10))
}

#[cfg(test)]
mod tests;
