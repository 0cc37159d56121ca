//! Revocations of users and tokens, in memory and on disk.

use std::{fs, os::unix::fs::PermissionsExt};

use rejoin_auth::{RevocationError, Revocations, Target};
use rejoin_core::{Caps, Identity, now_ms};
use rejoin_protocol::UserId;

fn identity(user: &str, issued_at: Option<u64>, token_id: Option<&str>) -> Identity {
    let identity = Identity::new(UserId::new(user).unwrap(), Caps::user());
    Identity { issued_at, token_id: token_id.map(Into::into), ..identity }
}

fn user(name: &str) -> Target {
    Target::User(UserId::new(name).unwrap())
}

fn token(id: &str) -> Target {
    Target::Token(id.into())
}

#[tokio::test]
async fn revoking_a_user_refuses_older_tokens_only() {
    let revocations = Revocations::in_memory();
    let before = now_ms();
    assert!(!revocations.is_revoked(&identity("ann", Some(before), None)));

    let revocation = revocations.revoke(user("ann"), None).await.unwrap();

    assert_eq!(revocation.until - revocation.revoked_at, 30 * 24 * 60 * 60 * 1000);
    assert!(revocations.is_revoked(&identity("ann", Some(before), None)));
    assert!(revocations.is_revoked(&identity("ann", Some(revocation.revoked_at), None)));
    assert!(
        revocations.is_revoked(&identity("ann", None, Some("t-1"))),
        "a token without `iat` may be old"
    );
    assert!(!revocations.is_revoked(&identity("ann", Some(revocation.revoked_at + 1), None)));
    assert!(!revocations.is_revoked(&identity("bob", Some(before), None)));
}

#[tokio::test]
async fn revoking_a_token_id_refuses_that_token_only() {
    let revocations = Revocations::in_memory();
    revocations.revoke(token("t-1"), None).await.unwrap();

    assert!(revocations.is_revoked(&identity("ann", Some(now_ms() + 60_000), Some("t-1"))));
    assert!(!revocations.is_revoked(&identity("ann", None, Some("t-2"))));
    assert!(!revocations.is_revoked(&identity("ann", None, None)));
}

#[tokio::test]
async fn a_revocation_is_listed_until_it_is_lifted() {
    let revocations = Revocations::in_memory();
    let until = now_ms() + 60_000;
    revocations.revoke(user("ann"), Some(until)).await.unwrap();
    revocations.revoke(token("t-1"), None).await.unwrap();

    let list = revocations.list();
    assert_eq!(list.len(), 2);
    assert!(list.iter().any(|one| one.target == user("ann") && one.until == until));

    assert!(revocations.lift(&user("ann")).await.unwrap());
    assert!(!revocations.lift(&user("ann")).await.unwrap());
    assert!(!revocations.is_revoked(&identity("ann", None, None)));
    assert!(revocations.lift(&token("t-1")).await.unwrap());
    assert_eq!(revocations.list(), []);
}

#[tokio::test]
async fn a_second_revocation_never_shortens_the_first() {
    let revocations = Revocations::in_memory();
    let first = revocations.revoke(user("ann"), None).await.unwrap();
    let again = revocations.revoke(user("ann"), Some(now_ms() + 60_000)).await.unwrap();

    assert!(again.revoked_at >= first.revoked_at);
    assert_eq!(again.until, first.until);
    assert_eq!(revocations.list(), [again]);
}

#[tokio::test]
async fn invalid_targets_and_past_expiries_are_refused() {
    let revocations = Revocations::in_memory();
    for id in [String::new(), "x".repeat(257)] {
        let error = revocations.revoke(token(&id), None).await.unwrap_err();
        assert!(matches!(error, RevocationError::InvalidTokenId), "{error}");
    }

    let error = revocations.revoke(user("ann"), Some(now_ms())).await.unwrap_err();
    assert!(matches!(error, RevocationError::Past), "{error}");
    assert_eq!(revocations.list(), []);
}

#[tokio::test]
async fn the_number_of_revocations_is_limited() {
    let revocations = Revocations::in_memory();
    for id in 0..100_000 {
        revocations.revoke(token(&id.to_string()), None).await.unwrap();
    }

    let error = revocations.revoke(user("ann"), None).await.unwrap_err();
    assert!(matches!(error, RevocationError::TooMany), "{error}");

    revocations.revoke(token("0"), None).await.unwrap();
    assert!(revocations.lift(&token("0")).await.unwrap());
    revocations.revoke(user("ann"), None).await.unwrap();
}

#[tokio::test]
async fn a_revocation_survives_a_restart() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("data/revocations.json");
    let revocations = Revocations::open(&path).unwrap();
    let mut expected = vec![
        revocations.revoke(user("ann"), None).await.unwrap(),
        revocations.revoke(token("t-1"), None).await.unwrap(),
    ];
    revocations.revoke(token("t-2"), None).await.unwrap();
    assert!(revocations.lift(&token("t-2")).await.unwrap());
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

    let again = Revocations::open(&path).unwrap();
    let mut list = again.list();
    list.sort_by_key(|one| format!("{:?}", one.target));
    expected.sort_by_key(|one| format!("{:?}", one.target));
    assert_eq!(list, expected);
    assert!(again.is_revoked(&identity("bob", None, Some("t-1"))));

    let left: Vec<_> = fs::read_dir(path.parent().unwrap()).unwrap().collect();
    assert_eq!(left.len(), 1, "no draft is left behind");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_acknowledged_revocation_is_on_disk() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("revocations.json");
    let revocations = Revocations::open(&path).unwrap();
    // Concurrent revocations share writes; each must still wait for its own.
    let each = (0..100).map(|id| {
        let (revocations, path) = (revocations.clone(), path.clone());
        async move {
            let id = format!("t-{id}");
            revocations.revoke(token(&id), None).await.unwrap();
            let on_disk = Revocations::open(&path).unwrap();
            assert!(on_disk.is_revoked(&identity("ann", None, Some(&id))), "{id}");
        }
    });
    futures_util::future::join_all(each).await;

    assert_eq!(Revocations::open(&path).unwrap().list().len(), 100);
}

#[tokio::test]
async fn a_revocation_is_in_effect_although_it_cannot_be_written() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("revocations.json");
    let revocations = Revocations::open(&path).unwrap();
    // No file can replace a directory that is not empty.
    fs::create_dir_all(path.join("in the way")).unwrap();

    let error = revocations.revoke(user("ann"), None).await.unwrap_err();
    assert!(matches!(error, RevocationError::NotWritten { .. }), "{error}");
    assert!(revocations.is_revoked(&identity("ann", None, None)));

    fs::remove_dir_all(&path).unwrap();
    revocations.revoke(user("ann"), None).await.unwrap();
    assert_eq!(Revocations::open(&path).unwrap().list().len(), 1);
}

#[test]
fn a_damaged_file_is_an_error() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("revocations.json");
    for text in [
        "",
        "{",
        "[]",
        r#"{"version":2,"revocations":[]}"#,
        r#"{"version":1,"revocations":[{"target":{"user":"ann"}}]}"#,
        r#"{"version":1,"revocations":[{"target":{"user":""},"revoked_at":1,"until":4000000000000}]}"#,
    ] {
        fs::write(&path, text).unwrap();
        let error = Revocations::open(&path).unwrap_err();
        assert!(matches!(error, RevocationError::Damaged { .. }), "{text}: {error}");
        assert!(error.to_string().contains("revocations.json is damaged"), "{error}");
    }

    let text = r#"{"version":1,"revocations":[{"target":{"user":"ann"},"revoked_at":1,"until":2,
        "left_ms":0},
        {"target":{"token":"t-1"},"revoked_at":1,"until":4000000000000}]}"#;
    fs::write(&path, text).unwrap();
    let list = Revocations::open(&path).unwrap().list();
    assert_eq!(list.len(), 1, "expired entries are ignored: {list:?}");
}
