//! Tokens as an issuer signs them, with the test keys of `tests/keys`.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

/// A key pair of `tests/keys`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pair {
    /// The name of the public key in `jwks.json`.
    pub(crate) name: &'static str,
    /// The public key as PEM.
    pub(crate) pem: &'static str,
    private: &'static [u8],
    pub(crate) algorithms: &'static [Algorithm],
}

pub(crate) const RSA: Pair = Pair {
    name: "rsa",
    pem: include_str!("../keys/rsa.pub.pem"),
    private: include_bytes!("../keys/rsa.der"),
    algorithms: &[
        Algorithm::RS256,
        Algorithm::RS384,
        Algorithm::RS512,
        Algorithm::PS256,
        Algorithm::PS384,
        Algorithm::PS512,
    ],
};
/// A second RSA key, without PEM.
pub(crate) const OTHER: Pair =
    Pair { name: "other", pem: "", private: include_bytes!("../keys/other.der"), ..RSA };
pub(crate) const P256: Pair = Pair {
    name: "p256",
    pem: include_str!("../keys/p256.pub.pem"),
    private: include_bytes!("../keys/p256.der"),
    algorithms: &[Algorithm::ES256],
};
pub(crate) const P384: Pair = Pair {
    name: "p384",
    pem: include_str!("../keys/p384.pub.pem"),
    private: include_bytes!("../keys/p384.der"),
    algorithms: &[Algorithm::ES384],
};
pub(crate) const ED25519: Pair = Pair {
    name: "ed25519",
    pem: include_str!("../keys/ed25519.pub.pem"),
    private: include_bytes!("../keys/ed25519.der"),
    algorithms: &[Algorithm::EdDSA],
};

impl Pair {
    /// Signs a token that names this key by `kid`.
    pub(crate) fn sign(&self, algorithm: Algorithm, kid: Option<&str>, claims: &Value) -> String {
        let key = match self.name {
            "rsa" | "other" => EncodingKey::from_rsa_der(self.private),
            "ed25519" => EncodingKey::from_ed_der(self.private),
            _ => EncodingKey::from_ec_der(self.private),
        };
        let header = Header { kid: kid.map(str::to_owned), ..Header::new(algorithm) };
        encode(&header, claims, &key).unwrap()
    }

    /// Signs a token for `ann` with the key's first algorithm.
    pub(crate) fn token(&self, kid: Option<&str>) -> String {
        self.sign(self.algorithms[0], kid, &json!({ "sub": "ann", "exp": 4_000_000_000u64 }))
    }

    /// Returns the public key as a JWK with this id and other fields.
    pub(crate) fn jwk(&self, kid: &str, fields: Value) -> Value {
        let all: Value = serde_json::from_str(include_str!("../keys/jwks.json")).unwrap();
        let mut jwk = all[self.name].clone();
        jwk["kid"] = kid.into();
        let Value::Object(fields) = fields else { panic!("not an object") };
        jwk.as_object_mut().unwrap().extend(fields);
        jwk
    }
}

/// Returns a token with any header and any signature.
pub(crate) fn forge(header: &Value, claims: &Value, signature: &[u8]) -> String {
    let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
    let (header, claims) = (header.to_string(), claims.to_string());
    format!("{}.{}.{}", encode(header.as_bytes()), encode(claims.as_bytes()), encode(signature))
}

/// Signs a token with HS256 and these bytes as the secret.
pub(crate) fn hs256(secret: &[u8], header: &Header, claims: &Value) -> String {
    encode(header, claims, &EncodingKey::from_secret(secret)).unwrap()
}
