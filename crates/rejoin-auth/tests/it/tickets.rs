//! Tickets: single use, expiry and limits.

use std::{
    sync::{Arc, Barrier},
    time::Duration,
};

use futures_util::FutureExt;
use rejoin_auth::{Ticket, TicketError, Tickets};
use rejoin_core::{Caps, Identity, now_ms};
use rejoin_protocol::UserId;
use tokio::time::advance;

fn identity(user: &str) -> Identity {
    Identity::new(UserId::new(user).unwrap(), Caps::user())
}

/// Issues a ticket in memory, which never waits.
fn issue(tickets: &Tickets, identity: Identity) -> Result<Ticket, TicketError> {
    tickets.issue(identity).now_or_never().unwrap()
}

/// Spends a ticket in memory, which never waits. Returns its identity.
fn redeem(tickets: &Tickets, ticket: &str) -> Option<Identity> {
    let held = tickets.hold(ticket)?;
    let identity = held.identity().clone();
    held.spend().now_or_never().unwrap().unwrap();
    Some(identity)
}

#[tokio::test(start_paused = true)]
async fn a_ticket_is_valid_once_within_thirty_seconds() {
    let tickets = Tickets::in_memory();
    let (first, second) = (issue(&tickets, identity("ann")), issue(&tickets, identity("bob")));
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_ne!(first.text, second.text);
    let left = first.expires_at - now_ms();
    assert!((25_000..=30_000).contains(&left), "{left}");

    assert_eq!(redeem(&tickets, &first.text).unwrap().user.as_str(), "ann");
    assert!(redeem(&tickets, &first.text).is_none());

    advance(Duration::from_secs(29)).await;
    let third = issue(&tickets, identity("eve")).unwrap();
    advance(Duration::from_secs(1)).await;
    assert!(redeem(&tickets, &second.text).is_none());
    assert_eq!(redeem(&tickets, &third.text).unwrap().user.as_str(), "eve");
}

#[test]
fn malformed_and_unknown_tickets_are_refused() {
    let tickets = Tickets::in_memory();
    let good = issue(&tickets, identity("ann")).unwrap().text;
    assert_eq!(good.len(), 43);
    let made_up = "A".repeat(43);
    let long = "A".repeat(100_000);

    for wrong in ["", "A", &good[..42], &format!("{good}="), &format!("{good}A"), &made_up, &long] {
        assert!(redeem(&tickets, wrong).is_none(), "{wrong}");
    }

    assert!(redeem(&tickets, &good).is_some());
}

#[test]
fn one_of_many_concurrent_redemptions_succeeds() {
    const RACERS: usize = 16;
    // Races are rare: many rounds make one likely.
    for _ in 0..50 {
        let tickets = Tickets::in_memory();
        let ticket = issue(&tickets, identity("ann")).unwrap().text;
        let start = Arc::new(Barrier::new(RACERS));

        let won = std::thread::scope(|scope| {
            let racers: Vec<_> = (0..RACERS)
                .map(|_| {
                    scope.spawn(|| {
                        start.wait();
                        redeem(&tickets, &ticket).is_some()
                    })
                })
                .collect();
            racers.into_iter().map(|racer| racer.join().unwrap()).filter(|won| *won).count()
        });
        assert_eq!(won, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn the_unused_tickets_of_a_user_are_limited() {
    let tickets = Tickets::in_memory();
    let first = issue(&tickets, identity("ann")).unwrap();
    for _ in 1..64 {
        issue(&tickets, identity("ann")).unwrap();
    }
    assert!(matches!(issue(&tickets, identity("ann")), Err(TicketError::TooManyOfUser)));
    issue(&tickets, identity("bob")).unwrap();

    // Redeemed and expired tickets free room.
    assert!(redeem(&tickets, &first.text).is_some());
    issue(&tickets, identity("ann")).unwrap();
    assert!(matches!(issue(&tickets, identity("ann")), Err(TicketError::TooManyOfUser)));
    advance(Duration::from_secs(30)).await;
    for _ in 0..64 {
        issue(&tickets, identity("ann")).unwrap();
    }
    assert!(matches!(issue(&tickets, identity("ann")), Err(TicketError::TooManyOfUser)));
}

#[tokio::test(start_paused = true)]
async fn the_unused_tickets_of_all_users_are_limited() {
    let tickets = Tickets::in_memory();
    for user in 0..1024 {
        for _ in 0..64 {
            issue(&tickets, identity(&format!("user-{user}"))).unwrap();
        }
    }

    assert!(matches!(issue(&tickets, identity("ann")), Err(TicketError::TooMany)));
    assert_eq!(format!("{tickets:?}"), "Tickets { unspent: 65536 }");

    advance(Duration::from_secs(30)).await;
    issue(&tickets, identity("ann")).unwrap();
    assert_eq!(format!("{tickets:?}"), "Tickets { unspent: 1 }");
}

#[test]
fn a_ticket_does_not_outlive_its_token() {
    let tickets = Tickets::in_memory();
    let soon = now_ms() + 20_000;
    let ticket = issue(&tickets, Identity { expires_at: Some(soon), ..identity("ann") }).unwrap();
    assert_eq!(ticket.expires_at, soon);
    assert!(redeem(&tickets, &ticket.text).is_some());

    let over = Identity { expires_at: Some(now_ms()), ..identity("ann") };
    let ticket = issue(&tickets, over).unwrap();
    assert!(redeem(&tickets, &ticket.text).is_none());
}

#[test]
fn debug_output_has_no_ticket() {
    let tickets = Tickets::in_memory();
    let ticket = issue(&tickets, identity("ann")).unwrap();
    assert!(!format!("{tickets:?} {ticket:?}").contains(&ticket.text));
}

/// Tickets in the files of a directory, on a clock that the test moves.
mod stored {
    use std::{fs, path::Path};

    use rejoin_core::MachineClock;

    use super::*;

    const BOOT: &str = "boot-1";

    /// Opens the tickets as the process that starts at `now` does.
    fn open(directory: &Path, boot: &str, now: fn() -> u64) -> Tickets {
        Tickets::open(directory, MachineClock { boot: boot.to_owned(), now }).unwrap()
    }

    /// Spends a ticket. Returns its identity.
    async fn spend(tickets: &Tickets, ticket: &Ticket) -> Option<Identity> {
        let held = tickets.hold(&ticket.text)?;
        let identity = held.identity().clone();
        held.spend().await.unwrap();
        Some(identity)
    }

    fn count(directory: &Path) -> usize {
        fs::read_dir(directory).unwrap().count()
    }

    #[tokio::test]
    async fn an_unspent_ticket_outlives_its_process() {
        let directory = tempfile::tempdir().unwrap();
        let tickets = open(directory.path(), BOOT, || 1_000);
        let issuer = Identity {
            expires_at: Some(now_ms() + 60_000),
            issued_at: Some(1),
            token_id: Some("token".into()),
            browser_session: Some("browser".into()),
            ..identity("ann")
        };
        let unspent = tickets.issue(issuer.clone()).await.unwrap();
        let spent = tickets.issue(identity("ann")).await.unwrap();
        let held = tickets.issue(identity("ann")).await.unwrap();
        spend(&tickets, &spent).await.unwrap();
        // The process ends while a request is checked.
        std::mem::forget(tickets.hold(&held.text).unwrap());

        let tickets = open(directory.path(), BOOT, || 2_000);
        assert_eq!(spend(&tickets, &unspent).await, Some(issuer));
        assert!(spend(&tickets, &spent).await.is_none());
        assert!(spend(&tickets, &held).await.is_some());
        assert_eq!(count(directory.path()), 0);
        let tickets = open(directory.path(), BOOT, || 2_000);
        assert!(spend(&tickets, &unspent).await.is_none());
    }

    #[tokio::test]
    async fn no_file_contains_a_ticket() {
        let directory = tempfile::tempdir().unwrap();
        let tickets = open(directory.path(), BOOT, || 1_000);
        let ticket = tickets.issue(identity("ann")).await.unwrap();
        for entry in fs::read_dir(directory.path()).unwrap() {
            let path = entry.unwrap().path();
            let text = format!("{} {}", path.display(), fs::read_to_string(&path).unwrap());
            assert!(text.contains("ann") && !text.contains(&ticket.text), "{text}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_restart_extends_no_ticket() {
        for (boot, now, is_valid) in [
            (BOOT, (|| 30_999) as fn() -> u64, true),
            (BOOT, || 31_000, false),
            ("boot-2", || 1_000, false),
        ] {
            let directory = tempfile::tempdir().unwrap();
            let ticket = open(directory.path(), BOOT, || 1_000).issue(identity("ann")).await;
            let ticket = ticket.unwrap();
            let tickets = open(directory.path(), boot, now);
            assert_eq!(count(directory.path()), usize::from(is_valid), "{boot}");
            assert_eq!(tickets.hold(&ticket.text).is_some(), is_valid, "{boot}");

            // One millisecond is left.
            advance(Duration::from_millis(1)).await;
            assert!(tickets.hold(&ticket.text).is_none());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_with_a_late_expiry_extends_no_ticket() {
        let directory = tempfile::tempdir().unwrap();
        // Written by a process whose clock was an hour ahead.
        let early = open(directory.path(), BOOT, || 3_601_000);
        let ticket = early.issue(identity("ann")).await.unwrap();
        let tickets = open(directory.path(), BOOT, || 1_000);
        advance(Duration::from_secs(30)).await;
        assert!(tickets.hold(&ticket.text).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn files_of_expired_tickets_are_removed() {
        let directory = tempfile::tempdir().unwrap();
        let tickets = open(directory.path(), BOOT, || 1_000);
        for _ in 0..64 {
            tickets.issue(identity("ann")).await.unwrap();
        }
        assert!(tickets.issue(identity("ann")).await.is_err());
        assert_eq!(count(directory.path()), 64);

        advance(Duration::from_secs(30)).await;
        tickets.issue(identity("ann")).await.unwrap();
        assert_eq!(count(directory.path()), 1);
    }

    #[tokio::test]
    async fn damaged_files_are_removed_and_others_kept() {
        let directory = tempfile::tempdir().unwrap();
        let ticket = open(directory.path(), BOOT, || 1_000).issue(identity("ann")).await.unwrap();
        let file = fs::read_dir(directory.path()).unwrap().next().unwrap().unwrap().path();
        let json = fs::read(&file).unwrap();
        let name = |number: usize| directory.path().join(format!("{number:0>43}"));
        fs::write(name(0), &json[..json.len() - 1]).unwrap();
        fs::write(name(4), b"\xff\0random").unwrap();
        fs::write(name(8), "").unwrap();
        fs::write(directory.path().join("notes.txt"), &json).unwrap();

        let tickets = open(directory.path(), BOOT, || 1_000);
        assert_eq!(count(directory.path()), 1);
        assert!(spend(&tickets, &ticket).await.is_some());
    }

    #[tokio::test]
    async fn a_ticket_that_cannot_be_spent_is_given_back() {
        let directory = tempfile::tempdir().unwrap();
        let tickets = open(directory.path(), BOOT, || 1_000);
        let ticket = tickets.issue(identity("ann")).await.unwrap();
        let file = fs::read_dir(directory.path()).unwrap().next().unwrap().unwrap().path();
        // A directory cannot be removed as a file.
        fs::remove_file(&file).unwrap();
        fs::create_dir(&file).unwrap();

        let error = tickets.hold(&ticket.text).unwrap().spend().await.unwrap_err();
        assert!(error.to_string().starts_with("cannot read or write tickets in /"), "{error}");
        fs::remove_dir(&file).unwrap();
        assert!(spend(&tickets, &ticket).await.is_some());
    }

    #[tokio::test]
    async fn a_removed_directory_is_created_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tickets");
        let tickets = open(&path, BOOT, || 1_000);
        let first = tickets.issue(identity("ann")).await.unwrap();
        fs::remove_dir_all(&path).unwrap();
        let second = tickets.issue(identity("ann")).await.unwrap();

        // Without its file no later process accepts the first one.
        assert!(spend(&tickets, &first).await.is_some());
        let tickets = open(&path, BOOT, || 1_000);
        assert!(spend(&tickets, &first).await.is_none());
        assert!(spend(&tickets, &second).await.is_some());
    }
}
