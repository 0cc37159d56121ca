//! Validation of claims: times, audience, issuer, and the identity that they become.

use std::time::Duration;

use rejoin_auth::{TokenError, TokenRules};
use rejoin_core::{TopicRight, now_ms};
use rejoin_protocol::TopicName;
use serde_json::{Value, json};

use crate::tokens::{check, own, own_verifier};

fn now() -> u64 {
    now_ms() / 1000
}

#[test]
fn times_are_checked_with_the_leeway() {
    let verifier = |leeway| {
        own_verifier(TokenRules { leeway: Duration::from_secs(leeway), ..TokenRules::default() })
    };
    let expired = |ago: u64| own(&json!({ "sub": "ann", "exp": now() - ago }));
    let early = |ahead: u64| own(&json!({ "sub": "ann", "nbf": now() + ahead }));

    assert!(check(&verifier(60), &expired(30)).is_ok());
    assert_eq!(check(&verifier(60), &expired(62)).unwrap_err(), TokenError::Expired);
    assert_eq!(check(&verifier(0), &expired(2)).unwrap_err(), TokenError::Expired);
    assert!(check(&verifier(60), &early(30)).is_ok());
    assert_eq!(check(&verifier(60), &early(90)).unwrap_err(), TokenError::NotYetValid);

    // The default is ten seconds.
    let default = own_verifier(TokenRules::default());
    assert!(check(&default, &expired(5)).is_ok());
    assert_eq!(check(&default, &expired(12)).unwrap_err(), TokenError::Expired);
}

#[test]
fn an_audience_may_be_one_of_several() {
    let rules = || TokenRules {
        issuer: Some("https://login.example".to_owned()),
        audience: Some("rejoin".to_owned()),
        ..TokenRules::default()
    };
    let verifier = own_verifier(rules());
    let with = |audience: Value, issuer: &str| {
        own(&json!({ "sub": "ann", "aud": audience, "iss": issuer }))
    };
    let issuer = "https://login.example";
    assert!(check(&verifier, &with(json!("rejoin"), issuer)).is_ok());
    assert!(check(&verifier, &with(json!(["mail", "rejoin"]), issuer)).is_ok());
    for other in [json!("mail"), json!(["mail", "chat"]), json!([]), json!("rejoin2")] {
        let error = check(&verifier, &with(other, issuer)).unwrap_err();
        assert_eq!(error, TokenError::Audience);
    }

    let error = check(&verifier, &with(json!("rejoin"), "https://login.example.evil")).unwrap_err();
    assert_eq!(error, TokenError::Issuer);
    for missing in
        [json!({ "sub": "ann", "iss": issuer }), json!({ "sub": "ann", "aud": "rejoin" })]
    {
        assert_eq!(check(&verifier, &own(&missing)).unwrap_err().reason(), "claims");
    }

    // Without a rule, any audience is accepted.
    let any = own_verifier(TokenRules::default());
    assert!(check(&any, &with(json!(["a", "b"]), "x")).is_ok());
}

#[test]
fn claims_become_the_identity() {
    let token = own(&json!({
        "sub": "ann", "exp": 4_000_000_000u64, "iat": 1_700_000_000.75, "jti": "t-1",
        "device_id": "phone", "role_context": "teacher of room 7",
        "caps": { "topics": { "news": ["subscribe"] } }, "another": { "claim": [1] },
    }));

    let identity = check(&own_verifier(TokenRules::default()), &token).unwrap();

    assert_eq!(identity.device.unwrap().as_str(), "phone");
    assert_eq!(identity.expires_at, Some(4_000_000_000_000));
    assert_eq!(identity.issued_at, Some(1_700_000_000_000));
    assert_eq!(identity.token_id.as_deref(), Some("t-1"));
    assert_eq!(identity.role_context.as_deref(), Some("teacher of room 7"));

    let may = |name: &str| {
        let topic = TopicName::new(name).unwrap();
        identity.caps.allows_topic(&topic, TopicRight::Subscribe)
    };
    assert!(may("news") && !may("other"));
}

#[test]
fn malformed_claims_are_refused() {
    let verifier = own_verifier(TokenRules::default());
    let cases = [
        json!({}),
        json!({ "sub": "" }),
        json!({ "sub": 5 }),
        json!({ "sub": "ann", "exp": "tomorrow" }),
        json!({ "sub": "ann", "exp": -1 }),
        json!({ "sub": "ann", "exp": 1e300 }),
        json!({ "sub": "ann", "nbf": [] }),
        json!({ "sub": "ann", "jti": "" }),
        json!({ "sub": "ann", "jti": "x".repeat(257) }),
        json!({ "sub": "ann", "jti": 7 }),
        json!({ "sub": "ann", "role_context": "é".repeat(51) }),
        json!({ "sub": "ann", "role_context": "a\nb" }),
        json!({ "sub": "ann", "device_id": "no spaces" }),
        json!({ "sub": "ann", "caps": { "everything": true } }),
        json!({ "sub": "ann", "aud": 5 }),
    ];

    for claims in cases {
        let error = check(&verifier, &own(&claims)).unwrap_err();
        assert_eq!(error.reason(), "claims", "{claims}: {error}");
    }
    assert!(
        check(&verifier, &own(&json!({ "sub": "ann", "role_context": "é".repeat(50) }))).is_ok()
    );
}
