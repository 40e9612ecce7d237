//! Whom a mapping chooses for the rows at hand.

use super::{
    super::{
        Predicted, Quality, Question,
        fit::{
            outcomes::Outcomes,
            plan::{Frame, Judged},
            solve::used,
            tally::Sums,
            written::{SecondStage, Written},
        },
    },
    Rows, UnknownExpert,
};
use crate::{
    config::Prefer,
    ids::{CategoryId, ExpertId},
    query::Query,
};

/// Whom a mapping chooses, by the expert's place among those that rows have scores of.
pub(super) enum Choices {
    /// One for each category.
    ByCategory(Vec<usize>),
    /// One for each row.
    ByQuestion(Vec<usize>),
}

impl Choices {
    /// Looks up every category, or asks the quality model of every row as it is asked at run time.
    pub(super) fn of(
        mapping: &Written,
        quality: Option<&dyn Quality>,
        outcomes: &Outcomes,
    ) -> Result<Self, UnknownExpert> {
        let categories = outcomes.categories().iter();
        let of_category = categories.map(|category| seat(mapping, category, outcomes));
        let of_category: Vec<usize> = of_category.collect::<Result<_, _>>()?;
        let second_stage = quality.zip(mapping.second_stage.as_ref());
        let Some((quality, SecondStage { prefer, .. })) = second_stage else {
            return Ok(Self::ByCategory(of_category));
        };
        let of_row = |row: usize| {
            let predicted = predicted_best((quality, *prefer), row, outcomes);
            predicted.unwrap_or(of_category[outcomes.category(row)])
        };
        Ok(Self::ByQuestion((0..outcomes.rows()).map(of_row).collect()))
    }

    /// What they come to on rows that are drawn so often. `sums`: over the same rows.
    pub(super) fn judged<'f>(
        &self,
        (rows, draws): (&Rows<'_>, &[u8]),
        sums: &Sums,
        frame: &'f Frame,
    ) -> Judged<'f> {
        let mut judged = Judged::new(frame);
        match self {
            Self::ByCategory(expert_of) => judged.add(expert_of, sums),
            Self::ByQuestion(expert_of) => {
                for expert in self.experts() {
                    let pairs = draws.iter().zip(expert_of);
                    let its_own = pairs.map(|(draws, of)| if *of == expert { *draws } else { 0 });
                    let sums = rows.sums(&its_own.collect::<Vec<u8>>());
                    judged.add(&vec![expert; sums.rows.len()], &sums);
                }
            }
        }
        judged
    }

    /// Everyone who answers.
    pub(super) fn experts(&self) -> Vec<usize> {
        match self {
            Self::ByCategory(expert_of) | Self::ByQuestion(expert_of) => used(expert_of),
        }
    }
}

/// The expert of the best predicted value, of those that rows have scores of.
fn predicted_best(
    (quality, prefer): (&dyn Quality, Prefer),
    row: usize,
    outcomes: &Outcomes,
) -> Option<usize> {
    let mut predicted = predict((quality, prefer), row, outcomes);
    Predicted::rank(&mut predicted);
    let mut seats = predicted
        .iter()
        .map(|best| position(&best.expert, outcomes));
    seats.find_map(|seat| seat)
}

/// What is predicted for a row's question, as at run time.
pub(super) fn predict(
    (quality, prefer): (&dyn Quality, Prefer),
    row: usize,
    outcomes: &Outcomes,
) -> Vec<Predicted> {
    quality.predict(&Question {
        text: &Query::from_text(outcomes.prompt(row)).text,
        category: Some(&outcomes.categories()[outcomes.category(row)]),
        prefer,
    })
}

/// The expert that answers a category.
fn seat(
    mapping: &Written,
    category: &CategoryId,
    outcomes: &Outcomes,
) -> Result<usize, UnknownExpert> {
    let expert = mapping.expert(category);
    position(expert, outcomes).ok_or_else(|| UnknownExpert {
        expert: expert.clone(),
        category: category.clone(),
        known: outcomes.experts().iter().map(ToString::to_string).collect(),
    })
}

fn position(expert: &ExpertId, outcomes: &Outcomes) -> Option<usize> {
    outcomes.experts().iter().position(|known| known == expert)
}
