//! Resumes: snapshot and tail give the same state as an uninterrupted reader.

use proptest::prelude::*;
use rejoin_core::{Batch, Progress, Reader, Start, Stream};
use rejoin_protocol::{Position, Verdict};

use crate::support::{Numbers, State, frames, limit, topic};

#[derive(Clone, Debug)]
enum Step {
    /// Appends a frame of `units`; a frame of 0 units contains a state.
    Append { units: u64 },
    /// A reader resumes from an earlier position of its own.
    Attach { reader: usize, seen: prop::sample::Index },
    /// A reader starts without a position.
    Fresh { reader: usize },
    /// A reader reads up to `frames` frames.
    Read { reader: usize, frames: usize },
}

const READERS: usize = 3;

fn step() -> impl Strategy<Value = Step> {
    let reader = 0..READERS;
    prop_oneof![
        6 => (0u64..4).prop_map(|units| Step::Append { units }),
        2 => (reader.clone(), any::<prop::sample::Index>())
            .prop_map(|(reader, seen)| Step::Attach { reader, seen }),
        1 => reader.clone().prop_map(|reader| Step::Fresh { reader }),
        4 => (reader, 1usize..8).prop_map(|(reader, frames)| Step::Read { reader, frames }),
    ]
}

/// The state of one reader, and all its earlier positions and states.
#[derive(Default)]
struct View {
    reader: Option<Reader>,
    state: State,
    history: Vec<(Position, State)>,
}

impl View {
    fn message(&mut self, message: &[u8]) {
        let text = std::str::from_utf8(&message[1..]).unwrap();
        match message[0] {
            b's' => self.state = serde_json::from_str(text).unwrap(),
            b't' => self.state.listed.push(text.parse().unwrap()),
            b'b' => self.state.status = text.parse().unwrap(),
            other => panic!("an unknown message {other}"),
        }
    }

    fn start(&mut self, start: &Start) {
        for message in &start.preamble {
            self.message(message.plain());
        }
        self.history.push((start.position, self.state.clone()));
        self.reader = Some(start.reader);
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn read(numbers: &Numbers, view: &mut View, count: usize) {
    let Some(mut reader) = view.reader else { return };
    let mut batch = Batch::default();
    match numbers.stream().read(reader, limit(count), &mut batch) {
        Progress::UpToDate | Progress::Finished => {}
        Progress::Frames => {
            for frame in &batch.frames {
                view.message(frame.plain());
            }
            reader.next = batch.end();
            view.reader = Some(reader);
        }
        Progress::Behind { .. } => {
            view.start(&block_on(numbers.stream().start(None)).unwrap());
        }
    }
}

fn run(retention: usize, steps: Vec<Step>) {
    let numbers = Numbers::new(frames(retention));
    let mut views: [View; READERS] = Default::default();
    let mut number = 0;
    for step in steps {
        match step {
            Step::Append { units } => {
                number += 1;
                numbers.append(number, units);
            }
            Step::Attach { reader, seen } => {
                let view = &mut views[reader];
                if view.history.is_empty() {
                    continue;
                }
                let (position, known) = view.history[seen.index(view.history.len())].clone();
                let start = block_on(numbers.stream().start(Some(position))).unwrap();
                assert!(matches!(start.verdict, Verdict::Resumed | Verdict::Snapshot));
                view.state = known;
                view.start(&start);
            }
            Step::Fresh { reader } => {
                let start = block_on(numbers.stream().start(None)).unwrap();
                assert_eq!(start.verdict, Verdict::Fresh);
                views[reader].start(&start);
            }
            Step::Read { reader, frames } => read(&numbers, &mut views[reader], frames),
        }
    }

    for view in views.iter_mut().filter(|view| view.reader.is_some()) {
        while view.state != numbers.state() {
            let before = view.reader;
            read(&numbers, view, 100);
            assert!(view.reader != before, "{:?} is not {:?}", view.state, numbers.state());
        }
        read(&numbers, view, 100);
        assert_eq!(view.state, numbers.state());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn snapshot_and_tail_equal_an_uninterrupted_reader(
        retention in 1usize..12,
        steps in prop::collection::vec(step(), 1..120),
    ) {
        run(retention, steps);
    }

    #[test]
    fn a_topic_repeats_no_message_and_counts_missed_ones(
        retention in 1usize..12,
        bursts in prop::collection::vec((0usize..20, 1usize..8), 1..40),
    ) {
        let stream = topic(frames(retention));
        let start = block_on(stream.start(None)).unwrap();
        let (mut reader, mut seen, mut appended) = (start.reader, 0, 0);
        for (burst, count) in bursts {
            for _ in 0..burst {
                publish(&stream, appended);
                appended += 1;
            }
            seen = read_topic(&stream, &mut reader, count, seen);
        }

        while seen < appended {
            seen = read_topic(&stream, &mut reader, 100, seen);
        }

        prop_assert_eq!(seen, appended);
    }

    #[test]
    fn a_topic_resumes_from_any_position_or_reports_a_gap(
        retention in 1usize..12,
        before in 0u64..30,
        after in 0u64..30,
    ) {
        let stream = topic(frames(retention));
        (0..before).for_each(|number| publish(&stream, number));
        let position = stream.head();
        (before..before + after).for_each(|number| publish(&stream, number));
        let start = block_on(stream.start(Some(position))).unwrap();
        let kept = after.min(retention as u64);
        let mut reader = start.reader;

        prop_assert_eq!(start.replayed, kept);
        if after == kept {
            prop_assert_eq!((start.verdict, start.missed), (Verdict::Resumed, None));
        } else {
            prop_assert_eq!((start.verdict, start.missed), (Verdict::Gap, Some(after - kept)));
        }

        let seen = read_topic(&stream, &mut reader, 100, before + after - kept);

        prop_assert_eq!(seen, before + after);
    }
}

fn publish(stream: &Stream, number: u64) {
    stream.append(rejoin_core::PayloadKind::Text, 1, &[number.to_string().as_bytes()]);
}

/// Reads after `seen` numbers: each is the next one, or was reported as missed.
fn read_topic(stream: &Stream, reader: &mut Reader, count: usize, mut seen: u64) -> u64 {
    let mut batch = Batch::default();
    match stream.read(*reader, limit(count), &mut batch) {
        Progress::UpToDate | Progress::Finished => {}
        Progress::Frames => {
            for frame in &batch.frames {
                assert_eq!(frame.plain()[..], *format!("t{seen}").as_bytes());
                seen += 1;
            }
            reader.next = batch.end();
        }
        Progress::Behind { oldest, notice } => {
            seen += notice.missed;
            assert_eq!(notice.position.offset, seen);
            reader.next = oldest;
        }
    }

    seen
}

#[test]
fn a_resume_does_not_skip_a_dropped_state_frame() {
    let numbers = Numbers::new(frames(2));
    let position = numbers.stream().head();
    numbers.append(1, 0);
    numbers.append(2, 1);
    numbers.append(3, 1);
    let start = block_on(numbers.stream().start(Some(position))).unwrap();

    assert_eq!(start.verdict, Verdict::Snapshot);
}

#[test]
fn a_position_of_another_epoch_is_a_gap() {
    let (old, new) = (topic(frames(8)), topic(frames(8)));
    publish(&old, 0);
    publish(&new, 0);
    let start = block_on(new.start(Some(old.head()))).unwrap();

    assert_eq!((start.verdict, start.missed), (Verdict::Gap, None));
    assert_eq!(start.reason, Some("epoch"));

    // Any retained frame may be new to the reader.
    assert_eq!(start.replayed, 1);
}

#[test]
fn a_position_beyond_the_head_is_a_gap() {
    let stream = topic(frames(8));
    publish(&stream, 0);
    let ahead = Position { offset: 9, ..stream.head() };
    let start = block_on(stream.start(Some(ahead))).unwrap();
    assert_eq!((start.verdict, start.reason), (Verdict::Gap, Some("unknown_position")));
}
