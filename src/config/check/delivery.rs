//! `delivery`, and what experts say of retries and breakers.

use std::sync::Arc;

use crate::{
    config::{
        BreakerConfig, Delivery, DeliveryConfig, Retries, RouteTimeouts, document::Place, raw,
        units,
    },
    ids::CategoryId,
};

use super::Check;

/// What the house wants, and each route; categories that there are not are mistakes.
pub(in crate::config) fn delivery(
    raw: &raw::Delivery,
    categories: &[String],
    place: Place<'_>,
    check: &mut Check<'_>,
) -> DeliveryConfig {
    let house = route(&raw.house, Delivery::default(), place, check);
    let list = place.at("routes");
    let routes = raw.routes.iter().map(|(category, raw)| {
        if !categories.contains(category) {
            let message = format!("there is no category `{category}`");
            let help =
                crate::config::suggest::suggest(category, categories.iter().map(String::as_str));
            check.mistakes.add(list.key(category), message, help);
        }
        let route = route(raw, house, list.at(category), check);
        (CategoryId::new(category.as_str()), Arc::new(route))
    });
    DeliveryConfig {
        routes: routes.collect(),
        house: Arc::new(house),
    }
}

fn route(
    raw: &raw::RouteDelivery,
    house: Delivery,
    place: Place<'_>,
    check: &mut Check<'_>,
) -> Delivery {
    let clocks = place.at("timeouts");
    let mut clock = |key: &str, raw: &Option<raw::DurationText>, house| match raw {
        Some(raw) => check.duration(key, raw, clocks),
        None => house,
    };
    let timeouts = RouteTimeouts {
        connect: clock("connect", &raw.timeouts.connect, house.timeouts.connect),
        first_token: clock(
            "first_token",
            &raw.timeouts.first_token,
            house.timeouts.first_token,
        ),
        idle: clock("idle", &raw.timeouts.idle, house.timeouts.idle),
        total: clock("total", &raw.timeouts.total, house.timeouts.total),
    };
    let hedge_share = match &raw.hedge {
        Some(raw) => share("hedge", raw, place, check).filter(|share| *share > 0.0),
        None => house.hedge_share,
    };
    Delivery {
        timeouts,
        retries_max: raw.retries_max.or(house.retries_max),
        stream_recovery: raw.stream_recovery.unwrap_or(house.stream_recovery),
        policy_refusals: raw.policy_refusals.unwrap_or(house.policy_refusals),
        hedge_share,
    }
}

pub(super) fn retries(
    raw: &raw::Retries,
    place: Place<'_>,
    check: &mut Check<'_>,
) -> Option<Retries> {
    let backoff = check.duration("backoff", &raw.backoff, place);
    let backoff_max = check.duration("backoff_max", &raw.backoff_max, place);
    check.at_most(("backoff", backoff), ("backoff_max", backoff_max), place);
    let retry_after_max = check.duration("retry_after_max", &raw.retry_after_max, place);
    let budget = share("budget", &raw.budget, place, check);
    Some(Retries {
        max: raw.max,
        backoff: backoff?,
        backoff_max: backoff_max?,
        retry_after_max: retry_after_max?,
        budget: budget?,
    })
}

pub(super) fn breaker(
    raw: &raw::Breaker,
    place: Place<'_>,
    check: &mut Check<'_>,
) -> Option<BreakerConfig> {
    let error_rate = share("error_rate", &raw.error_rate, place, check);
    if error_rate == Some(0.0) {
        let help = "write a share above 0, such as `50%`";
        check.wrong(place.at("error_rate"), "`error_rate` is 0", help);
    }
    let window = check.duration("window", &raw.window, place);
    let open = check.duration("open", &raw.open, place);
    let open_max = check.duration("open_max", &raw.open_max, place);
    check.at_most(("open", open), ("open_max", open_max), place);
    Some(BreakerConfig {
        failures: raw.failures,
        error_rate: error_rate?,
        answers_min: raw.answers_min,
        window: window?,
        slow_factor: raw.slow_factor,
        open: open?,
        open_max: open_max?,
    })
}

/// The share under `key` of the map at `place`, 0 to 1.
pub(super) fn share(
    key: &str,
    raw: &raw::Share,
    place: Place<'_>,
    check: &mut Check<'_>,
) -> Option<f64> {
    let (share, shown) = match raw {
        raw::Share::Number(number) => (Some(*number), number.to_string()),
        raw::Share::Text(text) => (units::share(text), text.clone()),
    };
    let share = share.filter(|share| (0.0..=1.0).contains(share));
    if share.is_none() {
        let help = "write a number between 0 and 1, or a share such as `20%`";
        check.wrong(place.at(key), format!("`{key}` is `{shown}`"), help);
    }
    share
}
