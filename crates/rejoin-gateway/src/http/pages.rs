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
/// Where the files are whose names have their hashes.
const ASSETS: &str = "assets/";
/// Compressed forms, the smallest first: the content coding, and the end of the file's name.
const FORMS: [(&str, &str); 2] = [("br", "br"), ("gzip", "gz")];

/// A file of the pages.
#[derive(Clone, Debug)]
pub struct Page {
    /// Its bytes.
    pub content: Cow<'static, [u8]>,
    /// Its media type.
    pub content_type: String,
    /// A tag of its content, such as a hash: visible ASCII without `"`. Another content must have
    /// another tag.
    pub tag: String,
}

/// Finds a page by its path without the leading slash; `index.html` is what `/` shows.
///
/// In `index.html`, `<base href="/" />` is replaced by the path below which the server serves.
/// Files below `assets/` must have a hash of their content in their name: they are cached for ever.
/// Beside such a file `PATH`, `PATH.br` and `PATH.gz` may be the same file compressed; they are
/// served in its place to clients that accept that.
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
        match page {
            Some(page) if path == INDEX => answer(based(page, base), "no-cache", None, asked),
            Some(page) if path.starts_with(ASSETS) => self.asset(path, page, asked),
            Some(page) => answer(page, "no-cache", None, asked),
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

    /// Serves a file whose name has its hash, in the smallest form that the client accepts.
    fn asset(self, path: &str, page: Page, asked: &HeaderMap) -> Response {
        let Self(find) = self;
        let compressed = FORMS.into_iter().find_map(|(coding, ending)| {
            let form = find(&format!("{path}.{ending}")).filter(|_| accepts(asked, coding))?;
            Some((coding, Page { content_type: page.content_type.clone(), ..form }))
        });
        let (coding, page) = match compressed {
            Some((coding, form)) => (Some(coding), form),
            None => (None, page),
        };
        let mut response = answer(page, "public, max-age=31536000, immutable", coding, asked);
        response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept-encoding"));
        response
    }
}

/// A page with its headers, or 304 if the client has it.
fn answer(
    page: Page,
    cache: &'static str,
    coding: Option<&'static str>,
    asked: &HeaderMap,
) -> Response {
    let Page { content, content_type, tag } = page;
    let tag = format!("\"{tag}\"");
    let is_known = is_known(asked, &tag);
    let content_type = HeaderValue::from_str(&content_type);
    let headers = [
        (header::CONTENT_TYPE, content_type.unwrap_or(HeaderValue::from_static("text/plain"))),
        (header::CACHE_CONTROL, HeaderValue::from_static(cache)),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_SECURITY_POLICY)),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    ];
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

/// Whether the client has the content with this tag (RFC 9110 §13.1.2).
fn is_known(asked: &HeaderMap, tag: &str) -> bool {
    let lists = asked.get_all(header::IF_NONE_MATCH).iter().filter_map(|list| list.to_str().ok());
    let mut tags = lists.flat_map(|list| list.split(','));
    tags.any(|known| {
        let known = known.trim();
        known == "*" || known.trim_start_matches("W/") == tag
    })
}

/// Whether a client takes a content coding (RFC 9110 §12.5.3).
fn accepts(asked: &HeaderMap, coding: &str) -> bool {
    let lists = asked.get_all(header::ACCEPT_ENCODING).iter().filter_map(|list| list.to_str().ok());
    let items = lists.flat_map(|list| list.split(',')).map(|item| {
        let (name, weight) = item.split_once(';').unwrap_or((item, ""));
        let weight = weight.trim().strip_prefix("q=").map(|weight| weight.parse() == Ok(0.0_f32));
        (name.trim(), weight != Some(true))
    });
    let named: Vec<_> = items.collect();
    let of = |name: &str| named.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    of(coding).or_else(|| of("*")).is_some_and(|(_, accepted)| *accepted)
}

/// Whether somebody asks for a page by an address, and not for a file by its name.
fn is_address(path: &str, asked: &HeaderMap) -> bool {
    let accepts = asked.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    let is_file = path.rsplit('/').next().is_some_and(|name| name.contains('.'));
    !is_file && accepts.is_some_and(|accept| accept.contains("text/html"))
}

/// The page with the base that it is served under.
fn based(page: Page, base: &str) -> Page {
    match str::from_utf8(&page.content) {
        Ok(text) if base != "/" => {
            // A base path has no character that means anything to HTML.
            let text = text.replacen(BASE, &format!("<base href=\"{base}\" />"), 1);
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
    fn a_coding_is_accepted_as_the_weights_say() {
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
            let asked = [(header::ACCEPT_ENCODING, value)].into_iter().collect();
            assert_eq!((accepts(&asked, "br"), accepts(&asked, "gzip")), (br, gzip), "{list}");
        }
        assert!(!accepts(&HeaderMap::new(), "gzip"));
    }
}
