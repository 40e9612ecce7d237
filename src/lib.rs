//! Coterie: a composition of experts behind one OpenAI-compatible endpoint.
//!
//! The path of one question: [`api`] or [`cli`] → [`query`] → [`composition`] ([`router`], [`mapping`]) →
//! [`outcome`]'s ticket → [`expert`] → back to the client, while the ticket sends the outcome to [`store`].

pub mod api;
pub mod app;
mod bom;
pub mod cache;
pub mod catalogue;
pub mod causes;
pub mod chat;
pub mod cli;
pub mod clock;
pub mod composition;
pub mod config;
pub mod decision;
pub mod dialect;
pub mod drift;
pub mod evaluate;
pub mod expert;
pub mod fault;
mod files;
pub mod heavy;
pub mod ids;
pub mod instruction;
pub mod learning;
pub mod mapping;
mod marks;
pub mod models;
pub mod off_policy;
pub mod onnx;
pub mod outcome;
pub mod plot;
pub mod progress;
pub mod query;
pub mod quota;
pub mod registry;
pub mod risk;
pub mod router;
pub mod sequential;
pub mod serve;
pub mod session;
mod simd;
pub mod store;
pub mod telemetry;
pub mod train;
pub mod transfer;
pub mod trial;
