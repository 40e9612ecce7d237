//! The integration tests: one binary, one file a theme. Real sockets, real SQLite files, real small models.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "clippy knows tests by their attribute, not the helpers that they share"
)]

mod architecture;
mod artefact;
mod budget;
mod caching;
mod cascade;
mod delivery;
mod dialects;
mod doubt;
mod embedding;
mod encoder;
mod endings;
mod evaluate;
mod exploring;
mod faults;
mod fitting;
mod guard;
mod hot_path;
mod http;
mod instruction;
mod labelling;
mod learning;
mod mapping;
mod models;
mod onnx;
mod process;
mod quota;
mod remote;
mod replicas;
mod router;
mod sessions;
mod store;
mod support;
mod tls;
mod training;
mod transfer;
mod trials;
mod tuning;
