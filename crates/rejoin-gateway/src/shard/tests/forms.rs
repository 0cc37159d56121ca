//! Each socket gets its form of a stream, byte for byte.

use proptest::{
    strategy::{Strategy, ValueTree},
    test_runner::TestRunner,
};
use rejoin_core::{Form, Kind, SlowReader};
use rejoin_protocol::{
    StreamNumber,
    binary::{BinaryKind, Head},
};
use tokio::io::AsyncReadExt;

use super::{Bench, Far, bytes_of, settle, stream};

async fn read_exactly(mut far: Far, expected: Vec<u8>, mut runner: TestRunner) {
    let mut got = Vec::new();
    while got.len() < expected.len() {
        let mut bytes = vec![0; (1usize..20_000).new_tree(&mut runner).unwrap().current()];
        let count = far.socket.read(&mut bytes).await.unwrap();
        assert!(count > 0, "it ends too early");
        got.extend_from_slice(&bytes[..count]);
        settle().await;
    }
    assert!(got == expected, "the bytes differ");
}

#[tokio::test]
async fn each_socket_gets_its_form_whatever_it_takes_at_once() {
    for _ in 0..10 {
        let bench = Bench::new(1);
        let stream = stream(1000, SlowReader::CatchUp);
        let mut runner = TestRunner::default();
        // From the start, and in the middle of it: the broadcast and the catching up.
        let early = Form::ALL.map(|form| (bench.connect(form), form));
        early.iter().for_each(|(far, _)| far.reads(&stream, 0));
        for number in 0..300 {
            let length = (0usize..3000).new_tree(&mut runner).unwrap().current();
            let bytes = vec![b'a' + u8::try_from(number % 20).unwrap(); length];
            let head = Head { kind: BinaryKind::Output, stream: StreamNumber(9), offset: number };
            if length % 3 == 0 {
                stream.append(Kind::Text, 0, &[&bytes]);
            } else {
                stream.append(Kind::Binary, 1, &[&head.to_bytes(), &bytes]);
            }
            if length % 5 == 0 {
                settle().await;
            }
        }
        let late = Form::ALL.map(|form| (bench.connect(form), form));
        late.iter().for_each(|(far, _)| far.reads(&stream, 0));
        for (far, form) in early.into_iter().chain(late) {
            read_exactly(far, bytes_of(&stream, form), runner.clone()).await;
        }
        bench.shutdown.begin();
    }
}
