//! The admin API's handlers. They hold no state: every answer comes from the agent's loop.

use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use runtime::admin::{error, json};
use runtime::api::{
    self, AuthzRequest, AuthzSetting, EnrolRequest, ExplainRequest, LoggerInfo, UnenrolRequest,
    Version, path,
};
use runtime::logging;
use serde::Deserialize;
use tokio::sync::{mpsc, oneshot};

use crate::agent::Request;
use crate::metrics;

type Agent = State<mpsc::Sender<Request>>;

/// All routes.
pub fn router(requests: mpsc::Sender<Request>) -> Router {
    Router::new()
        .route(path::VERSION, get(|| async { json(&Version::current()) }))
        .route(path::READY, get(ready))
        .route(path::LOGGERS, get(loggers).post(set_logger))
        .route(path::CONFIG_DUMP_DUAL_ENGINE, get(config_dump))
        .route(path::BPF_DUMP_DUAL_ENGINE, get(bpf_dump))
        .route(path::CONFIG_DUMP_KERNEL_NATIVE, get(wrong_mode))
        .route(path::BPF_DUMP_KERNEL_NATIVE, get(wrong_mode))
        .route(path::STATUS, get(status))
        .route(path::METRICS, get(metrics))
        .route(path::EXPLAIN, get(explain))
        .route(path::AUTHZ, get(authz).post(set_authz))
        .route(path::AUTHZ_EXPLAIN, get(explain_authz))
        .route(path::ENROLMENTS, get(enrolments).post(enrol).delete(unenrol))
        .fallback(|| async { error(StatusCode::NOT_FOUND, "there is no such path") })
        .method_not_allowed_fallback(|| async {
            error(StatusCode::METHOD_NOT_ALLOWED, "this path does not take that method")
        })
        .with_state(requests)
}

/// Asks the loop; it only fails to answer when the daemon is stopping.
async fn ask<T>(
    requests: &mpsc::Sender<Request>,
    request: impl FnOnce(oneshot::Sender<T>) -> Request,
) -> Result<T, Response> {
    let stopping = || error(StatusCode::SERVICE_UNAVAILABLE, "the daemon is stopping");
    let (to, answer) = oneshot::channel();
    requests.send(request(to)).await.map_err(|_| stopping())?;
    answer.await.map_err(|_| stopping())
}

async fn ready(State(agent): Agent) -> Response {
    match ask(&agent, Request::Ready).await {
        Ok(Ok(())) => "OK".into_response(),
        Ok(Err(why)) => (StatusCode::SERVICE_UNAVAILABLE, why).into_response(),
        Err(response) => response,
    }
}

async fn status(State(agent): Agent) -> Response {
    ask(&agent, Request::Status).await.map_or_else(|response| response, |value| json(&value))
}

async fn metrics(State(agent): Agent) -> Response {
    match ask(&agent, Request::Status).await {
        Ok(status) => match metrics::render(&status) {
            Ok(text) => ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
            Err(why) => error(StatusCode::INTERNAL_SERVER_ERROR, why.to_string()),
        },
        Err(response) => response,
    }
}

async fn config_dump(State(agent): Agent) -> Response {
    ask(&agent, Request::ConfigDump).await.map_or_else(|response| response, |value| json(&value))
}

async fn bpf_dump(State(agent): Agent) -> Response {
    ask(&agent, Request::BpfDump).await.map_or_else(|response| response, |value| json(&value))
}

async fn wrong_mode() -> Response {
    (StatusCode::BAD_REQUEST, api::WRONG_MODE).into_response()
}

async fn enrolments(State(agent): Agent) -> Response {
    ask(&agent, Request::Enrolments).await.map_or_else(|response| response, |value| json(&value))
}

/// A body of JSON, or the reason why it is none.
type Body<T> = Result<Json<T>, JsonRejection>;

async fn enrol(State(agent): Agent, body: Body<EnrolRequest>) -> Response {
    match body {
        Ok(Json(request)) => answered(ask(&agent, |to| Request::Enrol(request, to)).await),
        Err(why) => error(why.status(), why.body_text()),
    }
}

async fn unenrol(State(agent): Agent, body: Body<UnenrolRequest>) -> Response {
    match body {
        Ok(Json(request)) => answered(ask(&agent, |to| Request::Unenrol(request, to)).await),
        Err(why) => error(why.status(), why.body_text()),
    }
}

async fn explain(
    State(agent): Agent,
    query: Result<Query<ExplainRequest>, QueryRejection>,
) -> Response {
    match query {
        Ok(Query(request)) => answered(ask(&agent, |to| Request::Explain(request, to)).await),
        Err(why) => error(why.status(), why.body_text()),
    }
}

async fn authz(State(agent): Agent) -> Response {
    ask(&agent, Request::Authz).await.map_or_else(|response| response, |value| json(&value))
}

async fn set_authz(
    State(agent): Agent,
    query: Result<Query<AuthzSetting>, QueryRejection>,
) -> Response {
    match query {
        Ok(Query(setting)) => answered(ask(&agent, |to| Request::SetAuthz(setting, to)).await),
        Err(why) => error(why.status(), why.body_text()),
    }
}

async fn explain_authz(
    State(agent): Agent,
    query: Result<Query<AuthzRequest>, QueryRejection>,
) -> Response {
    match query {
        Ok(Query(request)) => answered(ask(&agent, |to| Request::ExplainAuthz(request, to)).await),
        Err(why) => error(why.status(), why.body_text()),
    }
}

fn answered<T: serde::Serialize>(result: Result<Result<T, String>, Response>) -> Response {
    match result {
        Ok(Ok(value)) => json(&value),
        Ok(Err(why)) => error(StatusCode::BAD_REQUEST, why),
        Err(response) => response,
    }
}

#[derive(Deserialize)]
struct LoggerQuery {
    name: Option<String>,
}

async fn loggers(Query(query): Query<LoggerQuery>) -> Response {
    let Some(name) = query.name else { return json(&logging::names()) };
    match logging::get(&name) {
        Ok(level) => json(&LoggerInfo { name, level: level.to_string() }),
        Err(why) => error(StatusCode::BAD_REQUEST, why.to_string()),
    }
}

async fn set_logger(body: Body<LoggerInfo>) -> Response {
    let request = match body {
        Ok(Json(request)) => request,
        Err(why) => return error(why.status(), why.body_text()),
    };
    match logging::set(&request.name, &request.level) {
        Ok(level) => logging::reply(&request.name, level).into_response(),
        Err(why) => error(StatusCode::BAD_REQUEST, why.to_string()),
    }
}
