//! Output of a running program.

use crate::support::{Program, code};

/// Returns numbered lines with the line ends of a terminal.
fn lines(count: u32) -> String {
    (1..=count).map(|number| format!("{number}\r\n")).collect()
}

#[tokio::test]
async fn input_is_echoed_and_read() {
    let mut program = Program::shell("echo ready; read line; echo \"<$line>\"").await;
    program.prints("ready").await;
    program.types("héllo\r").await;
    let (output, exit) = program.end().await;
    assert_eq!(output, "ready\r\nhéllo\r\n<héllo>\r\n");
    assert_eq!(exit, code(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn output_is_complete_up_to_the_last_byte() {
    let expected = lines(100_000);
    for (script, exit_code) in [("seq 1 100000", 0), ("seq 1 100000; exit 7", 7)] {
        for _ in 0..5 {
            let (output, exit) = Program::shell(script).await.end().await;
            assert!(output == expected, "{script}: {} bytes", output.len());
            assert_eq!(exit, code(exit_code), "{script}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn output_right_before_the_exit_is_received() {
    for _ in 0..50 {
        let (output, exit) = Program::shell("printf bye; exit 1").await.end().await;
        assert_eq!((&*output, exit), ("bye", code(1)));
    }
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_whose_output_is_not_read_is_paused() {
    const LINES: u32 = 1_000_000;
    let script = format!("echo pid=$$; exec seq 1 {LINES}");
    let mut program = Program::shell(&script).await;
    program.prints("\r\n").await;
    let process = format!("/proc/{}", program.number("pid"));
    // Once the queue is full and the program sleeps, the kernel's buffer is full too.
    let is_full = |program: &Program| {
        program.live.events.len() == program.live.events.max_capacity()
            && std::fs::read_to_string(format!("{process}/status"))
                .unwrap()
                .contains("S (sleeping)")
    };

    while !is_full(&program) {
        assert!(std::fs::exists(&process).unwrap(), "the program has ended");
        tokio::task::yield_now().await;
    }

    let io = std::fs::read_to_string(format!("{process}/io")).unwrap();
    let written = io.lines().find_map(|line| line.strip_prefix("wchar: ")).unwrap();
    let bound = 2 * 1024 * 1024;

    assert!(
        written.parse::<usize>().unwrap() < bound,
        "{written} bytes were written without a reader"
    );
    let (output, exit) = program.end().await;
    let (_, output) = output.split_once("\r\n").unwrap();

    assert!(output == lines(LINES), "{} bytes", output.len());
    assert_eq!(exit, code(0));
}
