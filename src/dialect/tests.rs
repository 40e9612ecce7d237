//! Every direction of every dialect, against files that show both sides, and properties that hold for any conversation.

mod golden;
mod refusals;
mod round_trips;
