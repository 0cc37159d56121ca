//! The registry of connections: lookups, and the limit per user.

use std::{
    num::NonZeroUsize,
    sync::{Arc, Barrier},
    thread,
};

use proptest::prelude::*;
use rejoin_core::{Connection, Hub, Registration};
use rejoin_protocol::{CloseCode, DeviceId, ErrorCode, UserId};

use crate::support::{connection, connection_from, hub, hub_with, paused, register};

const USERS: [&str; 3] = ["ann", "bob", "eve"];
const DEVICES: [Option<&str>; 3] = [None, Some("laptop"), Some("phone")];

#[derive(Clone, Debug)]
enum Step {
    Join { user: usize, device: usize },
    Leave { which: prop::sample::Index },
    Disconnect { user: usize },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (0..3usize, 0..3usize).prop_map(|(user, device)| Step::Join { user, device }),
        4 => any::<prop::sample::Index>().prop_map(|which| Step::Leave { which }),
        1 => (0..3usize).prop_map(|user| Step::Disconnect { user }),
    ]
}

fn ids(connections: &[Connection]) -> Vec<String> {
    let mut ids: Vec<_> = connections.iter().map(|c| c.id().to_string()).collect();
    ids.sort();
    ids
}

fn assert_lookups(hub: &Hub, registered: &[Registration], removed: &[Connection]) {
    let all: Vec<_> = registered.iter().map(|m| m.connection().clone()).collect();
    assert_eq!(hub.connection_count(), all.len());
    assert_eq!(ids(&hub.connections(None, usize::MAX)), ids(&all));

    let mut users = 0;
    for name in USERS {
        let user = UserId::new(name).unwrap();
        let of_user: Vec<_> = all.iter().filter(|c| *c.user() == user).cloned().collect();
        users += usize::from(!of_user.is_empty());
        assert_eq!(hub.connection_count_of(&user), of_user.len());
        assert_eq!(ids(&hub.connections_of(&user)), ids(&of_user));
        for device in DEVICES.into_iter().flatten() {
            let device = DeviceId::new(device).unwrap();
            let from = of_user.iter().filter(|c| c.device().id.as_ref() == Some(&device));
            let from: Vec<_> = from.cloned().collect();
            assert_eq!(ids(&hub.connections_of_device(&user, &device)), ids(&from));
        }
    }

    assert_eq!(hub.user_count(), users);
    assert!(all.iter().all(|c| hub.connection(c.id()).is_some_and(|found| found.id() == c.id())));
    assert!(removed.iter().all(|c| hub.connection(c.id()).is_none()));

    // The pages together are the sorted list.
    let (mut pages, mut after) = (Vec::new(), None);
    loop {
        let page = hub.connections(after.as_ref(), 2);
        let Some(last) = page.last() else { break };
        after = Some(last.id().clone());
        pages.extend(page);
    }

    assert_eq!(pages.iter().map(|c| c.id().to_string()).collect::<Vec<_>>(), ids(&all));
}

proptest! {
    #[test]
    fn each_lookup_finds_exactly_the_registered_connections(
        steps in prop::collection::vec(step(), 1..60),
    ) {
        paused(async {
            let (hub, _programs, _shutdown) = hub();
            let (mut there, mut gone) = (Vec::new(), Vec::new());
            for step in steps {
                match step {
                    Step::Join { user, device } => {
                        let connection = connection_from(USERS[user], DEVICES[device]);
                        there.push(register(&hub, &connection).unwrap());
                    }
                    Step::Leave { which } if !there.is_empty() => {
                        let registration: Registration = there.remove(which.index(there.len()));
                        gone.push(registration.connection().clone());
                    }
                    Step::Leave { .. } => {}
                    Step::Disconnect { user } => {
                        let user = UserId::new(USERS[user]).unwrap();
                        // The filter may call the hub.
                        let chosen =
                            |c: &Connection| *c.user() == user && hub.connection(c.id()).is_some();
                        let count = hub.disconnect(CloseCode::Disconnected, chosen);
                        assert_eq!(count, hub.connection_count_of(&user));
                        let of_user = hub.connections_of(&user);
                        assert!(of_user.iter().all(|c| c.outbox().is_closed()));
                    }
                }
                assert_lookups(&hub, &there, &gone);
            }
        });
    }
}

#[tokio::test]
async fn racing_connections_stop_exactly_at_the_users_limit() {
    const RACERS: usize = 200;
    const LIMIT: usize = 7;
    for _ in 0..20 {
        let limit = NonZeroUsize::new(LIMIT);
        let (hub, _programs, _shutdown) =
            hub_with(|config| config.limits.connections_per_user = limit);
        let _bob = register(&hub, &connection("bob")).unwrap();
        let start = Arc::new(Barrier::new(RACERS));
        let results: Vec<_> = thread::scope(|scope| {
            let racers: Vec<_> = (0..RACERS)
                .map(|_| {
                    let (hub, start) = (&hub, &start);
                    scope.spawn(move || {
                        let ann = connection("ann");
                        start.wait();
                        register(hub, &ann)
                    })
                })
                .collect();
            racers.into_iter().map(|racer| racer.join().unwrap()).collect()
        });
        let ann = UserId::new("ann").unwrap();
        assert_eq!(hub.connection_count_of(&ann), LIMIT);
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), LIMIT);
        let refused = results.iter().filter_map(|result| result.as_ref().err());
        assert!(refused.clone().all(|error| error.code == ErrorCode::ConnectionLimit));
        drop(results);
        // Dropping the registrations frees the whole limit.
        let again: Vec<_> =
            (0..LIMIT).map(|_| register(&hub, &connection("ann")).unwrap()).collect();
        assert!(register(&hub, &connection("ann")).is_err());
        drop(again);
    }
}
