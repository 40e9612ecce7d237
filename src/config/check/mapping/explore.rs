//! `mapping.explore`: how often another expert is tried out, and which.

use crate::{
    config::{document::Place, mistake::Mistakes, raw, units},
    mapping::{Explore, explore::Policy},
};

/// What is written; none where it is mistaken.
pub(super) fn explore(
    raw: &raw::Explore,
    place: Place<'_>,
    mistakes: &mut Mistakes,
) -> Option<Explore> {
    let number = |number: &f64| (Some(*number), number.to_string());
    let text = |text: &String| (units::share(text), text.clone());
    let (key, place, (share, shown), policy) = match raw {
        raw::Explore::Number(share) => ("explore", place, number(share), Policy::Uniform),
        raw::Explore::Text(share) => ("explore", place, text(share), Policy::Uniform),
        raw::Explore::ByPolicy(raw) => {
            let share = match raw.share.as_ref()? {
                raw::Share::Number(share) => number(share),
                raw::Share::Text(share) => text(share),
            };
            ("share", place.at("share"), share, raw.policy)
        }
    };
    let explore = share.and_then(|share| Explore::new(share, policy));
    if explore.is_none() {
        let help = "write a number between 0 and 1, or a share such as `2%`".to_owned();
        mistakes.add(place, format!("`{key}` is `{shown}`"), help);
    }
    explore
}
