//! Labelled questions, dealt out.

use std::path::PathBuf;

use coterie::{
    ids::{CategoryId, OUT_OF_DOMAIN},
    train::labels::{self, Labelled},
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};

/// Examples that the routes have of each category.
pub(crate) const EXAMPLES: usize = 20;

/// Rows that nobody sees but who judges in the end.
pub(crate) const UNSEEN: usize = 1100;

/// Before every category's name, so that the router that is built in, which may know these very rows, is not built on.
const PREFIX: &str = "x_";

/// The rows, each in one part.
pub(crate) struct Dealt {
    pub(crate) examples: Vec<Labelled>,
    pub(crate) traffic: Vec<Labelled>,
    pub(crate) unseen: Vec<Labelled>,
}

impl Dealt {
    /// Deals by a seed.
    pub(crate) fn new(files: &[PathBuf], seed: u64) -> Self {
        let mut rows = labels::read(files).unwrap();
        for row in rows
            .iter_mut()
            .filter(|row| row.category.as_str() != OUT_OF_DOMAIN)
        {
            row.category = CategoryId::new(format!("{PREFIX}{}", row.category));
        }
        rows.shuffle(&mut StdRng::seed_from_u64(seed));
        let mut examples: Vec<Labelled> = Vec::new();
        let mut rest = Vec::new();
        for row in rows {
            let so_far = examples.iter().filter(|it| it.category == row.category);
            if row.category.as_str() != OUT_OF_DOMAIN && so_far.count() < EXAMPLES {
                examples.push(row);
            } else {
                rest.push(row);
            }
        }
        let traffic = rest.split_off(UNSEEN.min(rest.len() / 2));
        Self {
            examples,
            traffic,
            unseen: rest,
        }
    }

    /// Every category, `out_of_domain` last.
    pub(crate) fn classes(&self) -> Vec<CategoryId> {
        let mut classes: Vec<CategoryId> = self
            .examples
            .iter()
            .map(|row| row.category.clone())
            .collect();
        classes.sort();
        classes.dedup();
        classes.push(CategoryId::new(OUT_OF_DOMAIN));
        classes
    }
}

/// Another class than a row's.
pub(crate) fn wrong(classes: &[CategoryId], right: &CategoryId, random: &mut StdRng) -> CategoryId {
    loop {
        let class = &classes[random.random_range(0..classes.len())];
        if class != right {
            return class.clone();
        }
    }
}
