//! What several themes of tests stand on.

pub(crate) mod upstream;
