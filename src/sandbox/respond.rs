//! Answers in the shapes that Amazon's services give them.
//!
//! Sources: FACTS sections 3, 4 and 8 of the project's notes on SP-API: LWA's `error`, SP-API's `errors`, S3's XML.

use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, PRAGMA};
use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::body::{self, Body};

pub(super) type Answer = Response<Body>;

pub(super) const DENIED: &str = "Access to requested resource is denied.";

const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");

/// A refusal in SP-API's shape.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    pub(super) message: String,
    pub(super) details: String,
}

impl Refusal {
    /// 403 `Unauthorized` with SP-API's standing message.
    pub(super) fn denied(details: &str) -> Self {
        Self {
            status: StatusCode::FORBIDDEN,
            code: "Unauthorized",
            message: DENIED.to_owned(),
            details: details.to_owned(),
        }
    }

    /// 400 `InvalidInput`.
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            code: "InvalidInput",
            message: message.into(),
            details: String::new(),
        }
    }

    /// 429 as SP-API says it.
    pub(super) fn quota() -> Self {
        Self {
            status: StatusCode::TOO_MANY_REQUESTS,
            code: "QuotaExceeded",
            message: "You exceeded your quota for the requested resource.".to_owned(),
            details: String::new(),
        }
    }

    /// What SP-API would say with this status.
    pub(super) fn of_status(status: StatusCode, details: &str) -> Self {
        let (code, message) = match status.as_u16() {
            400 => ("InvalidInput", "The request has an invalid input."),
            401 => ("Unauthorized", "The token is missing or not valid."),
            403 => ("Unauthorized", DENIED),
            404 => ("NotFound", "The resource specified does not exist."),
            429 => (
                "QuotaExceeded",
                "You exceeded your quota for the requested resource.",
            ),
            503 => (
                "ServiceUnavailable",
                "Service is temporarily unavailable. Try again later.",
            ),
            _ => (
                "InternalFailure",
                "We encountered an internal error. Please try again.",
            ),
        };
        Self {
            status,
            code,
            message: message.to_owned(),
            details: details.to_owned(),
        }
    }

    pub(super) fn into_answer(self) -> Answer {
        let kind = match self.status.as_u16() {
            400 => "InvalidInputException",
            401 => "UnauthorizedException",
            403 => "AccessDeniedException",
            404 => "ResourceNotFoundException",
            429 => "TooManyRequestsException",
            503 => "ServiceUnavailableException",
            _ => "InternalFailureException",
        };
        let error = json!({"code": self.code, "message": self.message, "details": self.details});
        let mut answer = json(self.status, &json!({"errors": [error]}));
        answer
            .headers_mut()
            .insert(ERROR_TYPE, HeaderValue::from_static(kind));
        answer
    }
}

/// Any JSON.
pub(super) fn json(status: StatusCode, value: &Value) -> Answer {
    with_type(status, "application/json", value.to_string())
}

/// Nothing but a status.
pub(super) fn bare(status: StatusCode) -> Answer {
    let mut answer = Response::new(body::empty());
    *answer.status_mut() = status;
    answer
}

/// An answer of LWA, which nobody may keep.
pub(super) fn lwa(status: StatusCode, value: &Value) -> Answer {
    let mut answer = json(status, value);
    let headers = answer.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    answer
}

/// An error of LWA (RFC 6749 section 5.2).
pub(super) fn lwa_error(status: StatusCode, error: &str, description: &str) -> Answer {
    lwa(
        status,
        &json!({"error": error, "error_description": description}),
    )
}

/// An error of S3.
pub(super) fn xml_error(status: StatusCode, code: &str, message: &str) -> Answer {
    let text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    );
    with_type(status, "application/xml", text)
}

/// What the edge says before SP-API sees a request: HTML.
pub(super) fn html_error(status: StatusCode, title: &str) -> Answer {
    let text =
        format!("<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>\n");
    with_type(status, "text/html", text)
}

pub(super) fn with_type(status: StatusCode, kind: &'static str, text: String) -> Answer {
    let mut answer = Response::new(body::full(text));
    *answer.status_mut() = status;
    answer
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}
