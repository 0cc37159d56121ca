//! Pages: files of an embedding program, with security and cache headers.

use std::{borrow::Cow, fmt};

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use rejoin_protocol::ErrorCode;

use crate::problem::Problem;

/// Allows only the server's own files. xterm.js creates style elements, hence `unsafe-inline`.
const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; style-src 'self' 'unsafe-inline'; \
     img-src 'self' data: blob:; connect-src 'self' ws: wss:; frame-ancestors 'none'; \
     base-uri 'self'; form-action 'self'";
/// The placeholder for the base path in `index.html`.
const BASE: &str = "<base href=\"/\" />";
/// The page for `/`, and for each URL that the pages route themselves.
const INDEX: &str = "index.html";
/// The folder of files whose names contain a hash of their content.
const ASSETS: &str = "assets/";
/// The compressed variants, smallest first: content codings and file extensions.
const VARIANTS: [(&str, &str); 2] = [("br", "br"), ("gzip", "gz")];

/// A file of the pages.
#[derive(Clone, Debug)]
pub struct Page {
    /// The bytes.
    pub content: Cow<'static, [u8]>,
    /// The media type.
    pub content_type: String,
    /// A tag that differs for different content, such as a hash: visible ASCII without `"`.
    pub tag: String,
}

/// Finds a page by its path without the leading slash. `index.html` is the page for `/`.
///
/// Runs on the async runtime, so it must not block.
///
/// In `index.html`, the gateway replaces `<base href="/" />` by the base path of the server. The
/// names of files below `assets/` must contain a hash of their content, because browsers cache them
/// for a year. Such a file may have compressed variants, `PATH.br` and `PATH.gz`, which are served
/// to clients that accept them.
pub type FindPage = fn(&str) -> Option<Page>;

/// The pages of an embedding program.
#[derive(Clone, Copy)]
pub(crate) struct Pages(pub(crate) FindPage);

impl Pages {
    /// Serves a path below the base path.
    pub(super) fn serve(
        self,
        base: &str,
        method: &Method,
        path: &str,
        request: &HeaderMap,
    ) -> Response {
        if !matches!(*method, Method::GET | Method::HEAD) {
            return Problem::from(ErrorCode::NotFound).into_response();
        }
        let path = match path.trim_start_matches('/') {
            "" => INDEX,
            path => path,
        };
        let Self(find) = self;

        // The pages route their own URLs, so a browser that opens such a URL gets the index.
        let (path, page) = match find(path) {
            Some(page) => (path, Some(page)),
            None if is_navigation(path, request) => (INDEX, find(INDEX)),
            None => (path, None),
        };

        match page {
            Some(page) if path == INDEX => {
                respond(with_base(page, base), "no-cache", None, request)
            }
            Some(page) if path.starts_with(ASSETS) => self.asset(path, page, request),
            Some(page) => respond(page, "no-cache", None, request),
            None => {
                let text = if path == INDEX {
                    "This program was built without its pages; build it with `cargo xtask run`.\n"
                } else {
                    "There is no such page.\n"
                };
                (StatusCode::NOT_FOUND, text).into_response()
            }
        }
    }

    /// Serves a file with a hash in its name, as the smallest variant that the client accepts.
    fn asset(self, path: &str, page: Page, request: &HeaderMap) -> Response {
        let Self(find) = self;
        let compressed = VARIANTS.into_iter().find_map(|(coding, extension)| {
            let variant =
                find(&format!("{path}.{extension}")).filter(|_| accepts(request, coding))?;
            Some((coding, Page { content_type: page.content_type.clone(), ..variant }))
        });
        let (coding, page) = match compressed {
            Some((coding, variant)) => (Some(coding), variant),
            None => (None, page),
        };

        let mut response = respond(page, "public, max-age=31536000, immutable", coding, request);
        // Otherwise a cache would serve a compressed variant to a client that cannot decode it.
        response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept-encoding"));
        response
    }
}

/// Returns a page with its headers, or 304 if the client already has it.
fn respond(
    page: Page,
    cache: &'static str,
    coding: Option<&'static str>,
    request: &HeaderMap,
) -> Response {
    let Page { content, content_type, tag } = page;
    let tag = format!("\"{tag}\"");
    let is_known = is_known(request, &tag);
    let content_type = HeaderValue::from_str(&content_type);
    let headers = [
        (header::CONTENT_TYPE, content_type.unwrap_or(HeaderValue::from_static("text/plain"))),
        (header::CACHE_CONTROL, HeaderValue::from_static(cache)),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_SECURITY_POLICY)),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    ];

    // A 304 repeats the headers, from which browsers update the stored policy.
    let mut response = if is_known {
        (StatusCode::NOT_MODIFIED, headers).into_response()
    } else {
        (headers, Body::from(content.into_owned())).into_response()
    };
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    if let Some(coding) = coding.filter(|_| !is_known) {
        let coding = HeaderValue::from_static(coding);
        response.headers_mut().insert(header::CONTENT_ENCODING, coding);
    }
    response
}

/// Returns `true` if the client already has the content with this tag (RFC 9110 §13.1.2).
fn is_known(request: &HeaderMap, tag: &str) -> bool {
    let lists = request.get_all(header::IF_NONE_MATCH).iter().filter_map(|list| list.to_str().ok());
    let mut tags = lists.flat_map(|list| list.split(','));
    tags.any(|known| {
        let known = known.trim();
        // A proxy that compresses the content weakens the tag, so `If-None-Match` uses the weak
        // comparison (RFC 9110 §13.1.2).
        known == "*" || known.trim_start_matches("W/") == tag
    })
}

/// Returns `true` if the client accepts a content coding (RFC 9110 §12.5.3).
fn accepts(request: &HeaderMap, coding: &str) -> bool {
    let lists =
        request.get_all(header::ACCEPT_ENCODING).iter().filter_map(|list| list.to_str().ok());
    let items = lists.flat_map(|list| list.split(',')).map(|item| {
        let (name, weight) = item.split_once(';').unwrap_or((item, ""));
        let weight = weight.trim().strip_prefix("q=").map(|weight| weight.parse() == Ok(0.0_f32));
        (name.trim(), weight != Some(true))
    });
    let named: Vec<_> = items.collect();
    let of = |name: &str| named.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    // A coding that is named overrides `*`, even with a weight of 0.
    of(coding).or_else(|| of("*")).is_some_and(|(_, accepted)| *accepted)
}

/// Returns `true` if a browser opens a URL that the pages route, rather than a file.
fn is_navigation(path: &str, request: &HeaderMap) -> bool {
    let accepts = request.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    // A missing script or image must not return the index: the browser would report a syntax error
    // instead of a missing file.
    let is_file = path.rsplit('/').next().is_some_and(|name| name.contains('.'));
    !is_file && accepts.is_some_and(|accept| accept.contains("text/html"))
}

/// Returns the page with the server's base path inserted.
fn with_base(page: Page, base: &str) -> Page {
    match str::from_utf8(&page.content) {
        Ok(text) if base != "/" => {
            // A base path contains no characters that need escaping in HTML.
            let text = text.replacen(BASE, &format!("<base href=\"{base}\" />"), 1);
            // The base path changes the content, so it is also part of the tag.
            let content = Cow::Owned(text.into_bytes());
            Page { content, tag: format!("{}{base}", page.tag), ..page }
        }
        _ => page,
    }
}

impl fmt::Debug for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pages")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_coding_is_accepted_by_its_weight() {
        let cases = [
            ("gzip, deflate, br, zstd", true, true),
            ("gzip", false, true),
            ("GZIP;q=0.5", false, true),
            ("br;q=0, gzip;q=1.0", false, true),
            ("*", true, true),
            ("*;q=0", false, false),
            ("gzip;q=0, *", true, false),
            ("identity", false, false),
            ("xgzip, brotli", false, false),
            ("", false, false),
        ];

        for (list, br, gzip) in cases {
            let value = HeaderValue::from_static(list);
            let request = [(header::ACCEPT_ENCODING, value)].into_iter().collect();
            let accepted = (accepts(&request, "br"), accepts(&request, "gzip"));
            assert_eq!(accepted, (br, gzip), "{list}");
        }
        assert!(!accepts(&HeaderMap::new(), "gzip"));
    }
}
