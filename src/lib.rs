//! Coterie: a composition of experts behind one OpenAI-compatible endpoint.

pub mod catalogue;
pub mod chat;
pub mod cli;
pub mod clock;
pub mod config;
pub mod decision;
pub mod expert;
pub mod ids;
pub mod models;
pub mod outcome;
pub mod query;
pub mod router;
pub mod store;
