//! What several themes of tests stand on: a provider that does as it is told, and a Coterie in front of it.

pub(crate) mod coterie;
pub(crate) mod upstream;
