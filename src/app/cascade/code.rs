//! Whether the code of an answer parses: its fenced blocks, each by a parser of its language.

use pulldown_cmark::{CodeBlockKind, Event, Parser, Tag, TagEnd};
use serde::de::IgnoredAny;
use sqlparser::dialect::GenericDialect;
use tree_sitter_language::LanguageFn;

/// Longest code that is parsed for one answer, in bytes: some thousand lines, parsed within milliseconds.
const CODE_BYTES_MAX: usize = 128 << 10;

/// Why the code of an answer does not pass.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum CodeFault {
    #[error("it has no code in a language that is known here")]
    None,
    #[error("its {language} does not parse")]
    Broken { language: &'static str },
    #[error("its code is too long to be parsed")]
    TooLong,
}

/// A language that can be parsed here.
struct Language {
    /// What a fence may call it, the usual name first.
    names: &'static [&'static str],
    parses: fn(&str) -> bool,
}

const LANGUAGES: [Language; 5] = [
    Language {
        names: &["python", "py", "python3"],
        parses: |code| parses_by(tree_sitter_python::LANGUAGE, code),
    },
    Language {
        names: &["rust", "rs"],
        parses: |code| parses_by(tree_sitter_rust::LANGUAGE, code),
    },
    Language {
        names: &["javascript", "js", "jsx", "node"],
        parses: |code| parses_by(tree_sitter_javascript::LANGUAGE, code),
    },
    Language {
        names: &["json"],
        parses: |code| serde_json::from_str::<IgnoredAny>(code).is_ok(),
    },
    Language {
        names: &["sql", "sqlite", "postgresql", "postgres", "mysql"],
        parses: |code| sqlparser::parser::Parser::parse_sql(&GenericDialect {}, code).is_ok(),
    },
];

/// Checks every fenced block whose language is known; there must be one, and each must parse. Blocks of other languages,
/// or of none, are passed over: they may be output, or a file's tree.
///
/// # Errors
/// The first that does not parse, or that there is nothing to check.
pub(super) fn check(answer: &str) -> Result<(), CodeFault> {
    let (mut checked, mut bytes) = (0, 0);
    for (language, code) in blocks(answer) {
        bytes += code.len();
        if bytes > CODE_BYTES_MAX {
            return Err(CodeFault::TooLong);
        }
        if !(language.parses)(&code) {
            let language = language.names[0];
            return Err(CodeFault::Broken { language });
        }
        checked += 1;
    }
    if checked > 0 {
        Ok(())
    } else {
        Err(CodeFault::None)
    }
}

/// The fenced blocks of known languages, as Markdown is read; one without any code in it is none.
fn blocks(answer: &str) -> impl Iterator<Item = (&'static Language, String)> {
    let mut open: Option<(&'static Language, String)> = None;
    Parser::new(answer).filter_map(move |event| {
        match event {
            Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(info))) => {
                open = language(&info).map(|language| (language, String::new()));
            }
            Event::Text(text) => {
                if let Some((_, code)) = &mut open {
                    code.push_str(&text);
                }
            }
            Event::End(TagEnd::CodeBlock) => {
                return open.take().filter(|(_, code)| !code.trim().is_empty());
            }
            _ => {}
        }
        None
    })
}

/// The language that a fence's info string begins with, as in ```` ```python title="a.py" ````.
fn language(info: &str) -> Option<&'static Language> {
    let name = info.split([' ', ',', '{']).next()?.to_lowercase();
    let mut languages = LANGUAGES.iter();
    languages.find(|language| language.names.contains(&name.as_str()))
}

fn parses_by(language: LanguageFn, code: &str) -> bool {
    let mut parser = tree_sitter::Parser::new();
    if parser.set_language(&language.into()).is_err() {
        return false;
    }
    let tree = parser.parse(code, None);
    tree.is_some_and(|tree| !tree.root_node().has_error())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fenced(language: &str, code: &str) -> String {
        format!("Here it is:\n\n```{language}\n{code}\n```\n\nThat is all.")
    }

    #[test]
    fn code_is_parsed_by_its_own_language() {
        for (language, right, wrong) in [
            (
                "python",
                "def f(x):\n    return [x]",
                "def f(x)\n    return [x]",
            ),
            ("py", "print('a')", "print('a'"),
            (
                "rust",
                "fn f(x: u8) -> u8 { x + 1 }",
                "fn f(x: u8) -> { x + 1 }",
            ),
            ("js", "const f = (x) => ({ x });", "const f = (x) => ({ x ;"),
            ("json", r#"{"a": [1, 2]}"#, r#"{"a": [1, 2],}"#),
            (
                "sql",
                "SELECT a, count(*) FROM t GROUP BY a;",
                "SELECT a FORM t;",
            ),
        ] {
            assert_eq!(check(&fenced(language, right)), Ok(()), "{language}");
            let broken = check(&fenced(language, wrong));
            assert!(
                matches!(broken, Err(CodeFault::Broken { .. })),
                "{language}"
            );
        }
    }

    #[test]
    fn balanced_brackets_are_not_enough() {
        assert!(check(&fenced("python", "for (in) [range] {x}:")).is_err());
        assert!(check(&fenced("rust", "fn fn() { let = (); }")).is_err());
    }

    #[test]
    fn an_answer_without_code_that_can_be_checked_does_not_pass() {
        for answer in [
            "It is simple: use a loop.",
            &fenced("", "some output"),
            &fenced("brainfuck", "+++."),
            &fenced("python", ""),
            "Use `print(1)`.",
        ] {
            assert_eq!(check(answer), Err(CodeFault::None), "{answer}");
        }
    }

    #[test]
    fn one_broken_block_is_enough_and_output_does_not_count() {
        let right = fenced("python", "x = 1");
        let output = fenced("text", "Traceback (((");
        assert_eq!(check(&format!("{right}\n{output}")), Ok(()));
        let wrong = fenced("python", "x = = 1");
        assert!(check(&format!("{right}\n{wrong}")).is_err());
    }

    #[test]
    fn fences_are_read_as_markdown_reads_them() {
        let in_a_list =
            "1. First:\n\n   ~~~Python title=\"a.py\"\n   if True:\n       x = '```'\n   ~~~\n";
        assert_eq!(check(in_a_list), Ok(()));
        let cut = "```python\ndef f(:";
        assert_eq!(check(cut), Err(CodeFault::Broken { language: "python" }));
    }

    #[test]
    fn code_without_end_is_not_parsed() {
        let long = fenced("python", &"x = 1\n".repeat(CODE_BYTES_MAX / 5));
        assert_eq!(check(&long), Err(CodeFault::TooLong));
    }
}
