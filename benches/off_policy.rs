//! How often the intervals of off-policy estimates hold the truth, on logs that are made of what real experts scored.
//!
//! ```text
//! cargo bench --bench off_policy -- --outcomes F.jsonl [--outcomes G.jsonl …]
//! ```
//! Of every question of such a file it is known what each expert would have scored, so that it is known as well what a mapping
//! is worth that never served. A hundred times, another mapping serves questions that are drawn from the file and tries others
//! out as the product does; what is then estimated of the mapping that did not serve has to hold what it is worth at least 90
//! times, by the estimate that the product goes by.

#![expect(clippy::print_stdout, reason = "a bench reports on standard output")]

use std::{error::Error, path::PathBuf, time::Duration};

use coterie::{
    config::{
        Assignment, BreakerConfig, Capability, ExpertConfig, ExpertKind, MappingConfig, Prefer,
        Preference, Prefill, Retries, Timeouts,
    },
    ids::{CategoryId, ExpertId},
    learning::{
        resolve::CLIENT_SHARE_MAX,
        reward::Implicit,
        served::{Said, Served, Try, Voice},
        tallies,
        untried::{self, Target},
    },
    mapping::{
        Chance, Demand, Explore, Mapping, Posteriors, Today, Wanted,
        explore::Policy,
        fit::outcomes::{self, Options, Outcomes},
    },
    off_policy::{Estimate, Report},
};
use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};

const LOGS: u32 = 100;

/// How many of the intervals have to hold the truth.
const HELD_MIN: usize = 90;

/// One in so many categories has another expert in the mapping that is asked about.
const CHANGED_ONE_IN: usize = 3;

/// How much is served, and how much of it is tried out by which policy.
const SETTINGS: [(usize, f64, Policy); 4] = [
    (3_000, 0.2, Policy::Uniform),
    (10_000, 0.05, Policy::Uniform),
    (10_000, 0.02, Policy::Uniform),
    (3_000, 0.2, Policy::Thompson),
];

type Done<T> = Result<T, Box<dyn Error>>;

fn main() -> Done<()> {
    let files = files();
    if files.is_empty() {
        println!("nothing to estimate: give --outcomes F.jsonl");
        return Ok(());
    }
    println!(
        "| outcomes | experts | questions | tried out | held by: doubly robust | self-normalised | inverse propensity | width | \
         can tell |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    );
    let mut least = usize::MAX;
    for file in files {
        let name = file.file_stem().unwrap_or_default().display().to_string();
        let house = House::read(file)?;
        for (rows, share, policy) in SETTINGS {
            let explore = Explore::new(share, policy).ok_or("no share")?;
            let held = house.held(rows, explore)?;
            println!(
                "| {name} | {} | {rows} | {:.0} %, {policy:?} | {} | {} | {} | {:.3} | {} |",
                house.experts.len(),
                100.0 * share,
                held.doubly_robust,
                held.self_normalised,
                held.inverse_propensity,
                held.width / f64::from(LOGS),
                held.telling
            );
            least = least.min(held.best);
        }
    }
    assert!(
        least >= HELD_MIN,
        "{least} of {LOGS} intervals hold the truth"
    );
    Ok(())
}

fn files() -> Vec<PathBuf> {
    let mut arguments = std::env::args().skip(1);
    let mut files = Vec::new();
    while let Some(argument) = arguments.next() {
        // What else is there, cargo adds.
        if argument == "--outcomes" {
            files.extend(arguments.next().map(PathBuf::from));
        }
    }
    files
}

/// Of a hundred logs, how many intervals hold the truth.
#[derive(Default)]
struct Held {
    best: usize,
    doubly_robust: usize,
    self_normalised: usize,
    inverse_propensity: usize,
    /// Of the doubly robust intervals together.
    width: f64,
    telling: usize,
}

impl Held {
    fn add(&mut self, report: &Report, truth: f64) {
        let holds = |estimate: Option<Estimate>| {
            usize::from(estimate.is_some_and(|it| it.low <= truth && truth <= it.high))
        };
        self.best += holds(report.best());
        self.doubly_robust += holds(report.doubly_robust);
        self.self_normalised += holds(report.self_normalised);
        self.inverse_propensity += holds(report.inverse_propensity);
        self.width += report.doubly_robust.map_or(1.0, |it| it.high - it.low);
        self.telling += usize::from(report.can_tell());
    }
}

/// Experts whose scores on every question are known.
struct House {
    outcomes: Outcomes,
    /// Their places in the outcomes, and their names.
    places: Vec<usize>,
    experts: Vec<ExpertId>,
    /// What each is worth in each category, experts within categories.
    means: Vec<Vec<f64>>,
    /// Questions of each category.
    sizes: Vec<usize>,
}

impl House {
    fn read(file: PathBuf) -> Done<Self> {
        let options = Options {
            by: Some("category".into()),
            ..Options::default()
        };
        let outcomes = outcomes::read(&[file], &options)?;
        let rows = outcomes.rows();
        let is_whole = |expert: &usize| outcomes.scores(*expert).count() == rows;
        let places: Vec<usize> = (0..outcomes.experts().len()).filter(is_whole).collect();
        let categories = outcomes.categories().len();
        let mut sizes = vec![0; categories];
        let mut means = vec![vec![0.0; places.len()]; categories];
        for row in 0..rows {
            let category = outcomes.category(row);
            sizes[category] += 1;
            for (mean, place) in means[category].iter_mut().zip(&places) {
                *mean += outcomes.score(row, *place).unwrap_or_default();
            }
        }
        for (means, size) in means.iter_mut().zip(&sizes) {
            means.iter_mut().for_each(|mean| *mean /= *size as f64);
        }
        let experts = places.iter().map(|at| outcomes.experts()[*at].clone());
        Ok(Self {
            experts: experts.collect(),
            outcomes,
            places,
            means,
            sizes,
        })
    }

    fn held(&self, rows: usize, explore: Explore) -> Done<Held> {
        let mut held = Held::default();
        for seed in 0..u64::from(LOGS) {
            let mut random = SmallRng::seed_from_u64(seed);
            let serving = self.serving(&mut random);
            let asked_about = self.changed(&serving, &mut random);
            let logging = self.mapping(&serving, Some(explore));
            let posteriors = match explore.policy() {
                Policy::Uniform => Posteriors::default(),
                Policy::Thompson => self.known(&serving, rows, explore, &mut random)?,
            };
            let served = self.serve(&logging, &posteriors, rows, &mut random)?;
            let mapping = self.mapping(&asked_about, None);
            let target = Target {
                mapping: &mapping,
                router: None,
                categories: &[],
                experts: &self.experts,
            };
            let found = untried::hindsight(&served, &target, Implicit::LeftOut);
            held.add(&found.target, self.worth(&asked_about));
        }
        Ok(held)
    }

    /// Who answers each category: of two the better one.
    fn serving(&self, random: &mut SmallRng) -> Vec<usize> {
        let categories = 0..self.sizes.len();
        categories.map(|at| self.better(at, random)).collect()
    }

    fn better(&self, category: usize, random: &mut SmallRng) -> usize {
        let [one, other] = [(); 2].map(|()| random.random_range(0..self.experts.len()));
        let means = &self.means[category];
        if means[one] >= means[other] {
            one
        } else {
            other
        }
    }

    /// The same with others in some categories.
    fn changed(&self, serving: &[usize], random: &mut SmallRng) -> Vec<usize> {
        let mut changed = serving.to_vec();
        let first = random.random_range(0..serving.len().min(CHANGED_ONE_IN));
        for category in (first..serving.len()).step_by(CHANGED_ONE_IN) {
            while changed[category] == serving[category] {
                changed[category] = self.better(category, random);
            }
        }
        changed
    }

    /// What a mapping is worth on the questions of the file.
    fn worth(&self, answering: &[usize]) -> f64 {
        let categories = self.sizes.iter().zip(&self.means).zip(answering);
        let sum: f64 = categories
            .map(|((size, means), expert)| *size as f64 * means[*expert])
            .sum();
        sum / self.outcomes.rows() as f64
    }

    fn mapping(&self, answering: &[usize], explore: Option<Explore>) -> Mapping {
        let categories = self.outcomes.categories().iter().zip(answering);
        let config = MappingConfig {
            default: self.experts[0].clone(),
            default_fallbacks: Vec::new(),
            categories: categories
                .map(|(category, expert)| (category.clone(), self.assignment(*expert)))
                .collect(),
            usd_per_question_max: None,
            usd_per_day_max: None,
            prefer: Prefer::Word(Preference::Balanced),
            prefer_allowed: Vec::new(),
            quality: None,
            cascades: Vec::new(),
            explore,
        };
        let experts: Vec<ExpertConfig> = self.experts.iter().map(expert_config).collect();
        Mapping::new(config, &experts, None)
    }

    fn assignment(&self, expert: usize) -> Assignment {
        Assignment {
            expert: self.experts[expert].clone(),
            fallbacks: Vec::new(),
        }
    }

    /// What an earlier log says of everybody.
    fn known(
        &self,
        serving: &[usize],
        rows: usize,
        explore: Explore,
        random: &mut SmallRng,
    ) -> Done<Posteriors> {
        let evenly = Explore::new(explore.share(), Policy::Uniform);
        let mapping = self.mapping(serving, evenly);
        let served = self.serve(&mapping, &Posteriors::default(), rows, random)?;
        let tallies = tallies::tallies(&served, Implicit::LeftOut, CLIENT_SHARE_MAX);
        Ok(Posteriors::of(&tallies))
    }

    /// Questions of the file, any of which may come again, as the log has them.
    fn serve(
        &self,
        mapping: &Mapping,
        posteriors: &Posteriors,
        rows: usize,
        random: &mut SmallRng,
    ) -> Done<Vec<Served>> {
        let demand = Demand::plain();
        let serve = |at: usize| {
            let row = random.random_range(0..self.outcomes.rows());
            let category = &self.outcomes.categories()[self.outcomes.category(row)];
            let choice = mapping.choose(&Wanted {
                category: Some(category),
                predicted: &[],
                prefer: mapping.prefer(None)?,
                demand: &demand,
                today: Today::default(),
                resting: &[],
                chance: Chance::Drawn(random.random()),
                posteriors,
            })?;
            let expert = self.experts.iter().position(|it| *it == choice.expert);
            let expert = self.places[expert.ok_or("an expert of another house")?];
            let said = Said {
                by: Voice::default(),
                score: self.outcomes.score(row, expert),
                expert: None,
            };
            Ok(Served {
                fallbacks: choice.fallbacks,
                propensity: Some(choice.propensity),
                explored: choice.grounds.explored,
                others: choice.grounds.others,
                said: vec![said],
                ..answered(at, category, choice.expert)
            })
        };
        (0..rows).map(serve).collect()
    }
}

/// A question that an expert answered.
fn answered(at: usize, category: &CategoryId, expert: ExpertId) -> Served {
    let second = Duration::from_secs(1);
    Served {
        outcome_id: at.to_string(),
        asked_at_ms: at as i64,
        total: second,
        client: None,
        conversation: None,
        question: None,
        category: Some(category.clone()),
        reason: "routed".into(),
        fallbacks: Vec::new(),
        propensity: None,
        explored: false,
        others: Vec::new(),
        passed_over: Vec::new(),
        has_cascade: false,
        tries: vec![Try {
            expert: expert.clone(),
            role: "answer".into(),
            error: None,
            rejected_as: None,
        }],
        answered_by: Some(expert.clone()),
        expert,
        first_token: Some(second),
        ending: "completed".into(),
        prompt_tokens: Some(10),
        said: Vec::new(),
        asked_again: false,
    }
}

fn expert_config(id: &ExpertId) -> ExpertConfig {
    let second = Duration::from_secs(1);
    ExpertConfig {
        id: id.clone(),
        kind: ExpertKind::Local {
            model_file: "model.gguf".into(),
        },
        params_b: None,
        usd_in: None,
        usd_out: None,
        context_tokens: None,
        capabilities: vec![Capability::Chat],
        concurrent_max: None,
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
