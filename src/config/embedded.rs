//! The default configuration and its routes, for a binary that stands alone.

pub(super) const CONFIG: &str = include_str!("../../config/coterie.yaml");

pub(super) const CARDS: &str = include_str!("../../routes/_cards.yaml");

macro_rules! routes {
    ($($category:literal),+ $(,)?) => {
        /// Every route by its category.
        pub(super) const ROUTES: &[(&str, &str)] = &[
            $(($category, include_str!(concat!("../../routes/", $category, ".yaml")))),+
        ];
    };
}

routes!(
    "_other",
    "banking_support",
    "coding",
    "finance",
    "general_knowledge",
    "legal",
    "math",
    "medical",
    "multilingual",
    "reasoning",
    "science",
    "sql",
    "writing",
);
