//! Questions whose end is about something else than their beginning: somebody may have put it there so that they are routed
//! elsewhere. Pure.
//!
//! A linear head adds up what all words say, so that a few words of another subject at one end can outvote the question. Read
//! without either end, such a question is about two things; and then no more is believed of the whole than of the two readings
//! on average. What leans on its last words honestly ("… Translate it into French.") is doubted as well, and goes to the
//! default expert; how seldom that is, `docs/benchmarks.md` says.

use super::model::Said;

/// Words that are left out at either end.
const END_WORDS: usize = 12;

/// Fewest words of a question that has two ends.
const WORDS_MIN: usize = 12;

/// How sure both readings must be of different things: at 0.8 half as many decisions are turned, and more than twice as many
/// honest questions doubted.
const SURE_MIN: f32 = 0.9;

/// A text without its last words, and without its first ones; none where it is too short to have two ends.
pub(super) fn ends(text: &str) -> Option<[&str; 2]> {
    let starts: Vec<usize> = words(text).map(|(at, _)| at).collect();
    if starts.len() < WORDS_MIN {
        return None;
    }
    let cut = END_WORDS.min(starts.len() / 2);
    let (_, last) = words(text).nth(starts.len() - cut - 1)?;
    Some([&text[..last], &text[starts[cut]..]])
}

/// Where each word begins and ends.
fn words(text: &str) -> impl Iterator<Item = (usize, usize)> {
    let base = text.as_ptr() as usize;
    text.split_whitespace().map(move |word| {
        let at = word.as_ptr() as usize - base;
        (at, at + word.len())
    })
}

/// What is left of `said`, given what is said of either end; none where that is nothing to doubt it for.
pub(super) fn doubt(said: &Said, ends: &[Said; 2]) -> Option<Said> {
    let best = |said: &Said| {
        let classes = said.probabilities.iter().copied().enumerate();
        classes.reduce(|best, it| if it.1 > best.1 { it } else { best })
    };
    let (front, back) = (best(&ends[0])?, best(&ends[1])?);
    if front.0 == back.0 || front.1 < SURE_MIN || back.1 < SURE_MIN {
        return None;
    }
    let pairs = ends[0].probabilities.iter().zip(&ends[1].probabilities);
    Some(Said {
        probabilities: pairs
            .map(|(front, back)| f32::midpoint(*front, *back))
            .collect(),
        ..said.clone()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router::model::TierName;

    fn said(probabilities: [f32; 3]) -> Said {
        Said {
            tier: TierName::Cheap,
            logits: vec![0.0; 3],
            probabilities: probabilities.to_vec(),
            strangeness: None,
        }
    }

    #[test]
    fn a_text_has_two_ends_from_a_dozen_words_on() {
        assert_eq!(
            ends("one two three four five six seven eight nine ten eleven"),
            None
        );
        let text = " a b c d e f\u{a0}g h i j k é ";
        assert_eq!(ends(text), Some([" a b c d e f", "g h i j k é "]));
        let long: Vec<String> = (0..40).map(|at| format!("w{at}")).collect();
        let long = long.join(" ");
        let [front, back] = ends(&long).unwrap();
        assert!(
            front.ends_with(" w27") && back.starts_with("w12 "),
            "{front} | {back}"
        );
    }

    #[test]
    fn what_is_about_two_things_is_believed_of_neither() {
        let whole = said([0.05, 0.9, 0.05]);
        let [front, back] = [said([0.94, 0.03, 0.03]), said([0.02, 0.96, 0.02])];
        let doubted = doubt(&whole, &[front.clone(), back]).unwrap();
        assert!(
            doubted.probabilities.iter().all(|p| *p < 0.51),
            "{doubted:?}"
        );
        let same = [said([0.04, 0.92, 0.04]), said([0.02, 0.96, 0.02])];
        assert!(doubt(&whole, &same).is_none());
        let unsure = [front, said([0.1, 0.85, 0.05])];
        assert!(doubt(&whole, &unsure).is_none());
    }
}
