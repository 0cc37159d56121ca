//! Byte streams to decode: valid frames, damaged frames and garbage.

use proptest::{collection::vec, prelude::*, sample::Index};
use rejoin_websocket::Side;

use crate::wire::{CLOSE, Message, PING, PONG, frame};

/// The bytes of valid frames and their messages.
#[derive(Clone, Debug)]
pub(crate) struct Stream {
    pub(crate) bytes: Vec<u8>,
    pub(crate) messages: Vec<Message>,
}

/// A message, its cuts, and the control frame after each fragment but the last.
type Fragmented = (Message, Vec<(Index, Option<Message>)>);

pub(crate) fn any_side() -> impl Strategy<Value = Side> {
    prop_oneof![3 => Just(Side::Server), 1 => Just(Side::Client)]
}

/// Generates valid, fragmented messages with interleaved control frames and an optional close.
pub(crate) fn valid(side: Side) -> impl Strategy<Value = Stream> {
    (vec((fragmented(), key(side)), 0..6), proptest::option::of((close(), key(side)))).prop_map(
        |(messages, close)| {
            let mut stream = Stream { bytes: Vec::new(), messages: Vec::new() };
            for ((message, cuts), key) in messages {
                stream.push_fragmented(message, &cuts, key);
            }

            if let Some((close, key)) = close {
                stream.push(close, key);
            }

            stream
        },
    )
}

/// Generates a valid stream with a few bytes changed.
pub(crate) fn damaged(side: Side) -> impl Strategy<Value = Vec<u8>> {
    let change =
        (any::<Index>(), 0..4u8, prop_oneof![any::<u8>(), (0..8).prop_map(|bit| 1u8 << bit)]);
    (valid(side), vec(change, 0..6)).prop_map(|(stream, changes)| {
        let mut bytes = stream.bytes;
        for (at, how, byte) in changes {
            let at = at.index(bytes.len() + 1);
            match how {
                0 => bytes.insert(at, byte),
                1 if at < bytes.len() => drop(bytes.remove(at)),
                2 if byte < 32 => bytes.truncate(at),
                _ if at < bytes.len() => bytes[at] ^= byte,
                _ => {}
            }
        }

        bytes
    })
}

/// Generates frames with any payload and some invalid headers, or arbitrary bytes.
pub(crate) fn garbage(side: Side) -> impl Strategy<Value = Vec<u8>> {
    let opcode = prop_oneof![
        12 => proptest::sample::select(vec![0x1, 0x2]),
        6 => proptest::sample::select(vec![0x9, 0xA]),
        // Rare, because everything after a close is ignored.
        1 => Just(0x8),
    ];
    let odd = prop_oneof![
        12 => Just((0, 0)),
        1 => (0..8).prop_map(|bit| (1u8 << bit, 0)),
        1 => any::<u8>().prop_map(|second| (0, second)),
    ];
    let payload = prop_oneof![
        vec(any::<u8>(), 0..12),
        vec(any::<u8>(), 0..300),
        text_bytes(),
        close_bytes(),
    ];
    let planned = (opcode, any::<bool>(), payload, key(side), odd);
    let frames = vec(planned, 0..12).prop_map(|frames| {
        let mut bytes = Vec::new();
        let mut unfinished = false;

        for (opcode, last, payload, key, odd) in frames {
            // Mostly valid fragmentation, so that the decoder reads far into the stream.
            let first = match (opcode, unfinished) {
                (0x8.., _) => 0x80 | opcode,
                (_, true) => 0,
                (_, false) => opcode,
            };

            if opcode < 0x8 {
                unfinished = !last;
            }

            let at = bytes.len();
            bytes.extend(frame(if last { 0x80 | first } else { first }, &payload, key));
            bytes[at] ^= odd.0;
            bytes[at + 1] ^= odd.1;
        }

        bytes
    });
    prop_oneof![8 => frames, 1 => vec(any::<u8>(), 0..200)]
}

/// Returns ascending offsets at which to cut `len` bytes.
pub(crate) fn cuts(indexes: &[Index], len: usize) -> Vec<usize> {
    let mut cuts: Vec<_> = indexes.iter().map(|index| index.index(len + 1)).collect();
    cuts.sort_unstable();
    cuts
}

impl Stream {
    fn push(&mut self, message: Message, key: Option<[u8; 4]>) {
        let (opcode, payload) = encoded(&message);
        self.bytes.extend(frame(0x80 | opcode, &payload, key));
        self.messages.push(message);
    }

    fn push_fragmented(
        &mut self,
        message: Message,
        fragments: &[(Index, Option<Message>)],
        key: Option<[u8; 4]>,
    ) {
        let (mut opcode, payload) = encoded(&message);
        let indexes: Vec<_> = fragments.iter().map(|(index, _)| *index).collect();
        let mut from = 0;

        for (to, (_, control)) in cuts(&indexes, payload.len()).into_iter().zip(fragments) {
            self.bytes.extend(frame(opcode, &payload[from..to], key));
            (opcode, from) = (0, to);
            if let Some(control) = control {
                self.push(control.clone(), key);
            }
        }

        self.bytes.extend(frame(0x80 | opcode, &payload[from..], key));
        self.messages.push(message);
    }
}

fn encoded(message: &Message) -> (u8, Vec<u8>) {
    match message {
        Message::Text(text) => (0x1, text.clone().into_bytes()),
        Message::Binary(payload) => (0x2, payload.clone()),
        Message::Ping(payload) => (PING & 0xF, payload.clone()),
        Message::Pong(payload) => (PONG & 0xF, payload.clone()),
        Message::Close(None) => (CLOSE & 0xF, Vec::new()),
        Message::Close(Some((code, reason))) => {
            (CLOSE & 0xF, [&code.to_be_bytes(), reason.as_bytes()].concat())
        }
    }
}

fn key(side: Side) -> BoxedStrategy<Option<[u8; 4]>> {
    match side {
        Side::Server => any::<[u8; 4]>().prop_map(Some).boxed(),
        Side::Client => Just(None).boxed(),
    }
}

fn fragmented() -> impl Strategy<Value = Fragmented> {
    prop_oneof![
        3 => (data(), vec((any::<Index>(), proptest::option::of(control())), 0..4)),
        1 => control().prop_map(|control| (control, Vec::new())),
    ]
}

fn data() -> impl Strategy<Value = Message> {
    let size = prop_oneof![20 => 0..200usize, 3 => 60_000..70_000usize];
    prop_oneof![
        vec(any::<char>(), 0..80).prop_map(|text| Message::Text(text.into_iter().collect())),
        vec(any::<u8>(), 0..200).prop_map(Message::Binary),
        (size, any::<u8>()).prop_map(|(size, byte)| Message::Binary(vec![byte; size])),
        (0..30_000usize).prop_map(|count| Message::Text("é".repeat(count))),
    ]
}

fn control() -> impl Strategy<Value = Message> {
    let payload = || prop_oneof![vec(any::<u8>(), 0..10), vec(any::<u8>(), 120..=125)];
    prop_oneof![payload().prop_map(Message::Ping), payload().prop_map(Message::Pong)]
}

fn close() -> impl Strategy<Value = Message> {
    let code = prop_oneof![1000..=1003u16, 1007..=1013u16, 3000..=4999u16];
    let reason = vec(any::<char>(), 0..30).prop_map(|reason| reason.into_iter().collect());
    proptest::option::of((code, reason)).prop_map(Message::Close)
}

/// Generates text with some invalid or incomplete characters.
fn text_bytes() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        6 => any::<char>().prop_map(|char| char.to_string().into_bytes()),
        1 => vec(any::<u8>(), 1..3),
    ];
    vec(piece, 0..20).prop_map(|pieces| pieces.concat())
}

/// Generates a close frame's payload with any code, cut at any byte.
fn close_bytes() -> impl Strategy<Value = Vec<u8>> {
    (prop_oneof![990..1030u16, any::<u16>()], text_bytes(), 0..20usize).prop_map(
        |(code, reason, len)| {
            let mut bytes = [&code.to_be_bytes(), reason.as_slice()].concat();
            bytes.truncate(len);
            bytes
        },
    )
}
