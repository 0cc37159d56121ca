//! Tickets: single use, expiry and limits.

use std::{
    sync::{Arc, Barrier},
    time::Duration,
};

use rejoin_auth::{Tickets, TooMany};
use rejoin_core::{Caps, Identity, now_ms};
use rejoin_protocol::UserId;
use tokio::time::advance;

fn identity(user: &str) -> Identity {
    Identity::new(UserId::new(user).unwrap(), Caps::user())
}

#[tokio::test(start_paused = true)]
async fn a_ticket_is_valid_once_within_thirty_seconds() {
    let tickets = Tickets::new();
    let (first, second) = (tickets.issue(identity("ann")), tickets.issue(identity("bob")));
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_ne!(first.text, second.text);
    let left = first.expires_at - now_ms();
    assert!((25_000..=30_000).contains(&left), "{left}");

    assert_eq!(tickets.redeem(&first.text).unwrap().user.as_str(), "ann");
    assert!(tickets.redeem(&first.text).is_none());

    advance(Duration::from_secs(29)).await;
    let third = tickets.issue(identity("eve")).unwrap();
    advance(Duration::from_secs(1)).await;
    assert!(tickets.redeem(&second.text).is_none());
    assert_eq!(tickets.redeem(&third.text).unwrap().user.as_str(), "eve");
}

#[test]
fn malformed_and_unknown_tickets_are_refused() {
    let tickets = Tickets::new();
    let good = tickets.issue(identity("ann")).unwrap().text;
    assert_eq!(good.len(), 43);
    let made_up = "A".repeat(43);
    let long = "A".repeat(100_000);

    for wrong in ["", "A", &good[..42], &format!("{good}="), &format!("{good}A"), &made_up, &long] {
        assert!(tickets.redeem(wrong).is_none(), "{wrong}");
    }

    assert!(tickets.redeem(&good).is_some());
}

#[test]
fn one_of_many_concurrent_redemptions_succeeds() {
    const RACERS: usize = 16;
    // Races are rare: many rounds make one likely.
    for _ in 0..50 {
        let tickets = Tickets::new();
        let ticket = tickets.issue(identity("ann")).unwrap().text;
        let start = Arc::new(Barrier::new(RACERS));

        let won = std::thread::scope(|scope| {
            let racers: Vec<_> = (0..RACERS)
                .map(|_| {
                    scope.spawn(|| {
                        start.wait();
                        tickets.redeem(&ticket).is_some()
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
    let tickets = Tickets::new();
    let first = tickets.issue(identity("ann")).unwrap();
    for _ in 1..64 {
        tickets.issue(identity("ann")).unwrap();
    }
    assert_eq!(tickets.issue(identity("ann")).unwrap_err(), TooMany::OfUser);
    tickets.issue(identity("bob")).unwrap();

    // Redeemed and expired tickets free room.
    assert!(tickets.redeem(&first.text).is_some());
    tickets.issue(identity("ann")).unwrap();
    assert_eq!(tickets.issue(identity("ann")).unwrap_err(), TooMany::OfUser);
    advance(Duration::from_secs(30)).await;
    for _ in 0..64 {
        tickets.issue(identity("ann")).unwrap();
    }
    assert_eq!(tickets.issue(identity("ann")).unwrap_err(), TooMany::OfUser);
}

#[tokio::test(start_paused = true)]
async fn the_unused_tickets_of_all_users_are_limited() {
    let tickets = Tickets::new();
    for user in 0..1024 {
        for _ in 0..64 {
            tickets.issue(identity(&format!("user-{user}"))).unwrap();
        }
    }

    assert_eq!(tickets.issue(identity("ann")).unwrap_err(), TooMany::InAll);
    assert_eq!(format!("{tickets:?}"), "Tickets { unspent: 65536 }");

    advance(Duration::from_secs(30)).await;
    tickets.issue(identity("ann")).unwrap();
    assert_eq!(format!("{tickets:?}"), "Tickets { unspent: 1 }");
}

#[test]
fn a_ticket_does_not_outlive_its_token() {
    let tickets = Tickets::new();
    let soon = now_ms() + 20_000;
    let ticket = tickets.issue(Identity { expires_at: Some(soon), ..identity("ann") }).unwrap();
    assert_eq!(ticket.expires_at, soon);
    assert!(tickets.redeem(&ticket.text).is_some());

    let over = Identity { expires_at: Some(now_ms()), ..identity("ann") };
    let ticket = tickets.issue(over).unwrap();
    assert!(tickets.redeem(&ticket.text).is_none());
}

#[test]
fn debug_output_has_no_ticket() {
    let tickets = Tickets::new();
    let ticket = tickets.issue(identity("ann")).unwrap();
    assert!(!format!("{tickets:?} {ticket:?}").contains(&ticket.text));
}
