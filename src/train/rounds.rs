//! The two rounds of fitting: what the first makes of the rows decides what the second learns.
//!
//! Rows whose label is probably wrong are left out of the second ([`doubt`](super::doubt)), and questions that nobody labelled are
//! learnt as of a category that is new where the first takes them for that ([`guess`](super::guess)).

use indicatif::ProgressBar;

use super::{
    dataset::{Dataset, Role},
    doubt::{Given, Judged},
    fit::{self, Material, OnTop, Trained},
    guess::guesses,
    router::TrainError,
};
use crate::{ids::CategoryId, progress, router::model};

/// What may be made of the rows.
pub(super) struct Rules {
    /// How rows of some origins came by their label, those of all others surely.
    pub(super) given: Vec<(String, Given)>,
    /// The categories that unlabelled rows may be of.
    pub(super) may_be: Vec<CategoryId>,
}

/// What was fitted.
pub(super) struct Fitted {
    pub(super) trained: Trained,
    /// How many rows were left out because their label is probably wrong.
    pub(super) doubted: usize,
    /// How many unlabelled rows were learnt from all the same.
    pub(super) guessed: usize,
}

/// Fits the labelled rows; once more where some of their labels look wrong, or where a class can be guessed for unlabelled ones.
pub(super) fn fitted(
    dataset: &Dataset,
    material: &Material,
    base: Option<OnTop<'_>>,
    rules: &Rules,
) -> Result<Fitted, TrainError> {
    let is_labelled = |row: &usize| dataset.roles[*row] != Role::Unlabelled;
    let labelled: Vec<usize> = (0..dataset.labels.len()).filter(is_labelled).collect();
    let trained = if labelled.len() == dataset.labels.len() {
        fitted_once(dataset, material, base)?
    } else {
        fitted_once(&dataset.of(&labelled), &material.of(&labelled), base)?
    };
    let given = Givens {
        dataset,
        of_origins: &rules.given,
    };
    let suspects = suspects(&given, &trained);
    let guesses = guessed(&trained, (&given, material), &rules.may_be);
    if suspects.is_empty() && guesses.is_empty() {
        return Ok(Fitted {
            trained,
            doubted: 0,
            guessed: 0,
        });
    }
    let believed = labelled
        .into_iter()
        .filter(|row| suspects.binary_search(row).is_err());
    let mut rows: Vec<usize> = believed
        .chain(guesses.iter().map(|(row, _)| *row))
        .collect();
    rows.sort_unstable();
    let second = dataset.clone().with_guesses(&guesses).of(&rows);
    Ok(Fitted {
        trained: fitted_once(&second, &material.of(&rows), base)?,
        doubted: suspects.len(),
        guessed: guesses.len(),
    })
}

/// How rows came by their labels.
struct Givens<'g> {
    dataset: &'g Dataset,
    /// Of some origins; those of all others surely.
    of_origins: &'g [(String, Given)],
}

impl Givens<'_> {
    fn of(&self, row: usize) -> Given {
        let origin = self.dataset.origins[row].as_deref();
        let found = origin.and_then(|origin| self.of_origins.iter().find(|(of, _)| of == origin));
        found.map_or(Given::Surely, |(_, given)| *given)
    }

    /// How many rows of each class got their label together.
    fn together(&self) -> Vec<usize> {
        let mut sizes = vec![0; self.dataset.categories.len()];
        for row in self.dataset.asked() {
            sizes[self.dataset.labels[row]] += usize::from(self.of(row) == Given::Together);
        }
        sizes
    }
}

/// The rows whose label is probably wrong; in order.
fn suspects(given: &Givens<'_>, trained: &Trained) -> Vec<usize> {
    let dataset = given.dataset;
    let asked = dataset.asked();
    let labels: Vec<usize> = asked.iter().map(|row| dataset.labels[*row]).collect();
    let judged = Judged {
        labels: &labels,
        probabilities: trained.probabilities.view(),
        outside: model::outside(&dataset.categories),
    };
    let suspects = judged.suspects(|row| given.of(asked[row]));
    suspects.into_iter().map(|row| asked[row]).collect()
}

/// The unlabelled rows that are guessed, with their classes.
fn guessed(
    trained: &Trained,
    (given, material): (&Givens<'_>, &Material),
    may_be: &[CategoryId],
) -> Vec<(usize, usize)> {
    let dataset = given.dataset;
    let unlabelled = dataset.of_role(Role::Unlabelled);
    let class_of = |of: &CategoryId| dataset.categories.iter().position(|it| it == of);
    let may_be: Vec<usize> = may_be.iter().filter_map(class_of).collect();
    if unlabelled.is_empty() || may_be.is_empty() {
        return Vec::new();
    }
    let (texts, read) = (dataset.of(&unlabelled), material.of(&unlabelled));
    let said = fit::said(&trained.model, &texts, &read);
    let guesses = guesses(said.view(), &may_be, &given.together());
    guesses
        .into_iter()
        .map(|(row, class)| (unlabelled[row], class))
        .collect()
}

fn fitted_once(
    dataset: &Dataset,
    material: &Material,
    base: Option<OnTop<'_>>,
) -> Result<Trained, TrainError> {
    let bar: ProgressBar = progress::bar(fit::steps(material), "fitting");
    let trained = fit::fit(dataset, material, base, &|| bar.inc(1));
    bar.finish_and_clear();
    trained.map_err(|source| TrainError::Fit {
        rows: dataset.texts.len() - dataset.of_role(Role::Excerpt).len(),
        categories: dataset.categories.len(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::labels::Labelled;

    /// Rows of two categories, told by whisks and sails alone; those that nobody labelled speak of them as well, and of much else.
    fn dataset() -> Dataset {
        let rows = (0..60).map(|at| {
            let (text, category) = match at % 2 {
                0 => (format!("what of a whisk, number {at}"), "cooking"),
                _ => (format!("what of a sail, number {at}"), "sailing"),
            };
            // Of sails nothing was accepted, and ten rows of whisks.
            let is_accepted = at % 6 == 0;
            Labelled {
                origin: is_accepted.then(|| "accepted".into()),
                ..Labelled::from_text(&text, CategoryId::new(category))
            }
        });
        let whisks = (0..12).map(|at| format!("what of a whisk in soup, number {at}"));
        let sails = (0..12).map(|at| format!("what of a sail in wind, number {at}"));
        Dataset::new(rows, 7).with_unlabelled(whisks.chain(sails), 7)
    }

    fn fitted_where(may_be: &str) -> Fitted {
        let material = Material {
            sparse: true,
            ..Material::default()
        };
        let rules = Rules {
            given: vec![("accepted".to_owned(), Given::Together)],
            may_be: vec![CategoryId::new(may_be)],
        };
        fitted(&dataset(), &material, None, &rules).unwrap()
    }

    /// The probability that soup is cooking.
    fn of_soup(fitted: &Fitted) -> f32 {
        let soup = Dataset::new([], 7).with_unlabelled(["soup".to_owned()], 7);
        fit::said(&fitted.trained.model, &soup, &Material::default())[[0, 0]]
    }

    #[test]
    fn what_nobody_labelled_is_learnt_as_of_what_it_may_be_and_measured_nowhere() {
        let with = fitted_where("cooking");
        assert_eq!(
            (with.guessed, with.doubted),
            (10, 0),
            "no more than accepted"
        );
        assert_eq!(with.trained.held_back.len(), 60);
        let without = fitted_where("a category that there is not");
        assert_eq!((without.guessed, without.doubted), (0, 0));
        assert_eq!(without.trained.held_back.len(), 60);
        let (with, without) = (of_soup(&with), of_soup(&without));
        assert!(with > 0.9 && with - without > 0.3, "{with} {without}");
    }
}
