//! What is answered when a question has no answer: JSON with a message.

use super::places::UnknownPlace;
use axum::Json;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use campaign::store::StoreError;
use serde_json::json;

/// Why there is no answer.
pub struct Problem {
    status: StatusCode,
    message: String,
}

impl Problem {
    /// Answers with a status and why.
    pub fn new(status: StatusCode, message: impl ToString) -> Self {
        Self {
            status,
            message: message.to_string(),
        }
    }

    /// What was asked for is not there.
    pub fn unknown(message: impl ToString) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    /// What was asked for makes no sense.
    pub fn input(message: impl ToString) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, message)
    }

    /// The machine is at fault.
    pub fn machine(message: impl ToString) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        (self.status, Json(json!({ "error": self.message }))).into_response()
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Missing { .. } => Self::unknown(error),
            error => Self::machine(error),
        }
    }
}

impl From<UnknownPlace> for Problem {
    fn from(error: UnknownPlace) -> Self {
        Self::unknown(error)
    }
}

/// Answers questions that nobody has.
pub async fn nothing() -> Problem {
    Problem::unknown("there is nothing at this address")
}

/// The longest refusal that is passed on, in bytes.
const LONGEST: usize = 16 * 1024;

/// Says in JSON what was refused before an answer was sought: a method, or a body that is no JSON.
pub(super) async fn in_json(response: Response) -> Response {
    let status = response.status();
    let kind = response.headers().get(CONTENT_TYPE);
    let is_json = kind.is_some_and(|kind| kind == "application/json");
    if is_json || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let body = axum::body::to_bytes(response.into_body(), LONGEST).await;
    let body = body.unwrap_or_default();
    let said = String::from_utf8_lossy(&body);
    let message = match said.trim() {
        "" => status.canonical_reason().unwrap_or("refused"),
        said => said,
    };
    Problem::new(status, message).into_response()
}
