//! Input and controls of a running program.

use rejoin_core::Control;
use rejoin_protocol::TerminalSize;

use crate::support::{Program, code, signal};

/// Returns a megabyte that contains no repetition, so that a reordering is detected.
fn megabyte() -> Vec<u8> {
    (0..1u32 << 18).flat_map(u32::to_le_bytes).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_megabyte_of_input_arrives_completely_and_is_reported() {
    let input = megabyte();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("input");
    let script = format!(
        "stty raw -echo; echo ready; head -c {} >{}; echo done",
        input.len(),
        file.display()
    );
    let mut program = Program::shell(&script).await;
    program.prints("ready").await;
    let mut last = 0;

    for chunk in input.chunks(10_000) {
        last = program.types(chunk.to_vec()).await;
    }

    assert_eq!(last, 105);
    program.prints("done").await;
    program.live.written.wait_for(|written| *written == last).await.unwrap();

    assert_eq!(program.end().await.1, code(0));
    assert!(std::fs::read(&file).unwrap() == input, "the file differs from the input");
}

#[tokio::test]
async fn empty_input_is_reported() {
    let mut program = Program::shell("read line").await;
    let last = program.types("").await;
    program.live.written.wait_for(|written| *written == last).await.unwrap();
    program.types("\r").await;
    assert_eq!(program.end().await.1, code(0));
}

#[tokio::test]
async fn a_program_sees_its_new_size() {
    let script = "stty size; trap 'stty size; exit 0' WINCH; echo ready; while :; do read x; done";
    let mut program = Program::shell(script).await;
    program.prints("ready").await;
    program.control(Control::Resize(TerminalSize::new(132, 50).unwrap())).await;
    let (output, exit) = program.end().await;

    assert_eq!(output, "24 80\r\nready\r\n50 132\r\n");
    assert_eq!(exit, code(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_never_reads_is_resized_and_hung_up() {
    let script =
        "trap 'stty size' WINCH; stty raw -echo; sleep 600 & echo ready; while :; do wait; done";
    let mut program = Program::shell(script).await;
    program.prints("ready").await;

    // More than any terminal holds, so that the write loop still has input to write.
    for chunk in megabyte().chunks(64 * 1024) {
        program.types(chunk.to_vec()).await;
    }

    program.control(Control::Resize(TerminalSize::new(90, 30).unwrap())).await;
    program.prints("30 90").await;

    assert!(*program.live.written.borrow() < 16, "the program has read its input");
    program.hang_up();

    assert_eq!(program.end().await.1, signal("SIGHUP"));
}

#[tokio::test]
async fn input_after_the_program_closed_its_terminal_is_ignored() {
    let directory = tempfile::tempdir().unwrap();
    let go_on = directory.path().join("go-on");
    let script = format!(
        "mkfifo {fifo}; echo ready; exec <{fifo} >&0 2>&0; read line; exit 5",
        fifo = go_on.display()
    );
    let mut program = Program::shell(&script).await;
    program.prints("ready").await;
    let writer = tokio::fs::OpenOptions::new().write(true).open(&go_on).await.unwrap();
    let last = program.types("ignored\r").await;

    assert_eq!(last, 1);
    drop(writer);

    assert_eq!(program.end().await.1, code(5));
}
