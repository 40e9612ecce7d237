//! A fitted router on disk.
