//! Answers in the form that the admin API promises.

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use serde::Serialize;
use serde_json::ser::{PrettyFormatter, Serializer};

use crate::api::ErrorBody;

/// 200 with this value as JSON, indented by four blanks as Kmesh does it.
pub fn json<T: Serialize>(value: &T) -> Response {
    match indented(value) {
        Ok(body) => with_json(StatusCode::OK, body),
        Err(failure) => error(StatusCode::INTERNAL_SERVER_ERROR, format!("no JSON: {failure}")),
    }
}

/// An error: what is wrong and what to do about it.
pub fn error(status: StatusCode, message: impl Into<String>) -> Response {
    // A struct of one string always serializes.
    let body = serde_json::to_vec(&ErrorBody { error: message.into() }).unwrap_or_default();
    with_json(status, body)
}

fn with_json(status: StatusCode, body: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn indented<T: Serialize>(value: &T) -> serde_json::Result<Vec<u8>> {
    let mut body = Vec::new();
    let mut writer = Serializer::with_formatter(&mut body, PrettyFormatter::with_indent(b"    "));
    value.serialize(&mut writer)?;
    body.push(b'\n');
    Ok(body)
}
