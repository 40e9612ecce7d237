//! Learning from labelled questions, offline: nothing on the request path reaches in here.

pub mod distill;
pub mod labels;
pub mod tune;

mod base;
mod files;
mod seed;
mod transformer;

pub use base::BaseError;
