//! Where a request is handled: on its connection's lane, or where it keeps nobody waiting.

use std::convert::Infallible;

use axum::{Router, body::Body};
use futures_util::{
    FutureExt, TryFutureExt,
    future::{BoxFuture, Either, MapErr},
};
use hyper::{
    Request, Response,
    body::{Body as _, Incoming},
    service::Service,
};
use hyper_util::service::{TowerToHyperService, TowerToHyperServiceFuture};
use tokio::{runtime::Handle, task::JoinError};
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use crate::heavy;

/// Short requests with long answers, which take long to read and to write.
const LONG_ANSWERS: [&str; 1] = ["/v1/embeddings"];

/// All endpoints.
#[derive(Clone)]
pub(super) struct Endpoints {
    router: TowerToHyperService<Router>,
    /// Has threads that take over from one that is kept.
    elsewhere: Handle,
    /// The requests that are handled there.
    apart: TaskTracker,
}

type Answering = TowerToHyperServiceFuture<Router, Request<Incoming>>;
type Answered = Result<Response<Body>, JoinError>;

impl Endpoints {
    /// The endpoints of `router`; what is heavy is handled on the caller's runtime.
    pub(super) fn new(router: Router) -> Self {
        Self {
            router: TowerToHyperService::new(router),
            elsewhere: Handle::current(),
            apart: TaskTracker::new(),
        }
    }

    /// Waits until nothing is handled elsewhere; more may come later.
    pub(super) async fn settled(&self) {
        self.apart.close();
        self.apart.wait().await;
        self.apart.reopen();
    }
}

impl Service<Request<Incoming>> for Endpoints {
    type Response = Response<Body>;
    type Error = JoinError;
    type Future =
        Either<MapErr<Answering, fn(Infallible) -> JoinError>, BoxFuture<'static, Answered>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let is_heavy = is_heavy(&request);
        let answering = self.router.call(request).map_err(never as fn(_) -> _);
        if !is_heavy {
            return Either::Left(answering);
        }
        let task = self.apart.spawn_on(answering, &self.elsewhere);
        // Whoever leaves takes the request along.
        let task = AbortOnDropHandle::new(task);
        Either::Right(
            task.map(|ended| ended.and_then(|answered| answered))
                .boxed(),
        )
    }
}

fn never(error: Infallible) -> JoinError {
    match error {}
}

/// Whether a request may keep a thread for long: a body whose length is not told may be of any.
fn is_heavy(request: &Request<Incoming>) -> bool {
    let bytes_max = request.body().size_hint().upper();
    bytes_max.is_none_or(heavy::is) || LONG_ANSWERS.contains(&request.uri().path())
}
