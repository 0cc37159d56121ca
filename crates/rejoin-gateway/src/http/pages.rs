//! Pages: files that an embedding program brings, with the headers that they need.

use std::{borrow::Cow, fmt};

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};

/// Only what this server serves runs in its pages; xterm.js writes its own style elements.
const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; style-src 'self' 'unsafe-inline'; \
     img-src 'self' data: blob:; connect-src 'self' ws: wss:; frame-ancestors 'none'; \
     base-uri 'none'; form-action 'self'";

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
/// Files below `assets/` must have a hash of their content in their name: they are cached for ever.
pub type FindPage = fn(&str) -> Option<Page>;

#[derive(Clone, Copy)]
pub(crate) struct Pages(pub(crate) FindPage);

impl Pages {
    pub(super) fn serve(self, uri: &Uri) -> Response {
        let path = match uri.path().trim_start_matches('/') {
            "" => "index.html",
            path => path,
        };
        let Self(find) = self;
        let Some(page) = find(path) else {
            let text = if path == "index.html" {
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
        (headers, Body::from(page.content.into_owned())).into_response()
    }
}

impl fmt::Debug for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pages")
    }
}
