//! Names that are passed around by value: cheap to clone, never mixed up with one another.

use std::{borrow::Borrow, fmt, sync::Arc};

use serde::{Deserialize, Serialize};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Wraps a name; what is allowed as a name was decided where it was read.
            pub fn new(name: impl Into<Arc<str>>) -> Self {
                Self(name.into())
            }

            /// The name itself.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

id! {
    /// A category: the stem of its route's file, such as `coding`.
    CategoryId
}
id! {
    /// An expert: its key under `experts` in the configuration.
    ExpertId
}
id! {
    /// A mapping: a digest of everything that it says.
    MappingId
}
id! {
    /// A fitted router: a digest of everything that it was fitted from.
    RouterId
}

/// The reserved category of questions that no category covers.
pub const OUT_OF_DOMAIN: &str = "out_of_domain";

/// Whether an expert may be called so.
pub fn is_expert_name(name: &str) -> bool {
    let is_allowed = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '.' | '_' | '-');
    !name.is_empty() && name.chars().all(is_allowed)
}

/// Whether a category may be called so: the names that begin with `_` are those of files that are no routes.
pub fn is_category_name(name: &str) -> bool {
    let is_allowed = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '_');
    !name.is_empty() && !name.starts_with('_') && name.chars().all(is_allowed)
}
