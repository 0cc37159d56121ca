//! The outside record of messages: each position with its text, from all that was seen.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use rejoin_protocol::Position;

use super::findings::{Finding, Findings};

/// A stream's position as a key: epoch and offset.
type Place = (u64, u64);

/// The messages of all streams.
#[derive(Default)]
pub(super) struct Ledger {
    streams: BTreeMap<String, Stream>,
    /// The acknowledged messages of all streams.
    pub(super) acknowledged: u64,
}

/// The messages of one stream.
#[derive(Default)]
struct Stream {
    /// The text of each position that a client or a list has shown.
    texts: BTreeMap<Place, String>,
    /// The position of each text. Each text is published once.
    places: HashMap<String, Place>,
    acknowledged: BTreeSet<Place>,
    /// The texts of which a broken promise is counted.
    reported: HashSet<String>,
}

/// A message with its position.
#[derive(Clone, Debug)]
pub(super) struct Message {
    pub(super) position: Position,
    pub(super) text: String,
}

impl Ledger {
    /// Records a message that a client has received.
    pub(super) fn record(&mut self, stream: &str, message: &Message, findings: &mut Findings) {
        let known = self.streams.entry(stream.to_owned()).or_default();
        let place = (message.position.epoch, message.position.offset);
        let text = known.texts.entry(place).or_insert_with(|| message.text.clone());
        // Each contradiction is found in each look at the stream, and counted once.
        if *text != message.text && known.reported.insert(message.text.clone()) {
            let texts = (start_of(text), start_of(&message.text));
            let description = format_args!("{stream} {}: {texts:?}", message.position);
            findings.add(Finding::TwoMeanings, description);
        }

        let other = known.places.entry(message.text.clone()).or_insert(place);
        if *other != place && known.reported.insert(message.text.clone()) {
            let text = start_of(&message.text);
            let description = format_args!("{stream}: {text} at {other:x?} and {place:x?}");
            findings.add(Finding::Repeated, description);
        }
    }

    /// Records a message whose publish was acknowledged.
    pub(super) fn acknowledge(&mut self, stream: &str, message: &Message, findings: &mut Findings) {
        self.record(stream, message, findings);
        let known = self.streams.entry(stream.to_owned()).or_default();
        let place = (message.position.epoch, message.position.offset);
        if known.acknowledged.insert(place) {
            self.acknowledged += 1;
        }
    }

    /// Compares all that a stream retains with the record.
    ///
    /// `retained` is the number of messages that the stream keeps. An acknowledged message that is
    /// not among them must be older.
    pub(super) fn compare(
        &mut self,
        stream: &str,
        messages: &[Message],
        retained: u64,
        findings: &mut Findings,
    ) {
        self.compare_after(stream, 0, (messages, retained), findings);
    }

    /// Compares what a stream has after the offset `after`, as [`Self::compare`] does.
    pub(super) fn compare_after(
        &mut self,
        stream: &str,
        after: u64,
        (messages, retained): (&[Message], u64),
        findings: &mut Findings,
    ) {
        let mut listed = BTreeSet::new();
        for message in messages {
            self.record(stream, message, findings);
            let place = (message.position.epoch, message.position.offset);
            findings.expect(listed.insert(place), Finding::Repeated, || {
                format!("{stream}: {} is listed twice", message.position)
            });
        }
        check_order(stream, messages, findings);

        let Some(known) = self.streams.get(stream) else { return };
        let last = messages.last().map_or(0, |message| message.position.offset);
        let is_retained = |place: &&Place| place.1 > after && place.1 + retained > last;
        let missing = known.acknowledged.iter().filter(is_retained);
        for place in missing.filter(|place| !listed.contains(*place)) {
            let text = known.texts.get(place).map_or("", |text| start_of(text));
            let description = format_args!("{stream} {place:x?} {text}, the last is {last}");
            findings.add(Finding::Lost, description);
        }
    }
}

/// Returns a text without its padding.
fn start_of(text: &str) -> &str {
    text.split(' ').next().unwrap_or_default()
}

/// Checks that positions follow each other without a hole.
fn check_order(stream: &str, messages: &[Message], findings: &mut Findings) {
    for pair in messages.windows(2) {
        let [first, second] = [pair[0].position, pair[1].position];
        let follows = first.epoch == second.epoch && first.offset + 1 == second.offset;
        findings.expect(follows, Finding::Lost, || format!("{stream}: {second} follows {first}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(offset: u64, text: &str) -> Message {
        Message { position: Position { epoch: 1, offset }, text: text.to_owned() }
    }

    fn counts(findings: &Findings) -> [u64; 3] {
        [Finding::Lost, Finding::Repeated, Finding::TwoMeanings].map(|kind| findings.count(kind))
    }

    #[test]
    fn lost_repeated_and_contradicting_messages_are_found() {
        let (mut ledger, mut findings) = (Ledger::default(), Findings::default());
        for (offset, text) in [(1, "a"), (2, "b"), (3, "c")] {
            ledger.acknowledge("s", &message(offset, text), &mut findings);
        }
        let all = [message(1, "a"), message(2, "b"), message(3, "c")];
        ledger.compare("s", &all, 10, &mut findings);
        ledger.compare("s", &all[1..], 2, &mut findings);
        assert_eq!(counts(&findings), [0, 0, 0]);

        ledger.compare("s", &all[1..], 3, &mut findings);
        assert_eq!(counts(&findings), [1, 0, 0]);
        ledger.compare("s", &[message(1, "a"), message(3, "c")], 10, &mut findings);
        // A hole, and the message that it hides.
        assert_eq!(counts(&findings), [3, 0, 0]);
        ledger.record("s", &message(4, "a"), &mut findings);
        assert_eq!(counts(&findings), [3, 1, 0]);
        ledger.record("s", &message(2, "x"), &mut findings);
        assert_eq!(counts(&findings), [3, 1, 1]);
    }
}
