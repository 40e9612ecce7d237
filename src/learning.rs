//! Learning from the traffic, offline: what was said of outcomes → a challenger → the gate → the registry. Nothing on the
//! request path reaches in here.
//!
//! [`label`]s and feedback are the evidence; how it becomes rows to train on is told in `docs/learning.md`.

pub mod agreement;
pub mod blending;
mod candidate;
pub mod challenger;
pub mod comparing;
mod conversation;
pub mod crossfit;
pub mod earlier;
mod evidence;
pub mod gate;
pub mod informative;
pub mod judge;
pub mod judging;
mod label;
pub mod learnt;
pub mod naming;
pub mod neighbours;
pub mod proposing;
pub mod remap;
pub mod report;
pub mod resolve;
pub mod retrain;
pub mod reward;
pub mod served;
pub mod shadow;
mod share;
pub mod split;
pub mod tallies;
pub mod teaching;
pub mod trust;
pub mod untried;
pub mod vectors;
pub mod watch;

pub use candidate::Candidate;
pub use evidence::{Evidence, Gathered, Statement};
pub use label::{Label, Origin};
