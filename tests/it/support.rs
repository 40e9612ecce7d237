//! What several themes of tests stand on: a provider that does as it is told, a Coterie in front of it,
//! encoders and routers.

pub(crate) mod coterie;
pub(crate) mod encoder;
pub(crate) mod router;
pub(crate) mod upstream;
