//! `POST /v1/feedback`: what a client thinks of an answer, attached to its outcome.

use std::path::Path;

use axum::{Extension, Json, extract::State};
use serde_json::{Value, json};
use tokio::fs;

use super::{ApiError, ApiState, auth::Caller, body::JsonBody};
use crate::{
    catalogue::Catalogue,
    chat::{InvalidRequest, fields},
    clock,
    composition::Target,
    ids::{CategoryId, OUT_OF_DOMAIN, is_category_name},
    outcome::Feedback,
};

/// Longest comment that is kept, in bytes.
const COMMENT_BYTES_MAX: usize = 4096;

/// Attaches feedback to an outcome.
pub(super) async fn give(
    State(state): State<ApiState>,
    Extension(caller): Extension<Caller>,
    body: JsonBody,
) -> Result<Json<Value>, ApiError> {
    let feedback = parse(&state, body.value).await?;
    // What is said is kept as a question is, and learnt from: whoever may ask so often may say so often.
    if let Some(quota) = state.app.quotas.of(caller.key_name.as_deref()) {
        quota.take_request()?;
    }
    let feedback = Feedback {
        key_name: caller.key_name,
        ..feedback
    };
    let id = feedback.outcome_id.clone();
    state.app.recorder.feedback(feedback).await?;
    Ok(Json(json!({"object": "feedback", "id": id})))
}

async fn parse(state: &ApiState, body: Value) -> Result<Feedback, InvalidRequest> {
    let body = fields::body(body)?;
    let feedback = Feedback {
        outcome_id: fields::required_string(&body, "id")?,
        score: fields::number(&body, "score", 0.0, 1.0)?,
        category: fields::string(&body, "category")?,
        expert: fields::string(&body, "expert")?,
        comment: fields::string(&body, "comment")?,
        given_at_ms: clock::now_ms(),
        key_name: None,
        judged_by: None,
    };
    check(state, &feedback).await?;
    Ok(feedback)
}

async fn check(state: &ApiState, feedback: &Feedback) -> Result<(), InvalidRequest> {
    let Feedback {
        score,
        category,
        expert,
        comment,
        ..
    } = feedback;
    if score.is_none() && category.is_none() && expert.is_none() && comment.is_none() {
        return Err(InvalidRequest::body(
            "give at least one of `score`, `category`, `expert` and `comment`",
        ));
    }
    let config = &state.app.config;
    if let Some(category) = category
        && !is_known(
            category,
            state.app.composition.router().categories(),
            &config.catalogue,
        )
        && !has_been_written(category, config.routes_folder.as_deref()).await
    {
        return Err(InvalidRequest::at(
            "category",
            format!("there is no category `{category}`"),
        ));
    }
    if let Some(expert) = expert
        && !matches!(
            state.app.composition.target(expert),
            Some(Target::Expert(_))
        )
    {
        return Err(InvalidRequest::at(
            "expert",
            format!("there is no expert `{expert}` that answers"),
        ));
    }
    if comment
        .as_ref()
        .is_some_and(|comment| comment.len() > COMMENT_BYTES_MAX)
    {
        return Err(InvalidRequest::at(
            "comment",
            format!("`comment` has more than {COMMENT_BYTES_MAX} bytes"),
        ));
    }
    Ok(())
}

/// Whether the router in force or a route has a category of that name: a route is there before a router has learnt it.
fn is_known(category: &str, learnt: &[CategoryId], catalogue: &Catalogue) -> bool {
    let routes = catalogue.routes.iter().map(|route| &route.category);
    let mut known = learnt.iter().chain(routes);
    category == OUT_OF_DOMAIN || known.any(|known| known.as_str() == category)
}

/// Whether there is a route of that name by now, which the next retraining learns: one that was accepted since the start.
async fn has_been_written(category: &str, routes_folder: Option<&Path>) -> bool {
    // Nothing but a name is ever looked for.
    let Some(folder) = routes_folder.filter(|_| is_category_name(category)) else {
        return false;
    };
    let file = folder.join(format!("{category}.yaml"));
    fs::try_exists(file).await.unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::Route;

    #[test]
    fn a_category_is_known_to_the_router_or_to_the_routes() {
        let route = Route {
            category: CategoryId::new("accepted_since"),
            description: String::new(),
            examples: Vec::new(),
            negatives: Vec::new(),
        };
        let catalogue = Catalogue {
            routes: vec![route],
            out_of_domain: Vec::new(),
            ..Catalogue::default()
        };
        let learnt = [CategoryId::new("law")];
        for known in ["law", "accepted_since", OUT_OF_DOMAIN] {
            assert!(is_known(known, &learnt, &catalogue), "{known}");
        }
        assert!(!is_known("poetry", &learnt, &catalogue));
    }

    #[tokio::test]
    async fn a_route_that_is_written_meanwhile_is_known_and_no_other_file() {
        let folder = tempfile::tempdir().unwrap();
        let routes = folder.path().join("routes");
        std::fs::create_dir(&routes).unwrap();
        for file in ["routes/accepted.yaml", "routes/_other.yaml", "outside.yaml"] {
            std::fs::write(folder.path().join(file), "").unwrap();
        }
        assert!(has_been_written("accepted", Some(&routes)).await);
        assert!(!has_been_written("accepted", None).await);
        for unknown in ["law", "_other", "../outside", ""] {
            assert!(!has_been_written(unknown, Some(&routes)).await, "{unknown}");
        }
    }
}
