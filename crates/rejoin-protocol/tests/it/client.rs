//! Messages from clients.

use rejoin_protocol::{
    ErrorCode,
    message::{self, Envelope, ErrorBody},
};
use serde_json::Value;

fn read(text: &str) -> Result<String, ErrorBody> {
    let envelope = Envelope::parse(text)?;
    Ok(format!("{:?}", message::parse(&envelope)?))
}

#[test]
fn each_golden_client_message_is_read() {
    // `client/test/golden.test.ts` writes the same messages.
    let golden: Vec<Value> = serde_json::from_str(include_str!("../golden/messages.json")).unwrap();
    let messages: Vec<_> = golden.iter().filter(|entry| entry["direction"] == "client").collect();

    assert_eq!(messages.len(), 18);
    for entry in messages {
        let text = entry["json"].to_string();
        let envelope = Envelope::parse(&text).unwrap();

        assert_eq!(envelope.kind, entry["name"].as_str().unwrap());
        assert!(message::parse(&envelope).unwrap().is_some(), "{text}");
        assert!(message::is_built_in(&envelope.kind));
    }
}

#[test]
fn invalid_input_gets_an_error_that_names_the_field() {
    use ErrorCode::{InvalidField, MalformedJson, MissingField};

    let cases = [
        ("{", MalformedJson, "EOF"),
        ("", MalformedJson, "JSON object"),
        ("[1]", MalformedJson, "JSON object"),
        (r#""ping""#, MalformedJson, "JSON object"),
        (r#"{"type":"ping"} x"#, MalformedJson, "trailing"),
        ("{}", MissingField, "`type`"),
        (r#"{"type":7}"#, InvalidField, "`type`"),
        (r#"{"id":7,"type":"ping"}"#, InvalidField, "`id`"),
        (r#"{"type":"subscribe"}"#, MissingField, "`topic`"),
        (r#"{"type":"subscribe","payload":["news"]}"#, InvalidField, "object"),
        (r#"{"type":"subscribe","payload":{"topic":5}}"#, InvalidField, "`topic`"),
        (r#"{"type":"subscribe","payload":{"topic":"a b"}}"#, InvalidField, "letters"),
        (
            r#"{"type":"subscribe","payload":{"topic":"a","position":"+1.0"}}"#,
            InvalidField,
            "`position`",
        ),
        (r#"{"type":"publish","payload":{"topic":"a"}}"#, MissingField, "`data`"),
        (r#"{"type":"publish","payload":{"topic":"a","data":1,"key":""}}"#, InvalidField, "`key`"),
        (
            r#"{"type":"history","payload":{"session":"s","lines":1001}}"#,
            InvalidField,
            "`lines`: must be a whole number from 1 to 1000",
        ),
        (r#"{"type":"history","payload":{"session":"s","lines":0}}"#, InvalidField, "1 to"),
        (r#"{"type":"history","payload":{"session":"s","before":-1}}"#, InvalidField, "`before`"),
        (r#"{"type":"presence","payload":{}}"#, MissingField, "`user`"),
        (r#"{"type":"presence","payload":{"topic":"a","user":"b"}}"#, InvalidField, "only one"),
        (
            r#"{"type":"signal","payload":{"session":"s","signal":"SIGSEGV"}}"#,
            InvalidField,
            "SIGHUP",
        ),
        (r#"{"type":"refresh"}"#, MissingField, "`token`"),
        (r#"{"type":"ping","payload":7}"#, InvalidField, "`payload` must be an object"),
        (r#"{"type":"heartbeat","payload":"now"}"#, InvalidField, "must be an object"),
        (r#"{"type":"list_subscriptions","payload":[]}"#, InvalidField, "an object"),
        (
            r#"{"type":"authenticate","payload":{"token":"t","positions":{"@all":"news"}}}"#,
            InvalidField,
            "`positions.@all`",
        ),
        (
            r#"{"type":"authenticate","payload":{"token":"t","device_id":"a b"}}"#,
            InvalidField,
            "`device_id`",
        ),
        (r#"{"type":"attach","payload":{"session":"s","cols":80}}"#, MissingField, "`rows`"),
        (
            r#"{"type":"attach","payload":{"session":"s","window":262145}}"#,
            InvalidField,
            "`window`: must be a whole number of bytes from 16384 to 262144",
        ),
        (r#"{"type":"attach","payload":{"session":"s","window":16383}}"#, InvalidField, "16384 to"),
        (
            r#"{"type":"resize","payload":{"session":"s","cols":80,"rows":501}}"#,
            InvalidField,
            "`rows` 1 to 500",
        ),
        (
            r#"{"type":"resize","payload":{"session":"s","cols":"a","rows":5}}"#,
            InvalidField,
            "whole numbers",
        ),
        (r#"{"type":"create_session","payload":{"kind":"shell"}}"#, InvalidField, "`terminal`"),
        (
            r#"{"type":"input","payload":{"session":"s","data":"x","seq":-1}}"#,
            InvalidField,
            "`seq`",
        ),
    ];

    for (text, code, part) in cases {
        let error = read(text).expect_err(text);
        assert_eq!(error.code, code, "{text}: {error}");
        assert!(error.message.contains(part), "{text}: {error}");
    }
}

#[test]
fn unknown_fields_are_ignored_and_unknown_types_are_returned() {
    assert!(read(r#"{"type":"ping","new":1,"payload":{"newer":2}}"#).unwrap().contains("Ping"));

    let authenticate =
        r#"{"type":"authenticate","payload":{"token":"t","positions":{"@everywhere":"1.0"}}}"#;
    assert!(read(authenticate).is_ok());

    assert_eq!(read(r#"{"type":"get_state","payload":{}}"#).unwrap(), "None");
    assert!(!message::is_built_in("get_state"));
}

#[test]
fn a_token_is_not_in_the_debug_output() {
    let text = r#"{"type":"authenticate","payload":{"token":"s3cret"}}"#;
    assert!(!read(text).unwrap().contains("s3cret"));
}
