//! What is answered to which request, pure.

use hyper::Method;
use hyper::header::HeaderValue;

/// An answer, without its head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Page {
    /// The metrics.
    Metrics,
    /// For people.
    Landing,
    /// Lives.
    Healthy,
    /// Nothing there.
    NotFound,
    /// No such thing can be done here.
    MethodNotAllowed,
}

/// What may be done here.
pub(super) const ALLOWED: HeaderValue = HeaderValue::from_static("GET, HEAD");

/// What a page of text is.
pub(super) const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// What the landing page is.
pub(super) const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");

/// The landing page.
pub(super) const LANDING: &str = concat!(
    "<!DOCTYPE html>\n\
     <html lang=\"en\">\n\
     <head><meta charset=\"utf-8\"><title>metrics-collector</title></head>\n\
     <body>\n\
     <h1>metrics-collector ",
    env!("CARGO_PKG_VERSION"),
    "</h1>\n\
     <ul>\n\
     <li><a href=\"metrics\">Metrics</a> of all hosts, for Prometheus</li>\n\
     <li><a href=\"-/healthy\">Health</a></li>\n\
     </ul>\n\
     </body>\n\
     </html>\n"
);

/// The page that this request asks for.
pub(super) fn page(method: &Method, path: &str) -> Page {
    let page = match path {
        "/metrics" => Page::Metrics,
        "/" => Page::Landing,
        "/-/healthy" => Page::Healthy,
        _ => return Page::NotFound,
    };
    if [Method::GET, Method::HEAD].contains(method) {
        page
    } else {
        Page::MethodNotAllowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_there_is_answered() {
        for (method, path, expected) in [
            (Method::GET, "/metrics", Page::Metrics),
            (Method::HEAD, "/metrics", Page::Metrics),
            (Method::GET, "/", Page::Landing),
            (Method::GET, "/-/healthy", Page::Healthy),
            (Method::GET, "/metrics/", Page::NotFound),
            (Method::GET, "//metrics", Page::NotFound),
            (Method::GET, "/../metrics", Page::NotFound),
            (Method::GET, "*", Page::NotFound),
            (Method::POST, "/metrics", Page::MethodNotAllowed),
            (Method::OPTIONS, "/", Page::MethodNotAllowed),
            (Method::CONNECT, "", Page::NotFound),
        ] {
            assert_eq!(page(&method, path), expected, "{method} {path}");
        }
    }
}
