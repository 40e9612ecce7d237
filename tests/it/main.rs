//! Integration tests: real sockets, real SQLite files, real small models.

mod architecture;
mod endings;
mod http;
mod process;
mod support;
