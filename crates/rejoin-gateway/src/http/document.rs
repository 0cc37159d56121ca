//! The OpenAPI document, with the parts that all routes share.

use rejoin_protocol::{code::ERROR_CODES, limits};
use serde_json::{Value, json};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        Components, Info, OpenApi, OpenApiBuilder,
        security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme},
        tag::{Tag, TagBuilder},
    },
};

use crate::problem::{PROBLEM_JSON, ProblemBody};

const ABOUT: &str = "\
Everything but the WebSockets themselves: sessions, topics, connections, users, log-ins and \
revocations.\n\n\
Send a token as `Authorization: Bearer TOKEN`. This server's own pages use a cookie instead. \
Administrators may do everything, other users what concerns themselves. An object that the caller \
may not see is reported as missing.\n\n\
Times are milliseconds since the epoch. Lists come in pages: send the `next` of a page as `after` \
to get the page that follows. Errors are problem details (RFC 9457); their `code` is for programs. \
In paths, percent-encode all characters but letters, digits and `-._~`: the topic `room/7` is \
`room%2F7`.\n\n\
A POST with an `Idempotency-Key` is executed once: within five minutes, the same request of the \
same user gets the same response, with `Idempotent-Replayed: true`.";

const TAGS: [(&str, &str); 6] = [
    ("sessions", "Live terminals that any number of connections attach to."),
    ("topics", "Named streams of messages, retained for clients that reconnect."),
    ("connections", "WebSockets, each of one user and at most one device."),
    ("users", "Users and their devices, across all connections."),
    ("account", "The caller: identity, tickets, log-in and log-out."),
    ("administration", "Revocations and statistics, for administrators."),
];

/// Returns the document without routes.
pub(super) fn base() -> OpenApi {
    let mut info = Info::new("rejoin", env!("CARGO_PKG_VERSION"));
    info.description = Some(ABOUT.to_owned());
    let mut schemas = vec![(ProblemBody::name().into_owned(), ProblemBody::schema())];
    ProblemBody::schemas(&mut schemas);

    let mut components = Components::new();
    components.schemas.extend(schemas);
    let bearer = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    components.add_security_scheme("bearer", bearer);
    OpenApiBuilder::new()
        .info(info)
        .tags(Some(TAGS.map(tag)))
        .components(Some(components))
        .security(Some([SecurityRequirement::new("bearer", Vec::<String>::new())]))
        .build()
}

fn tag((name, description): (&str, &str)) -> Tag {
    TagBuilder::new().name(name).description(Some(description)).build()
}

/// Adds to each route the parts and responses that routes share.
pub(super) fn finish(document: OpenApi, base: &str) -> Value {
    let mut document = serde_json::to_value(document).expect("a document is JSON");
    document["servers"] = json!([{ "url": format!("{base}api/v1") }]);
    let reference =
        json!({ "url": format!("{base}api/docs"), "description": "The reference for people" });
    document["externalDocs"] = reference;

    let paths = document["paths"].as_object_mut().expect("a document has paths");
    for item in paths.values_mut() {
        let methods = item.as_object_mut().expect("a path has methods");
        for (method, operation) in methods {
            complete(method, operation);
        }
    }
    document
}

/// Completes a route: adds its id, the parameter for idempotency keys, and the shared responses.
fn complete(method: &str, operation: &mut Value) {
    let summary = operation["summary"].as_str().unwrap_or_default().to_lowercase();
    let words: Vec<String> = summary
        .split_whitespace()
        .map(|word| word.chars().filter(char::is_ascii_alphanumeric).collect())
        .collect();
    // Derived from the summary. A test fails if two routes have the same summary.
    operation["operationId"] = words.join("_").into();

    let needs_token = operation["security"].is_null();
    let has_body = !operation["requestBody"].is_null();
    // Log-in and log-out are idempotent already, and each request needs a new ticket.
    let takes_key = method == "post" && operation["tags"][0] != "account";
    if takes_key {
        add_key(operation);
    }

    let has_input = has_body || operation["parameters"].is_array();
    let responses = operation["responses"].as_object_mut().expect("a route has answers");
    let standard = [
        (has_input, "400", "`malformed_json`, `missing_field` or `invalid_field`, with the field."),
        (needs_token, "401", "The token is missing or not valid."),
        (needs_token, "403", "`forbidden`: the token does not allow this."),
        (has_body, "413", "The body is too long."),
        (has_body, "415", "The body is not `application/json`."),
        (
            takes_key,
            "422",
            "`key_reused`: the idempotency key was used with another body or other rights.",
        ),
        (takes_key, "429", "`rate_limited`: too many idempotency keys."),
        (true, "503", "`keys_unavailable` or `overloaded`: try again later."),
    ];
    // Descriptions that the route itself provides take precedence.
    for (_, status, description) in standard.into_iter().filter(|(applies, ..)| *applies) {
        let answer = responses.entry(status).or_insert_with(|| json!({}));
        if answer["description"].is_null() {
            answer["description"] = description.into();
        }
    }

    for (status, answer) in responses {
        // Statuses have three digits, so they sort as text as they do as numbers.
        if status.as_str() >= "400" {
            describe_problem(status, answer);
        }
    }
}

fn add_key(operation: &mut Value) {
    let parameters = operation
        .as_object_mut()
        .map(|operation| operation.entry("parameters").or_insert_with(|| json!([])));
    let max = limits::MAX_KEY_BYTES;
    // Quoted, as the draft RFC of the header demands, or plain, as most clients send it.
    let pattern = format!("^([!#-~]{{1,{max}}}|\"[!#-~]{{1,{max}}}\")$");
    let schema = json!({ "type": "string", "pattern": pattern });
    let key = json!({
        "name": "Idempotency-Key",
        "in": "header",
        "description": "Any text, new for each request. A retry gets the same response.",
        "required": false,
        "schema": schema,
    });
    if let Some(Value::Array(parameters)) = parameters {
        parameters.push(key);
    }
}

fn describe_problem(status: &str, answer: &mut Value) {
    let schema = json!({ "$ref": "#/components/schemas/Problem" });
    answer["content"] = json!({ PROBLEM_JSON: { "schema": schema } });
    match status {
        "401" => {
            let text = json!({ "type": "string" });
            answer["headers"] = header("WWW-Authenticate", "`Bearer`.", &text);
        }
        "429" | "503" => {
            let seconds = json!({ "type": "integer", "minimum": 0 });
            answer["headers"] =
                header("Retry-After", "The time to wait before a retry, in seconds.", &seconds);
        }
        _ => {}
    }
}

fn header(name: &str, description: &str, schema: &Value) -> Value {
    json!({ name: { "description": description, "schema": schema } })
}

/// Returns each error code, its meaning, and whether a retry may succeed.
pub(super) fn codes() -> impl Iterator<Item = (&'static str, &'static str, bool)> {
    ERROR_CODES.iter().map(|row| (row.code, row.description, row.retryable))
}
