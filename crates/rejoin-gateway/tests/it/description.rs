//! The OpenAPI document, and the reference page that is generated from it.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::TestServer;

async fn document(server: &TestServer) -> Value {
    let answer = server.ask("GET", "/api/v1/openapi.json").send().await;
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"));
    answer.json()
}

/// Returns each path of the document with its methods.
fn routes(document: &Value) -> Vec<(String, BTreeSet<String>)> {
    let paths = document["paths"].as_object().unwrap().iter();
    let methods =
        |item: &Value| item.as_object().unwrap().keys().map(|m| m.to_uppercase()).collect();
    paths.map(|(path, item)| (path.clone(), methods(item))).collect()
}

/// Returns a path with its parameters filled in.
fn filled(path: &str) -> String {
    let part = |part: &str| if part.starts_with('{') { "x".to_owned() } else { part.to_owned() };
    path.split('/').map(part).collect::<Vec<_>>().join("/")
}

#[tokio::test]
async fn each_path_has_the_methods_of_its_description() {
    let server = TestServer::start().await;
    let document = document(&server).await;
    let routes = routes(&document);
    assert!(routes.len() > 25, "{routes:?}");
    for (path, mut methods) in routes {
        // No route has `PATCH`, so the response lists the methods that exist.
        let answer = server.ask("PATCH", &format!("/api/v1{}", filled(&path))).send().await;
        assert_eq!(answer.problem(), (405, "method_not_allowed".into()), "{path}");
        let allowed: BTreeSet<_> =
            answer.header("allow").split(',').map(|it| it.trim().to_owned()).collect();
        if methods.contains("GET") {
            methods.insert("HEAD".into());
        }
        assert_eq!(allowed, methods, "{path}");
    }
}

#[tokio::test]
async fn routes_that_need_a_token_document_it() {
    let server = TestServer::start().await;
    let document = document(&server).await;
    for (path, methods) in routes(&document) {
        for method in methods {
            let operation = &document["paths"][&path][method.to_lowercase()];
            let answer = server.ask(&method, &format!("/api/v1{}", filled(&path))).send().await;
            let documented = operation["responses"].get(answer.status.to_string());
            assert!(documented.is_some(), "{method} {path}: {answer:?}");
            if operation["security"].is_null() {
                assert_eq!(answer.problem(), (401, "not_authenticated".into()), "{method} {path}");
                assert_eq!(answer.header("www-authenticate"), "Bearer");
            }
        }
    }
}

#[tokio::test]
async fn the_document_is_complete() {
    let server = TestServer::start().await;
    let document = document(&server).await;
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["servers"][0]["url"], "/api/v1");
    let schemas = document["components"]["schemas"].as_object().unwrap();

    // Each reference has its schema.
    let text = document.to_string();
    for reference in text.split("\"$ref\":\"").skip(1) {
        let reference = reference.split('"').next().unwrap();
        let name = reference.strip_prefix("#/components/schemas/").unwrap();
        assert!(schemas.contains_key(name), "{name}");
    }

    let mut ids = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            assert!(!operation["summary"].as_str().unwrap().is_empty(), "{method} {path}");
            assert!(ids.insert(operation["operationId"].to_string()), "{method} {path}");
            for (status, answer) in operation["responses"].as_object().unwrap() {
                assert!(answer["description"].is_string(), "{method} {path} {status}");
                let is_problem = answer["content"]["application/problem+json"].is_object();
                assert_eq!(is_problem, status.as_str() >= "400", "{method} {path} {status}");
            }
        }
    }
}

#[tokio::test]
async fn the_reference_lists_each_route_and_loads_nothing() {
    let server = TestServer::start().await;
    let document = document(&server).await;
    let answer = server.ask("GET", "/api/docs").send().await;
    assert_eq!(answer.header("content-type"), "text/html; charset=utf-8");
    assert!(
        answer
            .header("content-security-policy")
            .starts_with("default-src 'none'; style-src 'sha256-")
    );

    for (path, _) in routes(&document) {
        assert!(answer.body.contains(&format!("<code>{path}</code>")), "{path}");
    }
    for forbidden in ["<script", "src=", "http://", "https://", "url("] {
        assert!(!answer.body.contains(forbidden), "{forbidden}");
    }

    for opened in ["table", "section", "td", "tr", "code", "p", "pre", "details", "span"] {
        let count = |tag: &str| answer.body.matches(tag).count();
        let starts = count(&format!("<{opened}>")) + count(&format!("<{opened} "));
        assert_eq!(starts, count(&format!("</{opened}>")), "{opened}");
    }
}
