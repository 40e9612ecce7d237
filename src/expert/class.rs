//! What an error means for whoever asks: each is classed once, and its class decides what comes next.

use super::ExpertError;
use crate::config::PolicyRefusals;

/// What kind of trouble an error is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// The provider has no room for *us* now.
    RateLimited,
    /// It has no room for anyone, or our queue for it is full.
    Overloaded,
    /// It failed, and may not the next time.
    Transient,
    /// It said nothing for too long.
    TimedOut,
    /// The conversation is longer than what it reads.
    ContextTooLong,
    /// It will not answer such a question.
    PolicyRefused,
    /// The request is wrong, for whoever reads it.
    BadRequest,
    /// It does not know our key, our bill or the name we have for its model.
    Authentication,
    /// The answer broke off, or is none.
    BrokenStream,
    /// The answer is longer than what is held of one.
    AnswerTooLong,
    /// It does not do what is asked.
    Unable,
    /// It is left alone for a while.
    Resting,
    /// The question has no time left.
    OutOfTime,
    /// This server stops, or nobody waits for the answer any more.
    Stopping,
}

/// What to do after a failure, as long as nothing was delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Ask the same expert once more, after a wait; then the next.
    RetryHere,
    /// Ask the next expert.
    AnotherExpert,
    /// Ask the next expert that reads more.
    LongerContext,
    /// Tell the caller at once: every expert would say the same, or the reason is for the caller to know.
    TellCaller,
}

impl ErrorClass {
    /// What to do after a failure of this class.
    pub fn next(self, policy_refusals: PolicyRefusals) -> Next {
        match self {
            Self::RateLimited | Self::Overloaded | Self::Transient | Self::BrokenStream => {
                Next::RetryHere
            }
            // A second wait as long as the first is not what anybody hopes for.
            Self::TimedOut
            | Self::AnswerTooLong
            | Self::Authentication
            | Self::Unable
            | Self::Resting => Next::AnotherExpert,
            Self::ContextTooLong => Next::LongerContext,
            Self::PolicyRefused => match policy_refusals {
                PolicyRefusals::Tell => Next::TellCaller,
                PolicyRefusals::Reroute => Next::AnotherExpert,
            },
            Self::BadRequest | Self::OutOfTime | Self::Stopping => Next::TellCaller,
        }
    }

    /// Whether it speaks against the endpoint, rather than against the question or for nothing.
    pub fn blames_the_endpoint(self) -> bool {
        match self {
            Self::RateLimited
            | Self::Overloaded
            | Self::Transient
            | Self::TimedOut
            | Self::Authentication
            | Self::BrokenStream => true,
            Self::ContextTooLong
            | Self::AnswerTooLong
            | Self::PolicyRefused
            | Self::BadRequest
            | Self::Unable
            | Self::Resting
            | Self::OutOfTime
            | Self::Stopping => false,
        }
    }
}

impl ExpertError {
    /// What kind of trouble it is.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Busy { .. } | Self::CircuitOpen { .. } => ErrorClass::Resting,
            Self::Overloaded { .. } => ErrorClass::Overloaded,
            Self::Unreachable { .. } | Self::Failed { .. } => ErrorClass::Transient,
            Self::TimedOut { .. } => ErrorClass::TimedOut,
            Self::OutOfTime { .. } => ErrorClass::OutOfTime,
            Self::Refused { why, .. } => why.class(),
            Self::RateLimited { .. } => ErrorClass::RateLimited,
            Self::Broken { .. } | Self::Diverged => ErrorClass::BrokenStream,
            Self::TooLong { .. } => ErrorClass::AnswerTooLong,
            Self::ContextTooLong { .. } => ErrorClass::ContextTooLong,
            Self::Unsupported { .. } | Self::Model { .. } => ErrorClass::Unable,
            Self::ShuttingDown | Self::Outrun => ErrorClass::Stopping,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_by_policy_is_rerouted_only_where_the_route_says_so() {
        let next = |refusals| ErrorClass::PolicyRefused.next(refusals);
        assert_eq!(next(PolicyRefusals::Tell), Next::TellCaller);
        assert_eq!(next(PolicyRefusals::Reroute), Next::AnotherExpert);
        assert_eq!(
            ErrorClass::BadRequest.next(PolicyRefusals::Reroute),
            Next::TellCaller
        );
    }
}
