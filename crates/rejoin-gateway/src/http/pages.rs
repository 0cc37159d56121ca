//! Pages: files that an embedding program brings, with the headers that they need.

use std::{borrow::Cow, fmt};

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use rejoin_protocol::ErrorCode;

use crate::http::Problem;

/// Only what this server serves runs in its pages; xterm.js writes its own style elements.
const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; style-src 'self' 'unsafe-inline'; \
     img-src 'self' data: blob:; connect-src 'self' ws: wss:; frame-ancestors 'none'; \
     base-uri 'self'; form-action 'self'";
/// What stands in the pages for the path below which they are served.
const BASE: &str = "<base href=\"/\" />";
/// What `/` shows, and each address that the pages themselves make sense of.
const INDEX: &str = "index.html";

/// A file of the pages.
#[derive(Clone, Debug)]
pub struct Page {
    /// Its bytes.
    pub content: Cow<'static, [u8]>,
    /// Its media type.
    pub content_type: String,
}

/// Finds a page by its path without the leading slash; `index.html` is what `/` shows.
///
/// In `index.html`, `<base href="/" />` is replaced by the path below which the server serves.
/// Files below `assets/` must have a hash of their content in their name: they are cached for ever.
pub type FindPage = fn(&str) -> Option<Page>;

#[derive(Clone, Copy)]
pub(crate) struct Pages(pub(crate) FindPage);

impl Pages {
    /// Serves a path below the base.
    pub(super) fn serve(
        self,
        base: &str,
        method: &Method,
        path: &str,
        asked: &HeaderMap,
    ) -> Response {
        if !matches!(*method, Method::GET | Method::HEAD) {
            return Problem::from(ErrorCode::NotFound).into_response();
        }
        let path = match path.trim_start_matches('/') {
            "" => INDEX,
            path => path,
        };
        let Self(find) = self;
        // A browser that is sent to an address within the pages finds the pages.
        let (path, page) = match find(path) {
            Some(page) => (path, Some(page)),
            None if is_address(path, asked) => (INDEX, find(INDEX)),
            None => (path, None),
        };
        let Some(page) = page else {
            let text = if path == INDEX {
                "This program was built without its pages; build it with `cargo xtask run`.\n"
            } else {
                "There is no such page.\n"
            };
            return (StatusCode::NOT_FOUND, text).into_response();
        };
        let hashed = path.starts_with("assets/");
        let cache = if hashed { "public, max-age=31536000, immutable" } else { "no-cache" };
        let content_type = HeaderValue::from_str(&page.content_type);
        let headers = [
            (header::CONTENT_TYPE, content_type.unwrap_or(HeaderValue::from_static("text/plain"))),
            (header::CACHE_CONTROL, HeaderValue::from_static(cache)),
            (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_SECURITY_POLICY)),
            (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
            (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        ];
        let content = if path == INDEX { based(page.content, base) } else { page.content };
        (headers, Body::from(content.into_owned())).into_response()
    }
}

/// Whether somebody asks for a page by an address, and not for a file by its name.
fn is_address(path: &str, asked: &HeaderMap) -> bool {
    let accepts = asked.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    let is_file = path.rsplit('/').next().is_some_and(|name| name.contains('.'));
    !is_file && accepts.is_some_and(|accept| accept.contains("text/html"))
}

/// The page with the base that it is served under.
fn based(content: Cow<'static, [u8]>, base: &str) -> Cow<'static, [u8]> {
    match str::from_utf8(&content) {
        Ok(text) if base != "/" => {
            // A base path has no character that means anything to HTML.
            let text = text.replacen(BASE, &format!("<base href=\"{base}\" />"), 1);
            Cow::Owned(text.into_bytes())
        }
        _ => content,
    }
}

impl fmt::Debug for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pages")
    }
}
