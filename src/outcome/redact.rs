//! Masks what must not be kept.
