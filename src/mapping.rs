//! Step two: category → expert and its fallbacks, after the limits of the request. Knows nothing of HTTP or SQL, and
//! nothing of how a category was found.

pub mod evaluate;
pub mod fit;

use std::collections::HashMap;

use crate::{
    chat::{ChatRequest, Need},
    config::{Capability, ExpertConfig, MappingConfig},
    ids::{CategoryId, ExpertId},
};

/// Bytes of text that make a token, on the low side of what tokenizers do to English prose (about four): an estimate
/// must rather refuse a long conversation than overrun a context or a budget.
pub(crate) const BYTES_PER_TOKEN: usize = 3;

/// Tokens of an answer whose length the client did not bound, for estimates of cost.
pub(crate) const ANSWER_TOKENS_ESTIMATE: u32 = 1_000;

/// Which expert answers what.
#[derive(Debug)]
pub struct Mapping {
    config: MappingConfig,
    facts: HashMap<ExpertId, ExpertFacts>,
}

#[derive(Debug)]
struct ExpertFacts {
    context_tokens: Option<u64>,
    capabilities: Vec<Capability>,
    usd_in: f64,
    usd_out: f64,
}

/// Who is asked, in order.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// Who is asked first.
    pub expert: ExpertId,
    /// Who is asked next if that fails, in order.
    pub fallbacks: Vec<ExpertId>,
    /// Probability with which this expert was chosen; 1, since nothing is explored yet.
    pub propensity: f64,
}

/// Whoever could answer would cost more than a question may.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error(
    "an answer would cost about ${usd_estimate:.6}, and a question may cost ${usd_max:.6} at most; ask for fewer tokens"
)]
pub struct OverBudget {
    /// What the cheapest expert that can answer would cost, estimated, in dollars.
    pub usd_estimate: f64,
    /// What a question may cost, in dollars.
    pub usd_max: f64,
}

/// What a request demands of whoever answers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Demand {
    /// Tokens of the conversation, estimated.
    pub prompt_tokens: u64,
    /// Tokens that the answer may have.
    pub answer_tokens: u64,
    /// What the expert must be able to do.
    pub capabilities: Vec<Capability>,
}

impl Mapping {
    /// Joins the mapping with what it needs to know of each expert.
    pub fn new(config: MappingConfig, experts: &[ExpertConfig]) -> Self {
        let facts = experts
            .iter()
            .map(|expert| (expert.id.clone(), ExpertFacts::of(expert)))
            .collect();
        Self { config, facts }
    }

    /// Who answers a category's question, or one that no category covers.
    ///
    /// # Errors
    /// There are experts that could answer, and none of them within the budget.
    pub fn choose(
        &self,
        category: Option<&CategoryId>,
        demand: &Demand,
    ) -> Result<Choice, OverBudget> {
        let wanted = self.wanted(category);
        let mut order: Vec<ExpertId> = wanted
            .iter()
            .filter(|expert| self.meets(expert, demand))
            .map(|&expert| expert.clone())
            .collect();
        if order.is_empty() {
            order.push(self.stand_in(&wanted, demand)?);
        }
        Ok(Choice {
            expert: order.remove(0),
            fallbacks: order,
            propensity: 1.0,
        })
    }

    /// Whether one of a category's own experts meets the demand, so that its questions need no stand-in.
    pub fn serves(&self, category: &CategoryId, demand: &Demand) -> bool {
        self.wanted(Some(category))
            .iter()
            .any(|expert| self.meets(expert, demand))
    }

    /// An estimate of what the answer will cost, in dollars.
    pub fn usd_estimate(&self, expert: &ExpertId, demand: &Demand) -> f64 {
        let per_million = |tokens: u64, usd: f64| tokens as f64 * usd / 1e6;
        self.facts.get(expert).map_or(0.0, |facts| {
            per_million(demand.prompt_tokens, facts.usd_in)
                + per_million(demand.answer_tokens, facts.usd_out)
        })
    }

    /// Whom the configuration wants for a category, in order.
    fn wanted(&self, category: Option<&CategoryId>) -> Vec<&ExpertId> {
        let assigned = category.and_then(|category| {
            let mut categories = self.config.categories.iter();
            categories.find(|(known, _)| known == category)
        });
        match assigned {
            Some((_, assigned)) => std::iter::once(&assigned.expert)
                .chain(&assigned.fallbacks)
                .collect(),
            None => vec![&self.config.default],
        }
    }

    fn meets(&self, expert: &ExpertId, demand: &Demand) -> bool {
        let affordable = self
            .config
            .usd_per_question_max
            .is_none_or(|most| self.usd_estimate(expert, demand) <= most);
        affordable && self.can(expert, demand)
    }

    /// Whether an expert can do what is demanded, whatever it costs.
    fn can(&self, expert: &ExpertId, demand: &Demand) -> bool {
        self.facts.get(expert).is_some_and(|facts| {
            let mut capabilities = demand.capabilities.iter();
            capabilities.all(|needed| facts.capabilities.contains(needed))
                && facts
                    .context_tokens
                    .is_none_or(|most| demand.prompt_tokens < most)
        })
    }

    /// When nobody wanted meets the demand: the default expert if it does, else the cheapest that can and may. Where
    /// nobody can at any price the first wanted, whose refusal then tells the client what cannot be done.
    fn stand_in(&self, wanted: &[&ExpertId], demand: &Demand) -> Result<ExpertId, OverBudget> {
        if self.meets(&self.config.default, demand) {
            return Ok(self.config.default.clone());
        }
        let cheapest = self
            .facts
            .keys()
            .filter(|expert| self.can(expert, demand))
            .min_by(|a, b| {
                let by_price = self
                    .usd_estimate(a, demand)
                    .total_cmp(&self.usd_estimate(b, demand));
                by_price.then_with(|| a.cmp(b))
            });
        match (cheapest, self.config.usd_per_question_max) {
            (None, _) => Ok(wanted
                .first()
                .map_or(&self.config.default, |&first| first)
                .clone()),
            (Some(cheapest), Some(usd_max)) if !self.meets(cheapest, demand) => Err(OverBudget {
                usd_estimate: self.usd_estimate(cheapest, demand),
                usd_max,
            }),
            (Some(cheapest), _) => Ok(cheapest.clone()),
        }
    }
}

impl ExpertFacts {
    fn of(expert: &ExpertConfig) -> Self {
        Self {
            context_tokens: expert.context_tokens.map(u64::from),
            capabilities: expert.capabilities.clone(),
            usd_in: expert.usd_in.unwrap_or(0.0),
            usd_out: expert.usd_out.unwrap_or(0.0),
        }
    }
}

impl Demand {
    /// Reads a request's demands from its body.
    pub fn of(request: &ChatRequest) -> Self {
        let bytes: usize = request
            .messages
            .iter()
            .map(|message| message.text.len())
            .sum();
        let mut capabilities = vec![Capability::Chat];
        for needed in Need::all_of(request).into_iter().filter_map(capability) {
            if !capabilities.contains(&needed) {
                capabilities.push(needed);
            }
        }
        Self {
            prompt_tokens: (bytes / BYTES_PER_TOKEN) as u64,
            answer_tokens: request
                .sampling
                .answer_tokens_max
                .unwrap_or(ANSWER_TOKENS_ESTIMATE)
                .into(),
            capabilities,
        }
    }
}

/// The capability that covers a need; none where the configuration knows no name for it.
fn capability(need: Need) -> Option<Capability> {
    match need {
        Need::Tools | Need::ToolResults => Some(Capability::Tools),
        Need::OtherParts => Some(Capability::Images),
        Need::Format => Some(Capability::Json),
        Need::Choices | Need::LogProbs | Need::LogitBias => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::config::{Assignment, ExpertKind, Timeouts};

    fn expert(
        id: &str,
        context_tokens: Option<u32>,
        usd: f64,
        capabilities: &[Capability],
    ) -> ExpertConfig {
        let second = Duration::from_secs(1);
        ExpertConfig {
            id: ExpertId::new(id),
            kind: ExpertKind::Local {
                model_file: "model.gguf".into(),
            },
            params_b: None,
            usd_in: Some(usd),
            usd_out: Some(usd),
            context_tokens,
            capabilities: capabilities.to_vec(),
            concurrent_max: 1,
            queue_max: 1,
            timeouts: Timeouts {
                connect: second,
                first_token: second,
                idle: second,
                total: second,
            },
        }
    }

    fn mapping(usd_per_question_max: Option<f64>) -> Mapping {
        let all = [Capability::Chat, Capability::Tools];
        let experts = [
            expert("small", Some(1_000), 0.0, &all[..1]),
            expert("middle", Some(8_000), 1.0, &all[..1]),
            expert("large", None, 100.0, &all),
        ];
        let coding = Assignment {
            expert: ExpertId::new("large"),
            fallbacks: vec![ExpertId::new("middle"), ExpertId::new("small")],
        };
        let config = MappingConfig {
            default: ExpertId::new("small"),
            categories: vec![(CategoryId::new("coding"), coding)],
            usd_per_question_max,
        };
        Mapping::new(config, &experts)
    }

    fn demand(prompt_tokens: u64, capabilities: &[Capability]) -> Demand {
        Demand {
            prompt_tokens,
            answer_tokens: 1_000,
            capabilities: capabilities.to_vec(),
        }
    }

    fn order(mapping: &Mapping, category: &str, demand: &Demand) -> Vec<String> {
        let choice = mapping
            .choose(Some(&CategoryId::new(category)), demand)
            .unwrap();
        std::iter::once(&choice.expert)
            .chain(&choice.fallbacks)
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn a_category_goes_to_its_expert_and_others_to_the_default() {
        let easy = demand(10, &[Capability::Chat]);
        assert_eq!(
            order(&mapping(None), "coding", &easy),
            ["large", "middle", "small"]
        );
        assert_eq!(order(&mapping(None), "legal", &easy), ["small"]);
        assert_eq!(
            mapping(None).choose(None, &easy).unwrap().expert.as_str(),
            "small"
        );
    }

    #[test]
    fn a_category_is_served_by_its_own_experts_alone() {
        let serves =
            |category, demand: &Demand| mapping(None).serves(&CategoryId::new(category), demand);
        let (easy, long) = (
            demand(10, &[Capability::Chat]),
            demand(9_000, &[Capability::Chat]),
        );
        assert!(serves("coding", &long) && serves("legal", &easy));
        assert!(!serves("legal", &long), "the default expert holds less");
    }

    #[test]
    fn an_expert_over_the_budget_is_passed_over() {
        let easy = demand(1_000, &[Capability::Chat]);
        assert!((mapping(None).usd_estimate(&ExpertId::new("large"), &easy) - 0.2).abs() < 1e-9);
        assert_eq!(order(&mapping(Some(0.1)), "coding", &easy), ["middle"]);
        assert_eq!(
            order(&mapping(Some(0.2)), "coding", &easy),
            ["large", "middle"]
        );
    }

    #[test]
    fn a_long_conversation_goes_to_an_expert_that_can_hold_it() {
        let long = demand(2_000, &[Capability::Chat]);
        assert_eq!(order(&mapping(None), "coding", &long), ["large", "middle"]);
        assert_eq!(
            order(&mapping(None), "legal", &long),
            ["middle"],
            "the cheapest that can"
        );
    }

    #[test]
    fn tools_need_an_expert_that_calls_them() {
        let tools = demand(10, &[Capability::Chat, Capability::Tools]);
        assert_eq!(order(&mapping(None), "legal", &tools), ["large"]);
        let pictures = demand(10, &[Capability::Images]);
        assert_eq!(
            order(&mapping(Some(0.0)), "legal", &pictures),
            ["small"],
            "nobody can: the first wanted says so"
        );
    }

    #[test]
    fn a_budget_that_nobody_who_can_keeps_is_refused() {
        let tools = demand(1_000, &[Capability::Chat, Capability::Tools]);
        let over = mapping(Some(0.1)).choose(None, &tools).unwrap_err();
        assert!((over.usd_estimate - 0.2).abs() < 1e-9, "{over}");
        assert_eq!(order(&mapping(Some(0.2)), "legal", &tools), ["large"]);
    }

    #[test]
    fn demands_are_read_from_the_request() {
        let request = ChatRequest::parse(json!({
            "model": "coterie",
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "abcdef"}, {"type": "image_url"}]},
            ],
            "tools": [{}],
            "response_format": {"type": "json_schema"},
            "max_tokens": 7,
        }));
        let demand = Demand::of(&request.unwrap());
        assert_eq!((demand.prompt_tokens, demand.answer_tokens), (2, 7));
        assert_eq!(
            demand.capabilities,
            [
                Capability::Chat,
                Capability::Tools,
                Capability::Json,
                Capability::Images
            ]
        );
    }

    #[test]
    fn tools_that_cannot_be_called_demand_nothing() {
        for tools in [
            json!({"tools": []}),
            json!({"tools": [{}], "tool_choice": "none"}),
        ] {
            let mut body =
                json!({"model": "coterie", "messages": [{"role": "user", "content": "hi"}]});
            for (key, value) in tools.as_object().unwrap() {
                body[key] = value.clone();
            }
            let demand = Demand::of(&ChatRequest::parse(body).unwrap());
            assert_eq!(demand.capabilities, [Capability::Chat], "{tools}");
        }
    }
}
