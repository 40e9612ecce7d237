//! Learning from labelled questions, offline: nothing on the request path reaches in here.

pub mod cache;
pub mod dataset;
pub mod distill;
pub mod doubt;
pub mod fit;
pub mod in_force;
pub mod labels;
pub mod reading;
pub mod router;
pub mod shipped;
pub mod tune;
pub mod tuned;

mod base;
mod excerpts;
mod guess;
mod rounds;
mod seed;
mod stem;
mod transformer;

pub use base::BaseError;
