//! Errors with their causes, for people to read.

use std::error::Error;

/// An error with its causes, in one line. A cause that the error before it has told already is not told again.
pub fn in_full(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let told = error.to_string();
        if !text.contains(&told) {
            text = format!("{text}: {told}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{what}")]
    struct Fault {
        what: &'static str,
        source: Option<Box<Fault>>,
    }

    #[test]
    fn every_cause_is_told_once() {
        let disk = Fault {
            what: "no space left",
            source: None,
        };
        let file = Fault {
            what: "a.db cannot be written: no space left",
            source: Some(Box::new(disk)),
        };
        let store = Fault {
            what: "the store failed",
            source: Some(Box::new(file)),
        };
        assert_eq!(
            in_full(&store),
            "the store failed: a.db cannot be written: no space left"
        );
    }
}
