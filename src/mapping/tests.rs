mod budgets;
mod defaults;
mod exploring;
mod serving;

use std::{sync::LazyLock, time::Duration};

use serde_json::json;

use super::*;
use crate::{
    chat::ChatRequest,
    config::{
        Accept, Assignment, BreakerConfig, Capability, ExpertKind, Prefill, Retries, Timeouts,
    },
};

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
        concurrent_max: Some(1),
        queue_max: 1,
        timeouts: Timeouts {
            connect: second,
            first_token: second,
            idle: second,
            total: second,
        },
        retries: Retries::default(),
        breaker: BreakerConfig::default(),
        prefill: Prefill::None,
    }
}

fn config() -> MappingConfig {
    let coding = Assignment {
        expert: ExpertId::new("large"),
        fallbacks: vec![ExpertId::new("middle"), ExpertId::new("small")],
    };
    MappingConfig {
        default: ExpertId::new("small"),
        default_fallbacks: Vec::new(),
        categories: vec![(CategoryId::new("coding"), coding)],
        usd_per_question_max: None,
        usd_per_day_max: None,
        prefer: Prefer::Word(Preference::Balanced),
        prefer_allowed: vec![Preference::Balanced, Preference::Economy],
        quality: None,
        cascades: Vec::new(),
        explore: None,
    }
}

fn experts() -> [ExpertConfig; 3] {
    let all = [Capability::Chat, Capability::Tools];
    [
        expert("small", Some(1_000), 0.0, &all[..1]),
        expert("middle", Some(8_000), 1.0, &all[..1]),
        expert("large", None, 100.0, &all),
    ]
}

fn mapping(usd_per_question_max: Option<f64>) -> Mapping {
    let config = MappingConfig {
        usd_per_question_max,
        ..config()
    };
    Mapping::new(config, &experts(), None)
}

/// Coding questions go to the small expert first.
fn cascading(accept: Accept, quality: Option<Arc<dyn Quality>>) -> Mapping {
    let cascade = CascadeConfig {
        first: ExpertId::new("small"),
        accept,
        within: Duration::from_secs(1),
    };
    let config = MappingConfig {
        cascades: vec![(CategoryId::new("coding"), cascade)],
        usd_per_day_max: Some(1.0),
        ..config()
    };
    Mapping::new(config, &experts(), quality)
}

fn demand(prompt_tokens: u64, capabilities: &[Capability]) -> Demand {
    Demand {
        prompt_tokens,
        answer_tokens: 1_000,
        choices_wanted: 1,
        capabilities: capabilities.to_vec(),
    }
}

fn easy() -> Demand {
    demand(10, &[Capability::Chat])
}

fn wanted<'a>(category: Option<&'a CategoryId>, demand: &'a Demand) -> Wanted<'a> {
    Wanted {
        category,
        predicted: &[],
        prefer: Prefer::Word(Preference::Balanced),
        demand,
        today: Today::default(),
        resting: &[],
        chance: Chance::None,
        posteriors: nothing_known(),
    }
}

fn nothing_known() -> &'static Posteriors {
    static NOTHING: LazyLock<Posteriors> = LazyLock::new(Posteriors::default);
    &NOTHING
}

fn coding() -> CategoryId {
    CategoryId::new("coding")
}

fn everyone(choice: &Choice) -> Vec<&str> {
    std::iter::once(&choice.expert)
        .chain(&choice.fallbacks)
        .map(ExpertId::as_str)
        .collect()
}

/// The choice for a category, by what is predicted if something is.
fn chosen(mapping: &Mapping, category: &CategoryId, demand: &Demand) -> Choice {
    let wanted = wanted(Some(category), demand);
    let predicted = mapping.predict(&Question {
        text: "How do I sort a list?",
        category: wanted.category,
        prefer: wanted.prefer,
    });
    let wanted = Wanted {
        predicted: &predicted,
        ..wanted
    };
    mapping.choose(&wanted).unwrap()
}

fn order(mapping: &Mapping, category: &str, demand: &Demand) -> Vec<String> {
    let choice = chosen(mapping, &CategoryId::new(category), demand);
    everyone(&choice).into_iter().map(str::to_owned).collect()
}

#[test]
fn who_is_left_alone_is_asked_last_and_the_grounds_say_so() {
    let rests = |names: &[&str]| {
        let rest = |name: &&str| Resting {
            expert: ExpertId::new(*name),
            retry_in: Duration::from_secs(3),
        };
        names.iter().map(rest).collect::<Vec<_>>()
    };
    let (mapping, demand, category) = (Mapping::new(config(), &experts(), None), easy(), coding());
    let choice = |resting: &[Resting]| {
        let wanted = Wanted {
            resting,
            ..wanted(Some(&category), &demand)
        };
        mapping.choose(&wanted).unwrap()
    };
    let one = choice(&rests(&["large"]));
    assert_eq!(everyone(&one), ["middle", "small", "large"]);
    let retry_in_ms = 3000;
    let limit = Limit::CircuitOpen { retry_in_ms };
    assert_eq!(
        one.grounds.passed_over,
        [PassedOver::new(&ExpertId::new("large"), limit)]
    );
    let all = choice(&rests(&["large", "middle", "small"]));
    assert_eq!(
        everyone(&all),
        ["large", "middle", "small"],
        "nobody is better"
    );
    assert!(all.grounds.passed_over.is_empty());
}

#[test]
fn a_category_goes_to_its_expert_and_others_to_the_default() {
    let easy = demand(10, &[Capability::Chat]);
    assert_eq!(
        order(&mapping(None), "coding", &easy),
        ["large", "middle", "small"]
    );
    assert_eq!(order(&mapping(None), "legal", &easy), ["small"]);
    let nobody = mapping(None).choose(&wanted(None, &easy)).unwrap();
    assert_eq!(nobody.expert.as_str(), "small");
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
    // Six bytes of text, four of tools, 22 of the answer's form; and a picture.
    assert_eq!((demand.prompt_tokens, demand.answer_tokens), (10 + 1600, 7));
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

/// The tokens that a conversation, and what is added to a request, are estimated at.
fn prompt_tokens(messages: serde_json::Value, more: serde_json::Value) -> u64 {
    let mut body = json!({"model": "coterie", "messages": messages});
    for (key, value) in more.as_object().unwrap() {
        body[key] = value.clone();
    }
    Demand::of(&ChatRequest::parse(body).unwrap()).prompt_tokens
}

#[test]
fn all_that_is_read_counts_and_base64_does_not() {
    let thousand = "x".repeat(3000);
    let estimate = |message| prompt_tokens(json!([message]), json!({}));
    for content in [
        json!(thousand),
        json!([{"type": "text", "text": thousand}]),
        json!([{"type": "refusal", "refusal": thousand}]),
    ] {
        let message = json!({"role": "assistant", "content": content});
        assert_eq!(estimate(message), 1000, "{content}");
    }
    let called = json!({"role": "assistant", "content": null, "tool_calls": [
        {"function": {"name": "f", "arguments": thousand}},
    ]});
    assert_eq!(estimate(called), 1000);
    let older = json!({"role": "assistant", "function_call": {"name": "f", "arguments": thousand}});
    assert_eq!(estimate(older), 1000);
    for part in [
        json!({"type": "image_url", "image_url": {"url": "x".repeat(1 << 20)}}),
        json!({"type": "input_audio", "input_audio": {"data": thousand}}),
        json!({"type": "file", "file": {"file_data": thousand}}),
    ] {
        let message = json!({"role": "user", "content": [{"type": "text", "text": "abc"}, part]});
        assert_eq!(estimate(message), 1 + 1600);
    }
    let plain = json!([{"role": "user", "content": "abc"}]);
    for field in ["tools", "functions", "response_format"] {
        let estimate = prompt_tokens(plain.clone(), json!({field: [thousand]}));
        assert!((1001..1003).contains(&estimate), "{field}: {estimate}");
    }
}

#[test]
fn of_two_bounds_of_an_answer_the_larger_counts() {
    for (change, tokens, field) in [
        (json!({}), 1000, "max_tokens"),
        (json!({"max_tokens": 7}), 7, "max_tokens"),
        (
            json!({"max_completion_tokens": 7}),
            7,
            "max_completion_tokens",
        ),
        (
            json!({"max_tokens": 7, "max_completion_tokens": 9}),
            9,
            "max_completion_tokens",
        ),
        (
            json!({"max_tokens": 9, "max_completion_tokens": 7}),
            9,
            "max_tokens",
        ),
    ] {
        let mut body = json!({"model": "coterie", "messages": [{"role": "user", "content": "hi"}]});
        for (key, value) in change.as_object().unwrap() {
            body[key] = value.clone();
        }
        let request = ChatRequest::parse(body).unwrap();
        assert_eq!(Demand::of(&request).answer_tokens, tokens, "{change}");
        assert_eq!(request.answer_tokens_field(), field, "{change}");
    }
}

#[test]
fn tools_that_cannot_be_called_demand_nothing() {
    for tools in [
        json!({"tools": []}),
        json!({"tools": [{}], "tool_choice": "none"}),
    ] {
        let mut body = json!({"model": "coterie", "messages": [{"role": "user", "content": "hi"}]});
        for (key, value) in tools.as_object().unwrap() {
            body[key] = value.clone();
        }
        let demand = Demand::of(&ChatRequest::parse(body).unwrap());
        assert_eq!(demand.capabilities, [Capability::Chat], "{tools}");
    }
}

#[test]
fn who_is_passed_over_is_told_with_the_reason() {
    let choice = |usd, demand: &Demand| {
        let choice = mapping(usd)
            .choose(&wanted(Some(&coding()), demand))
            .unwrap();
        json!(choice.grounds.passed_over)
    };
    assert_eq!(choice(None, &easy()), json!([]));
    let long = demand(9_000, &[Capability::Chat]);
    assert_eq!(
        choice(None, &long),
        json!([
            {"expert": "middle", "limit": "context_tokens", "prompt_tokens": 9_000, "context_tokens": 8_000},
            {"expert": "small", "limit": "context_tokens", "prompt_tokens": 9_000, "context_tokens": 1_000},
        ])
    );
    let tools = demand(0, &[Capability::Chat, Capability::Tools]);
    assert_eq!(
        choice(None, &tools)[0],
        json!({"expert": "middle", "limit": "capabilities", "lacks": ["tools"]})
    );
    let plain = demand(0, &[Capability::Chat]);
    assert_eq!(
        choice(Some(0.05), &plain)[0],
        json!({"expert": "large", "limit": "usd_per_question", "usd_estimate": 0.1, "usd_max": 0.05})
    );
}

#[test]
fn a_cascade_is_for_its_category_and_costs_more() {
    let judged = Accept {
        judge: Some(ExpertId::new("middle")),
        ..Accept::default()
    };
    let mapping = cascading(judged, None);
    let choose = |category: &CategoryId, demand: &Demand| {
        mapping.choose(&wanted(Some(category), demand)).unwrap()
    };
    let choice = choose(&coding(), &easy());
    assert_eq!(choice.expert.as_str(), "large");
    assert_eq!(choice.grounds.cascade.unwrap().first.as_str(), "small");
    // 1 010 tokens of the large expert; its prompt and the first answer once more for the judge.
    assert!((choice.usd_estimate - 0.101 - 0.00101).abs() < 1e-9);
    let legal = choose(&CategoryId::new("legal"), &easy());
    assert_eq!(legal.grounds.cascade, None);
    let several = Demand {
        choices_wanted: 2,
        ..easy()
    };
    assert_eq!(
        choose(&coding(), &several).grounds.cascade,
        None,
        "one answer is checked"
    );
    let long = demand(2_000, &[Capability::Chat]);
    let long = choose(&coding(), &long).grounds;
    assert_eq!(long.cascade, None);
    assert_eq!(long.passed_over.last().unwrap().expert.as_str(), "small");
}

#[test]
fn a_cascade_is_left_out_where_all_of_it_together_or_its_judge_would_not_do() {
    let judged = || Accept {
        judge: Some(ExpertId::new("middle")),
        ..Accept::default()
    };
    let category = coding();
    let left_out = |mapping: &Mapping, demand: &Demand, resting: &[Resting]| {
        let wanted = Wanted {
            resting,
            ..wanted(Some(&category), demand)
        };
        let grounds = mapping.choose(&wanted).unwrap().grounds;
        let last = grounds
            .passed_over
            .last()
            .map(|it| (it.expert.to_string(), json!(it.limit)["limit"].clone()));
        grounds.cascade.is_none().then(|| last.unwrap())
    };
    let mapping = cascading(judged(), None);
    assert_eq!(left_out(&mapping, &easy(), &[]), None);
    // The large expert may cost as much, and no judge besides.
    let config = MappingConfig {
        usd_per_question_max: Some(0.1015),
        cascades: mapping.config.cascades.clone(),
        ..config()
    };
    let dear = Mapping::new(config, &experts(), None);
    let (expert, limit) = left_out(&dear, &easy(), &[]).unwrap();
    assert_eq!(
        (expert.as_str(), limit),
        ("small", json!("usd_per_question"))
    );
    // A question that the small expert holds, and with the answer is too long for the judge.
    let long = Demand {
        answer_tokens: 7_990,
        ..easy()
    };
    let (expert, limit) = left_out(&mapping, &long, &[]).unwrap();
    assert_eq!(
        (expert.as_str(), limit),
        ("middle", json!("context_tokens"))
    );
    let resting = [Resting {
        expert: ExpertId::new("middle"),
        retry_in: Duration::from_secs(5),
    }];
    let (expert, limit) = left_out(&mapping, &easy(), &resting).unwrap();
    assert_eq!((expert.as_str(), limit), ("middle", json!("circuit_open")));
}

/// Says the same of every question.
#[derive(Debug)]
struct Fixed(Vec<(&'static str, f64)>);

impl Quality for Fixed {
    fn predict(&self, _question: &Question<'_>) -> Vec<Predicted> {
        let predicted = self.0.iter().map(|&(expert, score)| Predicted {
            expert: ExpertId::new(expert),
            score,
            value: score,
        });
        predicted.collect()
    }
}

#[test]
fn the_best_predicted_that_may_answer_goes_first() {
    let quality = Arc::new(Fixed(vec![
        ("small", 0.2),
        ("large", 0.7),
        ("middle", 0.9),
        ("gone", 1.0),
    ]));
    let mapping = Mapping::new(config(), &experts(), Some(quality));
    assert_eq!(
        order(&mapping, "coding", &easy()),
        ["middle", "large", "small"]
    );
    assert_eq!(order(&mapping, "legal", &easy()), ["middle", "small"]);
    let tools = demand(10, &[Capability::Chat, Capability::Tools]);
    let choice = chosen(&mapping, &coding(), &tools);
    assert_eq!(everyone(&choice), ["large"]);
    let passed_over: Vec<&str> = choice
        .grounds
        .passed_over
        .iter()
        .map(|passed_over| passed_over.expert.as_str())
        .collect();
    assert_eq!(passed_over, ["middle", "small"]);
    let scores: Vec<f64> = choice.grounds.predicted.iter().map(|p| p.score).collect();
    assert_eq!(
        scores,
        [0.9, 0.7, 0.2],
        "of those that there are, the best first"
    );
}

#[test]
fn a_first_expert_of_which_too_little_is_predicted_is_not_asked() {
    let accept = Accept {
        predicted_success_min: Some(0.5),
        ..Accept::default()
    };
    let cascade = |scores: &[(&'static str, f64)]| {
        let quality: Arc<dyn Quality> = Arc::new(Fixed(scores.to_vec()));
        let mapping = cascading(accept.clone(), Some(quality));
        let choice = chosen(&mapping, &coding(), &easy());
        (
            choice.grounds.cascade.is_some(),
            json!(choice.grounds.passed_over),
        )
    };
    assert!(cascade(&[("small", 0.5), ("large", 0.9)]).0);
    let (is_asked, why) = cascade(&[("small", 0.4), ("large", 0.9)]);
    assert!(!is_asked);
    assert_eq!(
        why,
        json!([{"expert": "small", "limit": "predicted_success", "success": 0.4, "success_min": 0.5}])
    );
    assert!(!cascade(&[("large", 0.9)]).0, "nothing is known of it");
}

#[test]
fn clients_prefer_what_they_may() {
    let mapping = mapping(None);
    let economy = Prefer::Word(Preference::Economy);
    assert_eq!(mapping.prefer(None), Ok(Prefer::Word(Preference::Balanced)));
    assert_eq!(mapping.prefer(Some(Preference::Economy)), Ok(economy));
    let refused = mapping.prefer(Some(Preference::Quality)).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "`quality` is not among what this server lets clients prefer: balanced, economy"
    );
}

#[test]
fn mappings_that_say_the_same_have_the_same_id() {
    let id = |config: MappingConfig| Mapping::new(config, &experts(), None).id().clone();
    assert_eq!(id(config()), id(config()));
    let other = MappingConfig {
        usd_per_day_max: Some(1.0),
        ..config()
    };
    assert_ne!(id(config()), id(other));
}
