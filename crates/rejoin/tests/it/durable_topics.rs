//! Topics that survive a crash of the server.

use std::{collections::BTreeSet, fs, thread};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{
    TestHome, TestServer,
    frame_client::{FrameClient, message_with_id},
};

const CONFIG: &str = "[topics.\"jobs*\"]\ndurable = true\nretain = { frames = 100000 }\n";
/// Connections that publish at the same time.
const PUBLISHERS: u64 = 4;
/// Messages that a connection publishes ahead of their answers.
const AHEAD: u64 = 20;

fn home() -> TestHome {
    let home = TestHome::new();
    home.write("rejoin.toml", CONFIG);
    home
}

/// Publishes until the server is killed. Returns the acknowledged positions with their data.
fn publish_until_killed(client: &mut FrameClient, prefix: &str) -> Vec<(String, String)> {
    let mut acknowledged = Vec::new();
    for number in 0_u64.. {
        let data = format!("{prefix}-{number}");
        let publish = json!({"topic": "jobs", "data": data});
        client.send(&[message_with_id(&data, "publish", publish)]);
        if number < AHEAD {
            continue;
        }

        let Ok(ack) = client.wait_for(|message| !message["reply_to"].is_null()) else { break };
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        acknowledged.push((text(&ack["payload"]["position"]), text(&ack["reply_to"])));
    }
    acknowledged
}

/// Returns the positions and the data of all retained messages.
fn retained(server: &TestServer) -> Vec<(String, String)> {
    let (api, mut messages, mut after) = (server.admin_api(), Vec::new(), String::new());
    loop {
        let (status, page) = api.get(&format!("/topics/jobs/history?limit=1000{after}"));
        assert_eq!(status, 200, "{page}");
        let text = |message: &Value, field: &str| message[field].as_str().unwrap().to_owned();
        let list = page["messages"].as_array().unwrap();
        messages.extend(list.iter().map(|it| (text(it, "position"), text(it, "data"))));
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => return messages,
        }
    }
}

#[test]
fn killed_servers_keep_each_acknowledged_message() {
    let home = home();
    let mut acknowledged = BTreeSet::new();
    let mut subscribed = None;
    for round in 0..5 {
        let server = home.start_server();
        let token = server.admin_token();

        // A subscriber of the last process missed what was published after it.
        let mut client = server.frame_client(token, "subscriber");
        let start = client.request("subscribe", json!({"topic": "jobs", "position": subscribed}));
        let verdict = if round == 0 { "fresh" } else { "resumed" };
        assert_eq!(start["payload"]["verdict"], verdict, "{start}");
        subscribed = start["payload"]["position"].as_str().map(str::to_owned);

        let publishers: Vec<_> =
            (0..PUBLISHERS).map(|_| server.frame_client(token, "publisher")).collect();
        let published = thread::scope(|scope| {
            let publish = |(number, mut client): (usize, FrameClient)| {
                let prefix = format!("{round}-{number}");
                scope.spawn(move || publish_until_killed(&mut client, &prefix))
            };
            let threads: Vec<_> = publishers.into_iter().enumerate().map(publish).collect();
            // The subscriber has read some messages of this round when the server is killed.
            let of_this_round = |message: &Value| {
                let data = message["payload"]["data"].as_str();
                data.is_some_and(|data| data.starts_with(&format!("{round}-")))
            };
            for _ in 0..100 {
                client.wait_for(of_this_round).unwrap();
            }
            server.signal(Signal::KILL);
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        acknowledged.extend(published);
    }

    let server = home.start_server();
    let messages = retained(&server);
    let kept: BTreeSet<_> = messages.iter().cloned().collect();
    assert!(acknowledged.len() > 100, "{} messages", acknowledged.len());
    let lost: Vec<_> = acknowledged.difference(&kept).take(3).collect();
    assert!(lost.is_empty(), "lost, or moved to another position: {lost:?}");

    let unique = |part: fn(&(String, String)) -> &String| {
        messages.iter().map(part).collect::<BTreeSet<_>>().len()
    };
    let count = messages.len();
    assert_eq!((unique(|it| &it.0), unique(|it| &it.1)), (count, count), "repeated");
}

#[test]
fn a_key_is_used_once_also_after_a_crash() {
    let home = home();
    let server = home.start_server();
    let publish = json!({"topic": "jobs", "data": "once", "key": "k"});
    let (status, first) = server.admin_api().post("/publish", &publish);
    assert_eq!(status, 200, "{first}");
    server.stop(Signal::KILL);

    let server = home.start_server();
    assert_eq!(server.admin_api().post("/publish", &publish), (200, first));
    assert_eq!(server.admin_api().published("jobs"), [json!("once")]);
}

#[test]
fn a_header_key_is_used_once_also_after_a_crash() {
    let home = home();
    let server = home.start_server();
    let publish = json!({"topic": "jobs", "data": "once"});
    let send = |server: &TestServer| server.admin_api().post_with_key("/publish", &publish, "k");
    let first = send(&server);
    assert_eq!(first.0, 200, "{}", first.1);
    server.stop(Signal::KILL);

    let server = home.start_server();
    assert_eq!(send(&server), first);
    assert_eq!(server.admin_api().published("jobs"), [json!("once")]);
}

#[test]
fn other_topics_report_a_gap_after_a_crash() {
    let home = home();
    let server = home.start_server();
    for topic in ["jobs", "news"] {
        server.admin_api().publish(topic, &json!(1));
    }
    let mut client = server.frame_client(server.admin_token(), "subscriber");
    let mut position = |topic: &str| {
        client.request("subscribe", json!({"topic": topic}))["payload"]["position"].clone()
    };
    let positions = [position("jobs"), position("news")];
    server.stop(Signal::KILL);

    let server = home.start_server();
    let mut client = server.frame_client(server.admin_token(), "subscriber");
    let mut verdict = |topic: &str, position: &Value| {
        let subscribe = json!({"topic": topic, "position": position});
        client.request("subscribe", subscribe)["payload"]["verdict"].clone()
    };
    let topics = server.admin_api().get("/topics").1["topics"].clone();
    let durable = |name: &str| {
        let topics = topics.as_array().unwrap();
        topics.iter().find(|topic| topic["name"] == name).map(|topic| topic["durable"].clone())
    };
    assert_eq!(durable("jobs"), Some(json!(true)));
    assert_eq!(durable("news"), None, "it starts over with its next use");

    assert_eq!(verdict("jobs", &positions[0]), "resumed");
    assert_eq!(verdict("news", &positions[1]), "gap");
}

#[test]
fn a_damaged_journal_is_kept_aside_and_a_gap_reported() {
    let home = home();
    let server = home.start_server();
    let api = server.admin_api();
    for data in 0..3 {
        api.publish("jobs", &json!(data));
    }
    let mut client = server.frame_client(server.admin_token(), "subscriber");
    let position = client.request("subscribe", json!({"topic": "jobs"}));
    let position = position["payload"]["position"].clone();
    server.stop(Signal::KILL);

    let journal = home.data_path("journal");
    let mut content = fs::read(&journal).unwrap();
    content[20] ^= 1;
    fs::write(&journal, content).unwrap();

    let server = home.start_server();
    server.wait_for_log("the journal is damaged");
    assert!(home.data_path("journal.damaged").exists());
    let mut client = server.frame_client(server.admin_token(), "subscriber");
    let start = client.request("subscribe", json!({"topic": "jobs", "position": position}));
    assert_eq!(start["payload"]["verdict"], "gap", "{start}");
}

#[test]
fn events_for_users_and_devices_survive_a_crash() {
    let home = TestHome::new();
    let server = home.start_server();
    let subscribe = |server: &TestServer, topic: &str, position: &Value| {
        let mut client = server.frame_client(server.admin_token(), "phone");
        let subscribe = json!({"topic": topic, "position": position});
        client.request("subscribe", subscribe)["payload"].clone()
    };
    // Nothing was emitted yet, so the positions are from before the first event.
    let topics = ["@all", "@user", "@device"];
    let before = topics.map(|topic| subscribe(&server, topic, &Value::Null)["position"].clone());

    let api = server.admin_api();
    let user = api.get("/me").1["user_id"].as_str().unwrap().to_owned();
    let paths = [
        "/broadcast".to_owned(),
        format!("/users/{user}/emit"),
        format!("/users/{user}/devices/phone/emit"),
    ];
    let emit = |server: &TestServer, path: &str| {
        let (status, answer) = server.admin_api().post(path, &json!({"data": 1}));
        assert_eq!(status, 200, "{answer}");
        answer["position"].as_str().unwrap().to_owned()
    };
    let emitted: Vec<_> =
        paths.iter().map(|path| [emit(&server, path), emit(&server, path)]).collect();
    server.stop(Signal::KILL);

    let server = home.start_server();
    for ((topic, before), [first, _]) in topics.iter().zip(&before).zip(&emitted) {
        let start = subscribe(&server, topic, before);
        assert_eq!(
            (&start["verdict"], &start["replayed"]),
            (&json!("resumed"), &json!(2)),
            "{topic}"
        );
        let start = subscribe(&server, topic, &json!(first));
        assert_eq!(
            (&start["verdict"], &start["replayed"]),
            (&json!("resumed"), &json!(1)),
            "{topic}"
        );
    }
    for (path, [first, second]) in paths.iter().zip(&emitted) {
        let third = emit(&server, path);
        assert!(third != *first && third != *second, "{third} has two meanings");
    }
}

#[test]
fn other_events_are_a_gap_after_a_crash() {
    let home = TestHome::new();
    home.write("rejoin.toml", "[emits]\ndurable = false\n");
    let server = home.start_server();
    let subscribe = |server: &TestServer, position: &Value| {
        let mut client = server.frame_client(server.admin_token(), "phone");
        let subscribe = json!({"topic": "@all", "position": position});
        client.request("subscribe", subscribe)["payload"].clone()
    };
    let before = subscribe(&server, &Value::Null)["position"].clone();
    assert_eq!(server.admin_api().post("/broadcast", &json!({"data": 1})).0, 200);
    server.stop(Signal::TERM);

    let server = home.start_server();
    assert_eq!(subscribe(&server, &before)["verdict"], "resumed", "a clean stop keeps them");
    server.stop(Signal::KILL);

    let server = home.start_server();
    assert_eq!(subscribe(&server, &before)["verdict"], "gap");
}

#[test]
fn messages_survive_a_removed_journal_and_a_crash() {
    let home = home();
    let server = home.start_server();
    server.admin_api().publish("jobs", &json!(1));
    fs::remove_file(home.data_path("journal")).unwrap();
    server.admin_api().publish("jobs", &json!(2));
    server.wait_for_log("the journal was removed or replaced");
    server.stop(Signal::KILL);

    let server = home.start_server();
    assert_eq!(server.admin_api().published("jobs"), [json!(1), json!(2)]);
}

#[test]
fn a_journal_of_another_version_is_refused() {
    let home = home();
    fs::create_dir_all(home.data_path("")).unwrap();
    fs::write(home.data_path("journal"), "RJJ9 and more").unwrap();
    let error = home.error_of(&["serve", "--listen", "127.0.0.1:0"]);
    assert!(error.contains("version 9") && error.contains("reads version 2"), "{error}");
    assert!(home.data_path("journal").exists());
}

#[test]
fn an_unreadable_journal_is_reported_at_the_start() {
    let home = home();
    fs::create_dir_all(home.data_path("journal")).unwrap();
    let error = home.error_of(&["serve", "--listen", "127.0.0.1:0"]);
    assert!(error.contains("cannot read") && error.contains("journal"), "{error}");
}
