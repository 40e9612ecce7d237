//! `learning`.

use super::{Check, delivery::share};
use crate::config::{LearningConfig, document::Place, raw};

pub(in crate::config) fn learning(
    raw: &raw::Learning,
    place: Place<'_>,
    check: &mut Check<'_>,
) -> Option<LearningConfig> {
    let category_margin = share("category_margin", &raw.category_margin, place, check);
    let client_share_max = share("client_share_max", &raw.client_share_max, place, check);
    if client_share_max == Some(0.0) {
        let help = "write a share above 0, or leave feedback out: `without: [feedback]`";
        let place = place.at("client_share_max");
        check.wrong(place, "`client_share_max` is 0", help);
    }
    Some(LearningConfig {
        measure: raw.measure,
        category_margin: category_margin?,
        client_share_max: client_share_max?,
        without: raw.without.clone(),
        questions_per_false_alarm: raw.questions_per_false_alarm.into(),
    })
}
