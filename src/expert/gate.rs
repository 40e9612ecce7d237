//! What stands before every expert: a bounded queue, a limit of concurrent answers, and its clocks.

/// An expert behind its limits.
pub struct Gate;
