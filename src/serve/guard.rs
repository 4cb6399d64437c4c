//! Who may ask, and what browsers may do with the answers.

use super::problem::{Problem, in_json};
use axum::extract::{Request, State};
use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, COOKIE, HOST, HeaderName, LOCATION,
    ORIGIN, REFERRER_POLICY, SET_COOKIE, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::Duration;

/// Nothing but the page's own files, from here.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Time in which a request's body comes.
const BODY: Duration = Duration::from_secs(30);

/// The longest body of a request: the ids of ten thousand runs and more.
const LONGEST: usize = 1 << 20;

/// What is asked of whoever asks.
pub(super) struct Guard {
    cookie: String,
    token: Option<String>,
}

impl Guard {
    pub(super) fn new(port: u16, token: Option<String>) -> Self {
        // Cookies know no ports, and there may be a server on each.
        let cookie = format!("orchestrator-{port}");
        Self { cookie, token }
    }

    /// Says why a request is refused, if it is.
    fn refuses(&self, request: &Request) -> Option<Problem> {
        let headers = request.headers();
        let authority = text(headers, HOST).and_then(|host| host.parse::<Authority>().ok());
        let Some(host) = authority else {
            let message = "the request does not say which host it is for";
            return Some(Problem::new(StatusCode::BAD_REQUEST, message));
        };
        // A name that a stranger's page has made to lead here is not ours. With a token no such
        // page gets in: a browser gives the cookie to the name alone that it came from.
        if self.token.is_none() && !is_local(host.host()) {
            let message = format!(
                "this page is served to this machine alone, and `{}` is not a name of it: open \
                 http://127.0.0.1 or http://localhost with its port",
                host.host()
            );
            return Some(Problem::new(StatusCode::FORBIDDEN, message));
        }
        let own =
            |origin: &str| origin.split_once("://").map(|(_, rest)| rest) == Some(host.as_str());
        let from_elsewhere = text(headers, ORIGIN).is_some_and(|origin| !own(origin));
        // Browsers that know this header say with it, too, whose page asks.
        let site = HeaderName::from_static("sec-fetch-site");
        let from_elsewhere = from_elsewhere
            || text(headers, site).is_some_and(|site| site != "same-origin" && site != "none");
        if request.method() == Method::POST && from_elsewhere {
            let message = "the request comes from another site";
            return Some(Problem::new(StatusCode::FORBIDDEN, message));
        }
        match &self.token {
            Some(token) if !self.shows(headers, token) => Some(Problem::new(
                StatusCode::UNAUTHORIZED,
                "this page needs its token: open the address that `orchestrator serve` has printed",
            )),
            _ => None,
        }
    }

    /// Says whether a request shows the token, as a cookie or as a bearer.
    fn shows(&self, headers: &HeaderMap, token: &str) -> bool {
        let bearer = text(headers, AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
        let cookies = headers.get_all(COOKIE).iter();
        let mut cookies = cookies
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .filter(|(name, _)| *name == self.cookie)
            .map(|(_, value)| value);
        bearer.is_some_and(|given| same(given, token)) || cookies.any(|given| same(given, token))
    }

    /// Keeps the token of an address as a cookie, and leads to the address without it.
    fn takes(&self, request: &Request) -> Option<Response> {
        let token = self.token.as_ref()?;
        let query = request.uri().query()?;
        let given = query
            .split('&')
            .find_map(|pair| pair.strip_prefix("token="))?;
        if request.uri().path() != "/" || !same(given, token) {
            return None;
        }
        let cookie = format!("{}={token}; HttpOnly; SameSite=Strict; Path=/", self.cookie);
        let headers = [(SET_COOKIE, cookie), (LOCATION, "/".to_owned())];
        Some((StatusCode::SEE_OTHER, headers).into_response())
    }
}

/// Lets a request pass, or answers why it may not.
pub(super) async fn pass(
    State(guard): State<Arc<Guard>>,
    request: Request,
    next: Next,
) -> Response {
    let mut response = match guard.takes(&request) {
        Some(response) => response,
        None => match guard.refuses(&request) {
            Some(problem) => problem.into_response(),
            None => match with_body(request).await {
                Ok(request) => in_json(next.run(request).await).await,
                Err(problem) => problem.into_response(),
            },
        },
    };
    let corp = HeaderName::from_static("cross-origin-resource-policy");
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (corp, "same-origin"),
        (CACHE_CONTROL, "no-store"),
    ] {
        let value = HeaderValue::from_static(value);
        response.headers_mut().entry(name).or_insert(value);
    }
    response
}

/// Reads a request's body, which is short, before anything is done for it.
async fn with_body(request: Request) -> Result<Request, Problem> {
    let (head, body) = request.into_parts();
    let read = tokio::time::timeout(BODY, axum::body::to_bytes(body, LONGEST)).await;
    let late = |_| Problem::new(StatusCode::REQUEST_TIMEOUT, "the request did not end");
    let body = read.map_err(late)?.map_err(|error| {
        let message =
            format!("the request cannot be read, or is longer than {LONGEST} bytes: {error}");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, message)
    })?;
    Ok(Request::from_parts(head, body.into()))
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// Says whether a host is this machine by a name that nobody else can give it.
fn is_local(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let address: Option<std::net::IpAddr> = bare.parse().ok();
    host.eq_ignore_ascii_case("localhost") || address.is_some_and(|ip| ip.is_loopback())
}

/// Compares without telling by its time how much is right.
fn same(given: &str, token: &str) -> bool {
    Sha256::digest(given) == Sha256::digest(token)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;

    fn asked(host: &str, more: &[(&str, &str)]) -> Request {
        let mut request = Request::builder()
            .uri("/api/experiments")
            .header("host", host);
        for (name, value) in more {
            request = request.header(*name, *value);
        }
        request.body(Body::empty()).expect("a request")
    }

    #[test]
    fn only_local_names_pass_without_a_token() {
        let guard = Guard::new(1, None);
        for host in [
            "localhost:9",
            "127.0.0.1:9",
            "[::1]:9",
            "127.8.8.8",
            "LOCALHOST",
        ] {
            assert!(guard.refuses(&asked(host, &[])).is_none(), "{host}");
        }
        for host in [
            "evil.example:9",
            "localhost.evil.example",
            "10.0.0.1:9",
            "[::2]:9",
        ] {
            assert!(guard.refuses(&asked(host, &[])).is_some(), "{host}");
        }
    }

    #[test]
    fn a_token_is_a_cookie_or_a_bearer() {
        let guard = Guard::new(7, Some("secret".into()));
        let passes = |more: &[(&str, &str)]| guard.refuses(&asked("box:9", more)).is_none();
        assert!(!passes(&[]));
        assert!(!passes(&[("authorization", "Bearer wrong")]));
        assert!(passes(&[("authorization", "Bearer secret")]));
        assert!(passes(&[("cookie", "a=b; orchestrator-7=secret")]));
        assert!(!passes(&[("cookie", "orchestrator-8=secret")]));
    }
}
