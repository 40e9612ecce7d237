//! What a mapping, and a router, would have done with a question that was asked.

use std::{collections::HashSet, time::Duration};

use crate::{
    ids::{CategoryId, ExpertId, RouterId},
    learning::served::Served,
    mapping::{
        BYTES_PER_TOKEN, Chance, Choice, Demand, Mapping, Posteriors, Question, Resting, Today,
        Wanted,
    },
};

/// A mapping, and with it a router, that may never have served.
#[derive(Debug)]
pub struct Target<'a> {
    /// The mapping; what it would try out is left out.
    pub mapping: &'a Mapping,
    /// The router, if it is another than the one that decided.
    pub router: Option<RouterId>,
    /// What that router says of each outcome, in order: the category that it would act on, if one; none: the text was not
    /// kept. Nothing at all where the router is not asked about.
    pub categories: &'a [Option<Option<CategoryId>>],
    /// Everyone who may be asked.
    pub experts: &'a [ExpertId],
}

impl Target<'_> {
    /// What the question would have been taken to be about; none: that cannot be told.
    ///
    /// A router does not decide what a client named, nor where a session stays.
    pub(super) fn category(&self, served: &Served, at: usize) -> Option<Option<CategoryId>> {
        let is_the_routers = !matches!(served.reason.as_str(), "category_named" | "stayed");
        match self.router {
            Some(_) if is_the_routers => self.categories.get(at).cloned().flatten(),
            _ => Some(served.wanted()),
        }
    }

    /// Whether the mapping would have gone by a text that is not there to be read.
    pub(super) fn lacks_the_text(&self, served: &Served) -> bool {
        let has_text = served.question.as_ref().is_some_and(|it| !it.is_empty());
        self.mapping.has_quality_model() && !has_text
    }

    /// Who would have been asked; nobody, if the mapping's budget is too small.
    ///
    /// Of the request only its length is in the outcome. Who could not have been asked then is left alone, so that their
    /// place is taken by whoever comes next, as it would have been. Whoever the log has never heard of (`heard_of`) keeps the
    /// place: that they were not there says nothing of what they would have been worth.
    pub(super) fn choose(
        &self,
        served: &Served,
        category: Option<&CategoryId>,
        heard_of: &HashSet<&ExpertId>,
    ) -> Option<Choice> {
        let is_unable = |it: &ExpertId| heard_of.contains(it) && !served.could_choose(it);
        let question = served.question.as_deref().unwrap_or_default();
        let prompt_tokens = (question.len() / BYTES_PER_TOKEN) as u64;
        let demand = Demand {
            prompt_tokens: served.prompt_tokens.unwrap_or(prompt_tokens),
            ..Demand::plain()
        };
        let unable = self.experts.iter().filter(|it| is_unable(it));
        let resting: Vec<Resting> = unable
            .map(|expert| Resting {
                expert: expert.clone(),
                retry_in: Duration::ZERO,
            })
            .collect();
        let prefer = self.mapping.prefer(None).ok()?;
        let mut predicted = self.mapping.predict(&Question {
            text: question,
            category,
            prefer,
        });
        // Whoever could not be asked is no best of the predicted, behind which the others are not even looked at.
        predicted.retain(|predicted| !is_unable(&predicted.expert));
        let wanted = Wanted {
            category,
            predicted: &predicted,
            prefer,
            demand: &demand,
            today: Today::default(),
            resting: &resting,
            chance: Chance::None,
            posteriors: &Posteriors::default(),
        };
        self.mapping.choose(&wanted).ok()
    }
}
