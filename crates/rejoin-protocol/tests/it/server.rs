//! Messages from the server, compared with the golden file that the TypeScript client reads too.

use rejoin_protocol::{
    ConnectionId, DeviceId, DeviceName, ErrorCode, EventName, Exit, MessageId, Position,
    ProfileName, Role, SessionId, SessionInfo, SessionKind, SessionStatus, StreamNumber, Subject,
    TopicName, UserId, Verdict,
    message::{
        Attached, AuthRefused, AuthResult, ClosingNotice, Empty, ErrorBody, Gap, HistoryPage,
        HistoryRange, ImplicitStreamStarts, MessageBody, Pong, PresenceChange, PresenceMember,
        PresenceState, PublishAck, ServerMessage, SessionAck, SessionUpdate, StreamStart,
        SubscribeAck, Subscriptions, TokenExpiring, direct_message, stream_message, text,
        topic_message,
    },
};
use serde_json::{Value, value::RawValue};

const TIME: u64 = 1_800_000_000_000;

fn topic() -> TopicName {
    TopicName::new("news").unwrap()
}

fn session() -> SessionId {
    SessionId::new("s-1").unwrap()
}

fn connection() -> ConnectionId {
    ConnectionId::new("c-1").unwrap()
}

fn at(offset: u64) -> Position {
    Position { epoch: 0x5f2c, offset }
}

fn subscribed(verdict: Verdict, offset: u64, replayed: u64) -> SubscribeAck {
    let position = at(offset);
    SubscribeAck { topic: topic(), verdict, replayed, missed: None, reason: None, position }
}

fn update() -> SessionUpdate {
    SessionUpdate::new(session())
}

fn created() -> SessionInfo {
    SessionInfo {
        id: session(),
        kind: SessionKind::Terminal,
        profile: ProfileName::new("terminal").unwrap(),
        name: Some("work".to_owned()),
        title: String::new(),
        owner: UserId::new("ann").unwrap(),
        status: SessionStatus::Idle,
        cols: 120,
        rows: 40,
        size_owner: None,
        connections: 0,
        created_at: TIME,
        updated_at: TIME,
        last_activity_at: TIME,
        destroy_at: Some(TIME + 1_800_000),
        exit: None,
        reason: None,
        lost: false,
        revived_from: None,
        revived_as: None,
    }
}

const HISTORY: HistoryRange = HistoryRange { generation: 2, first: 120, end: 10_120 };

fn attached() -> Attached {
    Attached {
        session: session(),
        stream: StreamNumber(7),
        role: Role::Viewer,
        verdict: Verdict::Resumed,
        replayed: 1,
        reason: None,
        position: at(4096),
        cols: 120,
        rows: 40,
        status: SessionStatus::Active,
        title: "vim".to_owned(),
        input_seq: 2,
        size_owner: Some(connection()),
        exit: None,
        history_omitted: 0,
        window: Some(196_608),
    }
}

fn authenticated(streams: Option<ImplicitStreamStarts>) -> ServerMessage {
    ServerMessage::AuthResult(AuthResult {
        authenticated: true,
        user_id: UserId::new("ann").unwrap(),
        connection_id: connection(),
        heartbeat_ms: 30_000,
        expires_at: Some(TIME),
        streams,
    })
}

fn started(verdict: Verdict, offset: u64, replayed: u64) -> StreamStart {
    StreamStart { verdict, replayed, missed: None, reason: None, position: at(offset) }
}

fn present(user: &str, device: Option<&str>, connections: Option<usize>) -> PresenceMember {
    PresenceMember {
        user: UserId::new(user).unwrap(),
        device: device.map(|device| DeviceId::new(device).unwrap()),
        device_name: None,
        connections,
    }
}

fn presence(name: &str) -> Option<ServerMessage> {
    let change = |subject, joined, left, whole_user| {
        let (users, connections) = (1, 1);
        let change = PresenceChange { subject, joined, left, whole_user, users, connections };
        Some(ServerMessage::PresenceChanged(change))
    };

    match name {
        "presence" => {
            let named = PresenceMember {
                device_name: Some(DeviceName::new("My phone").unwrap()),
                ..present("ann", Some("phone-1"), Some(2))
            };

            Some(ServerMessage::Presence(PresenceState {
                subject: Subject::Topic(topic()),
                users: 2,
                connections: 3,
                members: Some(vec![named, present("bob", None, Some(1))]),
                truncated: false,
            }))
        }
        "presence_counts" => Some(ServerMessage::Presence(PresenceState {
            subject: Subject::Session(session()),
            users: 20_000,
            connections: 30_000,
            members: None,
            truncated: true,
        })),
        "joined" => {
            let joined = present("ann", Some("phone-1"), None);
            change(Subject::Topic(topic()), Some(joined), None, true)
        }
        "left" => {
            let ann = UserId::new("ann").unwrap();
            change(Subject::User(ann), None, Some(present("ann", None, None)), false)
        }
        _ => None,
    }
}

fn message(name: &str) -> Option<ServerMessage> {
    Some(match name {
        "auth_result" => authenticated(None),
        "auth_refused" => {
            let error = ErrorBody::new(ErrorCode::TokenExpired, "the token has expired");
            ServerMessage::AuthRefused(AuthRefused::new(error))
        }
        "auth_result_with_streams" => authenticated(Some(ImplicitStreamStarts {
            all: started(Verdict::Fresh, 3, 0),
            user: started(Verdict::Resumed, 7, 2),
            device: Some(StreamStart {
                missed: Some(4),
                reason: Some("retention"),
                ..started(Verdict::Gap, 9, 1)
            }),
        })),
        "token_expiring" => ServerMessage::TokenExpiring(TokenExpiring { expires_at: TIME }),
        "pong" => ServerMessage::Pong(Pong { time: TIME }),
        "heartbeat" => ServerMessage::Heartbeat(Empty {}),
        "subscribed" => ServerMessage::Subscribed(subscribed(Verdict::Resumed, 41, 2)),
        "subscribed_with_gap" => ServerMessage::Subscribed(SubscribeAck {
            missed: Some(7),
            reason: Some("retention"),
            ..subscribed(Verdict::Gap, 48, 1)
        }),
        "ack" => ServerMessage::Ack(Empty {}),
        "subscriptions" => {
            ServerMessage::Subscriptions(Subscriptions { subscriptions: vec![topic()] })
        }
        "published" => ServerMessage::Published(PublishAck { position: at(42) }),
        "session_created" => {
            ServerMessage::SessionCreated(SessionAck { session: Box::new(created()) })
        }
        "attached" => ServerMessage::Attached(Box::new(attached())),
        "gap" => ServerMessage::Gap(Gap {
            topic: topic(),
            missed: 12,
            reason: "retention",
            position: at(54),
        }),
        "session_size" => ServerMessage::Session(Box::new(SessionUpdate {
            cols: Some(100),
            rows: Some(30),
            ..update()
        })),
        "session_exit" => ServerMessage::Session(Box::new(SessionUpdate {
            status: Some(SessionStatus::Error),
            exit: Some(Exit { code: Some(3), signal: None }),
            reason: Some("the program exited with code 3".to_owned()),
            ..update()
        })),
        "session_snapshot" => ServerMessage::Session(Box::new(SessionUpdate {
            status: Some(SessionStatus::Active),
            cols: Some(100),
            rows: Some(30),
            title: Some("vim".to_owned()),
            history_omitted: Some(HISTORY.lines()),
            history: Some(HISTORY),
            ..update()
        })),
        "history" => ServerMessage::History(Box::new(HistoryPage {
            session: session(),
            range: HISTORY,
            from: 10_118,
            to: 10_120,
            cols: 100,
            continues: true,
            rewrapped: false,
            data: "\u{1b}[1ma\r\nb\u{1b}[m".to_owned(),
        })),
        "closing" => ServerMessage::Closing(ClosingNotice::new(
            rejoin_protocol::CloseCode::Draining,
            0,
            5000,
        )),
        "error" => ServerMessage::Error(ErrorBody::from(ErrorCode::InputFull)),
        _ => return None,
    })
}

#[test]
fn each_golden_server_message_is_written() {
    let golden: Vec<Value> = serde_json::from_str(include_str!("../golden/messages.json")).unwrap();
    for entry in golden.iter().filter(|entry| entry["direction"] == "server") {
        let name = entry["name"].as_str().unwrap();
        let reply_to = entry["json"]["reply_to"].as_str().map(|id| MessageId::new(id).unwrap());
        let data = RawValue::from_string(r#"{ "text": "hello" }"#.to_owned()).unwrap();
        let mail = EventName::new("mail.new").unwrap();
        let body = MessageBody { name: Some(&mail), data: &data };
        let user = TopicName::new("@user").unwrap();

        let written = match (name, message(name).or_else(|| presence(name))) {
            (_, Some(message)) => text(reply_to.as_ref(), &message),
            ("message", None) => topic_message(&topic(), at(42), &data, TIME),
            ("emitted", None) => stream_message(&user, at(42), body, TIME),
            ("emitted_to_connection", None) => direct_message(body, TIME),
            (_, None) => panic!("this test builds no message for `{name}`"),
        };

        let written: Value = serde_json::from_str(&written).unwrap();
        assert_eq!(written, entry["json"], "{name}");
    }
}
