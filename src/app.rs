//! The composition root: opens every part in order, and closes them in the reverse.

mod answer;
mod caching;
mod cancelled;
mod cascade;
mod drift;
mod mapping;
mod retry;
mod rewards;
mod router;
mod shadow;
mod spending;
mod trials;

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use tokio::{sync::Notify, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use answer::{Asked, Refusal, Reply};
use shadow::Shadow;

use crate::{
    cache::Cache,
    clock,
    composition::Composition,
    config::{Config, ExpertConfig},
    expert::{Experts, OpenError},
    ids::ExpertId,
    instruction::{blend::BlendError, tier::Tier},
    outcome::{Prices, Recorder, RecorderOptions, Retention, Spending},
    quota::Quotas,
    registry::{self, OpenedBy},
    session::Sessions,
    store::{Store, StoreError},
};

/// How long the writer may take to store what was recorded, once nothing new can come.
const RECORDER_CLOSE_MAX: Duration = Duration::from_secs(10);

/// How long tasks in the background may take to notice that the app closes.
const TASKS_CLOSE_MAX: Duration = Duration::from_secs(5);

/// A composition that is ready to answer.
pub struct App {
    /// What was configured.
    pub config: Arc<Config>,
    /// Router and mapping.
    pub composition: Composition,
    /// What sessions were last routed to.
    pub sessions: Sessions,
    /// Who answers.
    pub experts: Arc<Experts>,
    /// The way of outcomes to the store.
    pub recorder: Recorder,
    /// Answers that are kept; none where none shall be.
    pub cache: Option<Cache>,
    /// What has been spent today.
    pub spending: Arc<Spending>,
    /// What clients may use.
    pub quotas: Quotas,
    /// Cancelled when answers under way must end now.
    pub cancel: CancellationToken,
    store: Store,
    /// By what the router came in force that was opened at start.
    opened_by: OpenedBy,
    /// Somebody wants the mapping's file looked at now.
    mapping_look: Notify,
    /// Somebody wants the registry looked at now.
    registry_look: Notify,
    /// Somebody wants the trials looked at now.
    trials_look: Notify,
    /// Somebody wants a canary judged now.
    canary_look: Notify,
    /// Somebody wants the store read for rewards now.
    rewards_look: Notify,
    /// The way of questions to a router in shadow; none where there is none.
    shadow: ArcSwapOption<Shadow>,
    tasks: TaskTracker,
}

/// Why the app cannot start.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The router cannot be opened.
    #[error(transparent)]
    Router(#[from] registry::OpenError),
    /// An expert cannot be opened.
    #[error(transparent)]
    Expert(#[from] OpenError),
    /// What was learnt of the instruction tier cannot be used.
    #[error(transparent)]
    Instruction(#[from] BlendError),
    /// A thread that loads models died.
    #[error("loading stopped: {0}")]
    Loading(#[from] tokio::task::JoinError),
}

impl App {
    /// Opens store, router and experts.
    ///
    /// # Errors
    /// The first part that cannot be opened, with its path.
    pub async fn open(config: Config) -> Result<Arc<Self>, AppError> {
        let config = Arc::new(config);
        let loading = tokio::task::spawn_blocking({
            let config = Arc::clone(&config);
            move || Experts::open(&config.experts, &config.delivery)
        });
        let store = Store::open(&config.store.path).await?;
        let sessions = Sessions::new(store.session_tag_key().await?);
        let (router, opened_by) = registry::open_promoted(&config, &store).await?;
        let experts = loading.await??;
        let now_ms = clock::now_ms();
        let midnight_ms = Spending::midnight_ms(now_ms);
        let spent_usd = store.spent_usd_since(midnight_ms).await?;
        let mut instruction = Tier::configured(&config, &experts, &router)?;
        if let Some(tier) = instruction.take_if(|tier| tier.has_a_budget()) {
            let usd = store.spent_on_instructions_usd_since(midnight_ms).await?;
            instruction = Some(tier.having_spent(usd));
        }
        let composition = Composition::new(&config, router).with_instruction(instruction);
        mapping::warn_of(&config.mapping);

        let quotas = Quotas::new(&config.server, &spent_usd, now_ms, Instant::now);
        let spending = Spending::new(now_ms, spent_usd.values().sum());
        let cache = config.cache.map(Cache::new);
        let cancel = CancellationToken::new();
        let tasks = TaskTracker::new();
        let options = RecorderOptions {
            content: config.store.content,
            retention: Retention {
                keep: config.store.keep,
                keep_labelled: config.store.keep_labelled,
            },
            flush_interval: config.store.flush_interval,
            prices: prices(&config.experts),
            shutdown: cancel.clone(),
        };
        let (recorder, writer) = Recorder::start(store.clone(), options);
        tasks.spawn(writer.run());
        Ok(Arc::new(Self {
            config,
            composition,
            sessions,
            experts,
            recorder,
            cache,
            spending: Arc::new(spending),
            quotas,
            store,
            opened_by,
            mapping_look: Notify::new(),
            registry_look: Notify::new(),
            trials_look: Notify::new(),
            canary_look: Notify::new(),
            shadow: ArcSwapOption::empty(),
            rewards_look: Notify::new(),
            cancel,
            tasks,
        }))
    }

    /// Runs a task that `close` waits for; it must end when `cancel` is cancelled.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }

    /// Has the expert of the instruction tier read its cards, so that no question waits for that.
    pub async fn warm_up(self: Arc<Self>) {
        if let Some(tier) = self.composition.instruction() {
            let router = self.composition.router();
            let warm_up = tier.warm_up(&router);
            self.cancel.run_until_cancelled(warm_up).await;
        }
    }

    /// Ends answers under way, writes what was recorded, and closes the parts in order.
    pub async fn close(self: Arc<Self>) {
        self.cancel.cancel();
        if let Err(unrecorded) = self.recorder.close(RECORDER_CLOSE_MAX).await {
            tracing::error!("{unrecorded}");
        }
        self.tasks.close();
        if timeout(TASKS_CLOSE_MAX, self.tasks.wait()).await.is_err() {
            tracing::error!("background tasks did not end within {TASKS_CLOSE_MAX:?}");
        }
        match Arc::into_inner(self) {
            Some(app) => app.experts.shutdown().await,
            None => tracing::warn!("the app is still in use; its experts end with it"),
        }
    }
}

/// What each expert's tokens cost, where that is known.
fn prices(experts: &[ExpertConfig]) -> HashMap<ExpertId, Prices> {
    let priced = |expert: &ExpertConfig| Some((expert.id.clone(), Prices::of(expert)?));
    experts.iter().filter_map(priced).collect()
}
