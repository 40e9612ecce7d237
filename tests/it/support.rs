//! What the tests share: a provider that does as it is told, and a Coterie in front of it.

pub mod coterie;
pub mod upstream;
