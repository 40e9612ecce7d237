//! Text → vector.
