//! The model store: files outside the clone, each known by its SHA-256.
