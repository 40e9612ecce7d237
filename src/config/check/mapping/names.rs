//! What a mapping may name, and whether it does.

use std::collections::BTreeMap;

use crate::{
    config::{
        Capability, MappingConfig, document::Place, mistake::Mistakes, raw, suggest::suggest,
    },
    ids::OUT_OF_DOMAIN,
};

/// What the mapping may name.
#[derive(Clone, Copy)]
pub(in crate::config) struct Known<'a> {
    /// `experts`: every id, with a mistaken value or not.
    pub experts_place: Place<'a>,
    /// What is understood of them.
    pub experts: Option<&'a BTreeMap<String, raw::Expert>>,
    /// The category of every route; empty where the routes are wrong.
    pub categories: &'a [String],
    /// Whether the dollars of clients are limited.
    pub clients_pay: bool,
}

impl Known<'_> {
    pub(super) fn expert(&self, id: &str) -> Option<&raw::Expert> {
        self.experts?.get(id)
    }

    pub(super) fn check_expert(&self, id: &str, place: Place<'_>, mistakes: &mut Mistakes) {
        if self.experts_place.keys().next().is_none() {
            return; // `experts` itself is wrong, and that is reported already.
        }
        if !self.experts_place.keys().any(|key| key == id) {
            let help = suggest(id, self.experts_place.keys());
            mistakes.add(place, format!("there is no expert `{id}`"), help);
        } else if self.expert(id).is_some_and(|expert| !is_chat(expert)) {
            let message = format!("`{id}` does not answer conversations");
            let help = "name another expert, or add `chat` to its `capabilities`".to_owned();
            mistakes.add(place, message, help);
        }
    }

    /// Checks a key that is a category's; `others` may stand there as well.
    pub(super) fn check_category(
        &self,
        category: &str,
        place: Place<'_>,
        others: &[&str],
        mistakes: &mut Mistakes,
    ) {
        if category == OUT_OF_DOMAIN {
            let message = format!("`{OUT_OF_DOMAIN}` has no entry of its own");
            let help = "`default` answers what no category covers".to_owned();
            mistakes.add(place, message, help);
            return;
        }
        let known = self.categories.iter().map(String::as_str);
        // Without categories the folder of routes is wrong, and that is reported already.
        if !self.categories.is_empty() && !known.clone().any(|known| known == category) {
            let help = suggest(category, known.chain(others.iter().copied()));
            let message = format!("no route describes the category `{category}`");
            mistakes.add(place, message, help);
        }
    }

    /// Whoever a budget counts must have a price: all that answer conversations, since clients may name any of them.
    pub(super) fn check_prices(&self, config: &MappingConfig, mistakes: &mut Mistakes) {
        let house_pays = config.usd_per_question_max.is_some() || config.usd_per_day_max.is_some();
        let needs = if house_pays {
            "`mapping.budget` needs one"
        } else if self.clients_pay {
            "`usd_per_day` of `server` needs one"
        } else {
            return;
        };
        let experts = self.experts.into_iter().flatten();
        for (id, expert) in experts.filter(|(_, expert)| is_chat(expert)) {
            let (usd_in, usd_out) = expert.prices();
            if usd_in.is_none() || usd_out.is_none() {
                let message = format!("`{id}` has no price, and {needs}");
                let help = "add `usd_in` and `usd_out`, dollars per million tokens".to_owned();
                mistakes.add(self.experts_place.key(id), message, help);
            }
        }
    }
}

fn is_chat(expert: &raw::Expert) -> bool {
    expert.capabilities().contains(&Capability::Chat)
}
