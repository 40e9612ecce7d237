//! Why a retraining decided nothing.

use std::{io, path::PathBuf};

use super::ROWS_MIN;
use crate::{
    ids::RouterId,
    learning::{challenger::ChallengerError, crossfit::CrossfitError, learnt::LEARNT_FILE},
    plot::PlotError,
    registry::OpenError,
    router::RouterError,
    store::{PromotionError, StoreError},
};

/// Why nothing was decided.
#[derive(Debug, thiserror::Error)]
pub enum RetrainError {
    /// There is too little to learn from.
    #[error(
        "there are {rows} labelled questions to train on{}, and {ROWS_MIN} are needed; send feedback with a `category` (POST /v1/feedback), or label questions with `coterie label`",
        match left_out { 0 => String::new(), left_out => format!(" besides {left_out} statements that --without leaves out") }
    )]
    TooFewRows {
        /// Rows to train on.
        rows: usize,
        /// Statements of origins that were left out.
        left_out: usize,
    },
    /// A promotion would change nothing.
    #[error(
        "`router.artefact` names the router to use, so that no promotion would have an effect; take it out of the configuration, or use --dry-run"
    )]
    Pinned,
    /// The router in force cannot be opened.
    #[error(transparent)]
    Champion(#[from] OpenError),
    /// No challenger can be trained.
    #[error(transparent)]
    Challenger(#[from] ChallengerError),
    /// Rows cannot be judged.
    #[error(transparent)]
    Crossfit(#[from] CrossfitError),
    /// A router failed on a row.
    #[error(transparent)]
    Router(#[from] RouterError),
    /// What the router in force learnt from cannot be told.
    #[error(
        "what router {router} learnt from cannot be read from its folder {}; put another router in force, or remove {LEARNT_FILE} there: it is then judged on questions that it knows, and is harder to beat",
        folder.display()
    )]
    Learnt {
        /// The router in force.
        router: RouterId,
        /// Where its artefact lies.
        folder: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The store cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It passed, and was not put in force.
    #[error(transparent)]
    Promotion(#[from] PromotionError),
    /// The report cannot be written.
    #[error("{} cannot be written", path.display())]
    Report {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The picture cannot be drawn.
    #[error(transparent)]
    Picture(#[from] PlotError),
    /// The report cannot be written as JSON.
    #[error("the judgement cannot be written as JSON")]
    Json(#[from] serde_json::Error),
}
