//! Verification of tokens, with each kind of key.

use jsonwebtoken::{Algorithm, Header};
use rejoin_auth::{
    Claims, InvalidKey, Revocations, Signer, Target, TokenError, TokenRules, Verifier,
};
use rejoin_core::{Identity, now_ms};
use rejoin_protocol::UserId;
use serde_json::{Value, json};

use crate::signing::{ED25519, OTHER, P256, P384, Pair, RSA, forge, hs256};

pub(crate) const SECRET: &[u8] = b"thirty-two bytes that no one guesses";
const ALL: [Pair; 4] = [RSA, P256, P384, ED25519];
const RSA_AS_PKCS1: &str = include_str!("../keys/rsa.pkcs1.pub.pem");
const RSA_CERTIFICATE: &str = include_str!("../keys/rsa.certificate.pem");

pub(crate) fn check(verifier: &Verifier, token: &str) -> Result<Identity, TokenError> {
    verifier.verify_at_once(token).expect("the keys are at hand")
}

fn pem(text: &str) -> Verifier {
    Verifier::public_keys(text.as_bytes()).unwrap()
}

fn set(keys: &[Value]) -> Verifier {
    pem(&json!({ "keys": keys }).to_string())
}

/// Signs a token with the server's own secret.
pub(crate) fn own(claims: &Value) -> String {
    hs256(SECRET, &Header::new(Algorithm::HS256), claims)
}

pub(crate) fn own_verifier(rules: TokenRules) -> Verifier {
    Signer::hs256(SECRET).unwrap().verifier().with_rules(rules)
}

#[test]
fn each_algorithm_is_verified_from_pem_and_jwk() {
    for pair in ALL {
        let (from_pem, from_jwk) = (pem(pair.pem), set(&[pair.jwk("a", json!({}))]));
        for &algorithm in pair.algorithms {
            let token = pair.sign(algorithm, None, &json!({ "sub": "ann" }));
            let other = pair.sign(algorithm, None, &json!({ "sub": "bob" }));
            for verifier in [&from_pem, &from_jwk] {
                assert_eq!(check(verifier, &token).unwrap().user.as_str(), "ann", "{algorithm:?}");
                let (_, signature) = token.rsplit_once('.').unwrap();
                let forged = format!("{}.{signature}", other.rsplit_once('.').unwrap().0);
                let error = check(verifier, &forged).unwrap_err();
                assert_eq!(error, TokenError::Signature, "{algorithm:?}");
            }
        }
    }
}

#[test]
fn a_token_of_another_key_is_refused() {
    for verifier in [pem(RSA.pem), set(&[RSA.jwk("a", json!({}))])] {
        assert_eq!(check(&verifier, &OTHER.token(None)).unwrap_err(), TokenError::Signature);
        let error = check(&verifier, &P256.token(None)).unwrap_err();
        assert_eq!(error.reason(), "algorithm");
        let expected = "the token must be signed with PS256, PS384, PS512, RS256, RS384, RS512";
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn a_public_key_is_no_secret_for_hs256() {
    // Signs with HS256 and the public parts of the key as the secret.
    let jwk = RSA.jwk("a", json!({}));
    let der: Vec<u8> = ::pem::parse(RSA.pem).unwrap().into_contents();
    let secrets = [RSA.pem.as_bytes(), RSA.pem.trim().as_bytes(), &der, RSA_AS_PKCS1.as_bytes()];
    for verifier in [pem(RSA.pem), set(std::slice::from_ref(&jwk))] {
        for secret in secrets {
            for kid in [None, Some("a".to_owned())] {
                let header = Header { kid, ..Header::new(Algorithm::HS256) };
                let token = hs256(secret, &header, &json!({ "sub": "ann" }));
                assert_eq!(check(&verifier, &token).unwrap_err().reason(), "algorithm");
            }
        }
    }
}

#[test]
fn a_secret_in_a_file_of_public_keys_is_refused() {
    // `oct` is the type of symmetric keys.
    let secret =
        json!({ "kty": "oct", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldA", "kid": "s" });
    let text = json!({ "keys": [RSA.jwk("a", json!({})), secret] }).to_string();
    assert_eq!(Verifier::public_keys(text.as_bytes()).unwrap_err(), InvalidKey::Private);
}

#[test]
fn an_unsigned_token_is_refused() {
    let claims = json!({ "sub": "ann" });
    for verifier in [own_verifier(TokenRules::default()), pem(RSA.pem)] {
        for algorithm in ["none", "None", "NONE", "nOnE", "", "HS1", "RSA-OAEP"] {
            for signature in [&b""[..], b"x"] {
                let token = forge(&json!({ "alg": algorithm }), &claims, signature);
                assert_eq!(check(&verifier, &token).unwrap_err().reason(), "algorithm");
            }
        }
    }
}

#[test]
fn a_key_in_the_token_itself_is_ignored() {
    let claims = json!({ "sub": "ann" });
    // An attacker's own key in the header would verify the attacker's own signature.
    let mut header = Header::new(Algorithm::RS256);
    header.jwk = Some(serde_json::from_value(OTHER.jwk("a", json!({}))).unwrap());
    header.jku = Some("http://127.0.0.1/keys".to_owned());
    let key = jsonwebtoken::EncodingKey::from_rsa_der(include_bytes!("../keys/other.der"));
    let token = jsonwebtoken::encode(&header, &claims, &key).unwrap();
    assert_eq!(check(&pem(RSA.pem), &token).unwrap_err(), TokenError::Signature);
}

#[test]
fn a_critical_extension_is_refused() {
    let header = Header { crit: Some(vec!["b64".to_owned()]), ..Header::new(Algorithm::HS256) };
    let token = hs256(SECRET, &header, &json!({ "sub": "ann" }));
    let error = check(&own_verifier(TokenRules::default()), &token).unwrap_err();
    assert_eq!(error, TokenError::Malformed);
}

#[test]
fn a_jwk_with_alg_verifies_that_algorithm_only() {
    let verifier = set(&[RSA.jwk("a", json!({ "alg": "PS384", "use": "sig" }))]);
    // The same key signs with all of its algorithms; only the named one is accepted.
    for &algorithm in RSA.algorithms {
        let token = RSA.sign(algorithm, Some("a"), &json!({ "sub": "ann" }));
        let result = check(&verifier, &token);
        if algorithm == Algorithm::PS384 {
            assert!(result.is_ok());
        } else {
            assert_eq!(result.unwrap_err().reason(), "algorithm", "{algorithm:?}");
        }
    }
}

#[test]
fn a_token_is_checked_with_the_key_that_it_names() {
    let keys = [RSA.jwk("one", json!({})), OTHER.jwk("two", json!({})), P256.jwk("p", json!({}))];
    let verifier = set(&keys);
    assert!(check(&verifier, &RSA.token(Some("one"))).is_ok());
    assert!(check(&verifier, &OTHER.token(Some("two"))).is_ok());
    assert_eq!(check(&verifier, &OTHER.token(Some("one"))).unwrap_err(), TokenError::Signature);
    assert_eq!(check(&verifier, &OTHER.token(Some("p"))).unwrap_err().reason(), "algorithm");
    assert_eq!(check(&verifier, &RSA.token(Some("three"))).unwrap_err(), TokenError::UnknownKey);

    // A token without `kid` may be signed by any key.
    assert!(check(&verifier, &OTHER.token(None)).is_ok());
    assert!(check(&verifier, &P256.token(None)).is_ok());

    // A key without an id matches any `kid`: keys in PEM have none.
    assert!(check(&pem(RSA.pem), &RSA.token(Some("any"))).is_ok());
}

#[test]
fn keys_for_other_uses_are_skipped() {
    let useless = [
        RSA.jwk("a", json!({ "use": "enc" })),
        RSA.jwk("a", json!({ "alg": "RSA-OAEP" })),
        RSA.jwk("a", json!({ "alg": "ES256" })),
        RSA.jwk("a", json!({ "alg": "HS256" })),
        RSA.jwk("a", json!({ "key_ops": ["encrypt"] })),
        RSA.jwk("a", json!({ "n": "AQAB" })),
        RSA.jwk("a", json!({ "n": "not base64!" })),
        RSA.jwk("a", json!({ "kty": "MAGIC" })),
        P256.jwk("a", json!({ "crv": "P-521" })),
        P256.jwk("a", json!({ "x": P384.jwk("", json!({}))["x"] })),
        json!({}),
        json!("a text"),
    ];
    for key in &useless {
        let text = json!({ "keys": [key] }).to_string();
        assert_eq!(Verifier::public_keys(text.as_bytes()).unwrap_err(), InvalidKey::NoKey, "{key}");
    }

    let good = RSA.jwk("b", json!({ "key_ops": ["verify"] }));
    let verifier = set(&[&useless[..], &[good]].concat());
    assert!(check(&verifier, &RSA.token(Some("b"))).is_ok());
    assert_eq!(check(&verifier, &RSA.token(Some("a"))).unwrap_err(), TokenError::UnknownKey);
}

#[test]
fn public_keys_are_read_in_each_format() {
    let several = [P256.pem, ED25519.pem].concat();
    for text in [RSA.pem, RSA_AS_PKCS1, RSA_CERTIFICATE] {
        assert!(check(&pem(text), &RSA.token(None)).is_ok(), "{text}");
    }
    assert!(check(&pem(&several), &P256.token(None)).is_ok());
    assert!(check(&pem(&several), &ED25519.token(None)).is_ok());
    assert_eq!(check(&pem(&several), &RSA.token(None)).unwrap_err().reason(), "algorithm");
}

#[test]
fn text_without_usable_keys_is_refused_with_the_reason() {
    let block = |label: &str, bytes: &[u8]| ::pem::encode(&::pem::Pem::new(label, bytes));
    let private = include_bytes!("../keys/p256.der");
    let cut = ::pem::parse(RSA.pem).unwrap().into_contents();
    let cases = [
        (String::new(), InvalidKey::NoKey),
        ("a password".to_owned(), InvalidKey::NoKey),
        (block("PRIVATE KEY", private), InvalidKey::Private),
        (block("EC PRIVATE KEY", private), InvalidKey::Private),
        (block("RSA PRIVATE KEY", private), InvalidKey::Private),
        (block("ENCRYPTED PRIVATE KEY", private), InvalidKey::Private),
        ([RSA.pem, &block("PRIVATE KEY", private)].concat(), InvalidKey::Private),
        (
            block("CERTIFICATE REQUEST", b""),
            InvalidKey::Label { label: "CERTIFICATE REQUEST".to_owned() },
        ),
        (block("PUBLIC KEY", private), InvalidKey::Damaged),
        (block("PUBLIC KEY", &cut[..200]), InvalidKey::Damaged),
        (block("RSA PUBLIC KEY", b""), InvalidKey::Damaged),
        (block("CERTIFICATE", &cut), InvalidKey::Damaged),
        (include_str!("../keys/rsa1024.pub.pem").to_owned(), InvalidKey::Kind),
        (include_str!("../keys/p521.pub.pem").to_owned(), InvalidKey::Kind),
        (include_str!("../keys/k256.pub.pem").to_owned(), InvalidKey::Kind),
        (
            json!({ "keys": [P256.jwk("a", json!({ "d": "AQAB" }))] }).to_string(),
            InvalidKey::Private,
        ),
        (
            json!({ "keys": vec![json!({}); 65] }).to_string(),
            InvalidKey::TooMany { count: 65, max: 64 },
        ),
    ];

    for (text, expected) in cases {
        assert_eq!(Verifier::public_keys(text.as_bytes()).unwrap_err(), expected, "{text}");
    }

    let error = Verifier::public_keys(b"{\"keys\": 5}").unwrap_err();
    assert!(matches!(error, InvalidKey::Jwks(_)), "{error}");
}

#[test]
fn malformed_and_long_tokens_are_refused() {
    let verifier = own_verifier(TokenRules::default());
    let good = own(&json!({ "sub": "ann" }));
    let cases = [
        String::new(),
        "..".to_owned(),
        "a.b.c".to_owned(),
        good.replacen('.', "..", 1),
        format!("{good}.x"),
        format!("{good}="),
        format!(" {good}"),
        good.rsplit_once('.').unwrap().0.to_owned(),
        forge(&json!([]), &json!({}), b""),
        forge(&json!({ "alg": 5 }), &json!({}), b""),
        "é".repeat(100),
    ];

    for token in cases {
        assert_eq!(check(&verifier, &token).unwrap_err(), TokenError::Malformed, "{token}");
    }

    let long = own(&json!({ "sub": "ann", "another": "x".repeat(16 * 1024) }));
    assert_eq!(check(&verifier, &long).unwrap_err(), TokenError::TooLong);
    let nearly = own(&json!({ "sub": "ann", "another": "x".repeat(12_000) }));
    assert!(nearly.len() < 16 * 1024 && check(&verifier, &nearly).is_ok());
}

#[tokio::test]
async fn a_revoked_token_is_refused() {
    let revocations = Revocations::in_memory();
    let signer = Signer::hs256(SECRET).unwrap();
    let user = UserId::new("ann").unwrap();
    let claims = Claims { jti: Some("t-1".to_owned()), ..Claims::new(user) };
    let verifier = signer.verifier().with_revocations(revocations.clone());
    let token = signer.sign(&claims).unwrap();

    let identity = verifier.verify(&token).await.unwrap();
    assert!(verifier.recheck(&identity).is_ok());

    revocations.revoke(Target::Token("t-1".into()), None).await.unwrap();
    assert_eq!(verifier.verify(&token).await.unwrap_err(), TokenError::Revoked);
    assert_eq!(verifier.recheck(&identity).unwrap_err(), TokenError::Revoked);

    let ended = Identity { expires_at: Some(now_ms() - 11_000), token_id: None, ..identity };
    assert_eq!(verifier.recheck(&ended).unwrap_err(), TokenError::Expired);
}

#[test]
fn debug_output_has_no_key() {
    let signer = Signer::hs256(SECRET).unwrap();
    let printed = format!("{signer:?} {:?} {:?}", signer.verifier(), pem(RSA.pem));
    assert!(!printed.contains("thirty") && !printed.contains("116, 104"), "{printed}");

    let error = Signer::hs256(b"a short secret").unwrap_err();
    assert!(!format!("{error} {error:?}").contains("a short secret"));
}
