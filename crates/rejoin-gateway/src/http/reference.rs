//! The human-readable API reference: a page without scripts, rendered from the OpenAPI document.

mod schema;

use std::{fmt::Write as _, sync::Arc};

use aws_lc_rs::digest::{SHA256, digest};
use axum::{
    http::header,
    response::{IntoResponse, Response},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::Value;

use crate::http::{document::codes, reference::schema::Schemas};

const STYLE: &str = include_str!("reference.css");

/// The reference page with its content security policy.
#[derive(Clone, Debug)]
pub(super) struct Reference {
    html: Arc<str>,
    policy: Arc<str>,
}

/// Renders the page for a document.
pub(super) fn page(document: &Value) -> Reference {
    let hash = BASE64_STANDARD.encode(digest(&SHA256, STYLE.as_bytes()));
    // The hash allows this style element only. Scripts are not allowed at all.
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'"
    );
    Reference { html: html(document).into(), policy: policy.into() }
}

impl IntoResponse for Reference {
    fn into_response(self) -> Response {
        let headers = [
            (header::CONTENT_TYPE, "text/html; charset=utf-8"),
            (header::CONTENT_SECURITY_POLICY, &self.policy),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::REFERRER_POLICY, "no-referrer"),
            (header::CACHE_CONTROL, "no-cache"),
        ];
        (headers, self.html.to_string()).into_response()
    }
}

/// An operation with its path and method.
struct Route<'a> {
    path: &'a str,
    method: &'a str,
    operation: &'a Value,
}

impl Route<'_> {
    fn id(&self) -> &str {
        self.operation["operationId"].as_str().unwrap_or_default()
    }

    fn summary(&self) -> &str {
        self.operation["summary"].as_str().unwrap_or_default()
    }
}

fn html(document: &Value) -> String {
    let schemas = Schemas(&document["components"]["schemas"]);
    let info = &document["info"];
    let (title, version) = (text(&info["title"]), text(&info["version"]));
    let (mut nav, mut body) = (String::new(), String::new());
    // In the order of the tags, which groups the routes by subject.
    for tag in document["tags"].as_array().into_iter().flatten() {
        let name = text(&tag["name"]);
        let _ = write!(nav, "<strong>{name}</strong>");
        let about = prose(&tag["description"]);
        let _ = write!(body, "<h2 id=\"tag-{name}\">{name}</h2>{about}");
        for route in routes(document, text_of(&tag["name"])) {
            let _ = write!(nav, "<a href=\"#{}\">{}</a>", route.id(), escape(route.summary()));
            write_route(&mut body, &route, &schemas);
        }
    }

    let _ = write!(nav, "<strong>More</strong><a href=\"#codes\">Error codes</a>");
    write_codes(&mut body);

    let about = prose(&info["description"]);
    let server = text(&document["servers"][0]["url"]);
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}: the HTTP \
         API</title><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <style>{STYLE}</style></head><body><nav aria-label=\"Routes\"><strong>{title} \
         {version}</strong>{nav}</nav><main><h1>The HTTP API</h1>{about}<p>All paths are below \
         <code>{server}</code>. Programs can use the <a href=\"v1/openapi.json\">OpenAPI \
         document</a>, from which this page is generated.</p>{body}</main></body></html>"
    )
}

/// Returns the routes of a tag, by path and method. Those below the path of its name come first.
fn routes<'a>(document: &'a Value, tag: &str) -> Vec<Route<'a>> {
    let paths = document["paths"].as_object().into_iter().flatten();
    let routes = paths.flat_map(|(path, item)| {
        let methods = item.as_object().into_iter().flatten();
        methods.map(move |(method, operation)| Route { path, method, operation })
    });

    let mut routes: Vec<_> = routes.filter(|route| route.operation["tags"][0] == tag).collect();
    routes.sort_by_key(|route| {
        let begins = route.path.trim_start_matches('/').starts_with(tag);
        let method = ["get", "post", "delete"].iter().position(|method| *method == route.method);
        (!begins, route.path, method)
    });
    routes
}

fn write_route(out: &mut String, route: &Route<'_>, schemas: &Schemas<'_>) {
    let Route { path, method, operation } = route;
    let _ = write!(
        out,
        "<section id=\"{}\"><h3>{}</h3><p class=\"route\"><span class=\"method {method}\">{}\
         </span> <code>{}</code></p>{}",
        route.id(),
        escape(route.summary()),
        method.to_uppercase(),
        escape(path),
        prose(&operation["description"]),
    );

    write_parameters(out, operation, schemas);
    for (media_type, content) in
        operation["requestBody"]["content"].as_object().into_iter().flatten()
    {
        let _ = write!(out, "<h4>Body <span class=\"kind\">{}</span></h4>", escape(media_type));
        out.push_str(&schemas.body(content));
    }

    out.push_str("<h4>Responses</h4><table class=\"answers\">");
    for (status, answer) in operation["responses"].as_object().into_iter().flatten() {
        let _ = write!(
            out,
            "<tr><td><span class=\"status\">{status}</span></td><td>{}",
            inline(text_of(&answer["description"])),
        );
        // All errors have the same body, which the page describes only once.
        if status.as_str() < "400" {
            for (media_type, content) in answer["content"].as_object().into_iter().flatten() {
                let _ = write!(out, " <span class=\"kind\">{}</span>", escape(media_type));
                if media_type == "application/json" {
                    out.push_str(&schemas.answer(content));
                }
            }
        }
        out.push_str("</td></tr>");
    }
    out.push_str("</table></section>");
}

fn write_parameters(out: &mut String, operation: &Value, schemas: &Schemas<'_>) {
    for (place, title) in [("path", "In the path"), ("query", "Query"), ("header", "Headers")] {
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        let mut rows = String::new();
        for parameter in parameters.filter(|parameter| parameter["in"] == place) {
            let about = text_of(&parameter["description"]);
            let schema = &parameter["schema"];
            let about = if about.is_empty() { schemas.about(schema) } else { about };
            rows.push_str(&schema::row(
                text_of(&parameter["name"]),
                &schemas.kind(schema),
                about,
                place == "query" && parameter["required"] == true,
            ));
        }
        if !rows.is_empty() {
            let _ = write!(out, "<h4>{title}</h4><table>{rows}</table>");
        }
    }
}

fn write_codes(out: &mut String) {
    out.push_str(
        "<h2 id=\"codes\">Error codes</h2><p>The <code>code</code> of a problem. Some \
         codes occur in WebSocket messages only.</p><table>",
    );
    for (code, description, retryable) in codes() {
        let retry = if retryable { "<span class=\"kind\">may succeed later</span>" } else { "" };
        let about = inline(description);
        let _ = write!(out, "<tr><td><code>{code}</code></td><td>{about} {retry}</td></tr>");
    }
    out.push_str("</table>");
}

fn text_of(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn text(value: &Value) -> String {
    escape(text_of(value))
}

/// Renders text as HTML paragraphs.
fn prose(value: &Value) -> String {
    let paragraphs = text_of(value).split("\n\n").filter(|text| !text.trim().is_empty());
    paragraphs.map(|text| format!("<p>{}</p>", inline(text))).collect()
}

/// Renders text as HTML. Text in backticks becomes code.
fn inline(text: &str) -> String {
    let mut out = String::new();
    for (index, part) in text.split('`').enumerate() {
        let part = escape(part);
        let _ =
            if index % 2 == 1 { write!(out, "<code>{part}</code>") } else { write!(out, "{part}") };
    }
    out
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
