use proptest::prelude::*;

use super::redact;

#[test]
fn what_must_not_be_kept_is_masked() {
    let pem = "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nAbC=\n-----END RSA PRIVATE KEY-----";
    let cases = [
        // E-mail.
        ("write to ada.l+x@mail.example.co.uk.", "write to [email]."),
        ("<müller@müller.example>", "<[email]>"),
        // Phone numbers, international and national.
        ("call +14155552671 now", "call [phone] now"),
        ("Tel.: +49 (0)30 901820", "Tel.: [phone]"),
        ("+44 20 7946 0958, +81-3-1234-5678", "[phone], [phone]"),
        ("from abroad 0044 20 7946 0958", "from abroad [phone]"),
        ("(415) 555-2671 or 415.555.2671", "[phone] or [phone]"),
        ("1-800-555-0199", "[phone]"),
        ("ring 020 7946 0958", "ring [phone]"),
        ("06 12 34 56 78 ou 06.12.34.56.78", "[phone] ou [phone]"),
        ("mobil 0171/1234567", "mobil [phone]"),
        ("(030) 901820", "[phone]"),
        ("07911123456", "[phone]"),
        ("090-1234-5678", "[phone]"),
        // Cards, with the separators that people use.
        ("4111111111111111", "[card]"),
        ("pay 4111 1111 1111 1111, cvv", "pay [card], cvv"),
        ("5555-5555-5555-4444", "[card]"),
        ("3782 822463 10005", "[card]"),
        ("in 2024 4111 1111 1111 1111", "in 2024 [card]"),
        ("4111 1111 1111 1111 123", "[card] 123"),
        // Bank accounts.
        ("to DE89 3704 0044 0532 0130 00.", "to [iban]."),
        ("GB29NWBK60161331926819", "[iban]"),
        ("AT61 1904 3002 3457 3201 EURO", "[iban] EURO"),
        // Keys by their form.
        ("sk-proj-aB3dE5fG7hI9jK1lM3nO5", "[key]"),
        ("AKIAIOSFODNN7EXAMPLE", "[key]"),
        ("ghp_0123456789abcdefghijABCDEFGHIJ012345", "[key]"),
        ("xoxb-123456789012-abcdefABCDEF", "[key]"),
        (
            "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmN",
            "[key]",
        ),
        (
            "Authorization: Bearer abcdef0123456789==",
            "Authorization: Bearer [key]",
        ),
        // Keys and passwords by their names.
        ("DB_PASSWORD=swordfish", "DB_PASSWORD=[key]"),
        ("?user=ada&api_key=Zx81QWERTY", "?user=ada&api_key=[key]"),
        (
            r#"{"password": "correct horse"}"#,
            r#"{"password": "[key]"}"#,
        ),
        ("client_secret: 'abcd'", "client_secret: '[key]'"),
        ("my password is hunter22 ok", "my password is [key] ok"),
        (
            "password: hunter22, token=abcdef",
            "password: [key], token=[key]",
        ),
        ("postgres://ada:s3cret@db/x", "postgres://ada:[key]@db/x"),
    ];
    for (text, masked) in cases {
        assert_eq!(redact(text), masked);
    }
    assert_eq!(redact(&format!("a\n{pem}\nb")), "a\n[key]\nb");
    assert_eq!(redact(&pem[..50]), "[key]", "a key that was cut off");
}

#[test]
fn what_makes_up_a_question_survives() {
    let texts = [
        // Numbers.
        "It was 1999, or 1999-2024, or 2024 2025 2026.",
        "$1,200.50 or 1.200.000,00 € or 1 200 000 000 kr or $415 555 2671",
        "2024-05-17 10:30:00 and 17.05.2024 10:30 and 01/02/2024 10:30 and 01-02-2024 10",
        "2024-01-01T10:00:00+01:00 is 1704099600 or 1704099600000",
        "20240102030405 to 20241231235959",
        "3.14159265358979 and 6.02214076e23 and 0.0123456789",
        "192.168.100.101:8080 and 255.255.255.0",
        "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15",
        "x = a+12345678901; y = 10-2000-3000",
        "4111 1111 1111 1112 fails the check digit",
        "ISBN 978-0-306-40615-7, section 0306.40.615",
        "AB12 CDEF 3456 GHIJ 7890 is no account",
        // Code.
        "@app.route('/users/<id>') npm i lodash@4.17.21",
        "def f(token: str, password: Optional[str] = None) -> bool:",
        "let token = lexer.next(); secret = get_secret()",
        "550e8400-e29b-41d4-a716-446655440000",
        "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "SELECT * FROM t WHERE id IN (1000000001, 1000000002)",
        "for i in 0..1000000000 { sk-learn; risk-assessment-of-everything }",
        // Prose.
        "The bearer of this letter forgot the password: it is a secret.",
        "a token of gratitude; passwords are hard",
    ];
    for text in texts {
        assert_eq!(redact(text), text);
    }
}

/// Pieces that meet in every order, so that patterns touch and overlap.
fn texts() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "[0-9]{1,6}",
        "[ ./()+-]{1,2}",
        "[a-zA-Z_]{1,5}",
        r"\PC{0,3}",
        proptest::sample::select(vec![
            "@",
            ".com",
            "+49",
            "0044",
            "0171",
            "4111 1111 1111 1111",
            "sk-abcdefghijklmnopq1",
            "AKIAIOSFODNN7EXAMPLE",
            "password=",
            "token: \"",
            "\"",
            "'",
            "Bearer ",
            "://",
            ":",
            "eyJabcdefgh.abcdefgh",
            "-----BEGIN PRIVATE KEY-----",
            "-----END PRIVATE KEY-----",
            "DE89370400440532013000",
            "[key]",
            "[email]",
            "(415) 555-2671",
            "ada@example.com",
        ])
        .prop_map(str::to_owned),
    ];
    proptest::collection::vec(piece, 0..16).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn masking_what_is_masked_changes_nothing(text in texts()) {
        let once = redact(&text).into_owned();
        prop_assert_eq!(redact(&once), once.as_str());
    }
}
