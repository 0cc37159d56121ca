//! The end of programs: exits, signals, hang-ups and left-behind children.

use rejoin_core::Control;
use rejoin_protocol::TerminalSize;

use crate::support::{KillOnDrop, Program, code, signal};

#[tokio::test]
async fn the_exit_code_or_the_signal_is_reported() {
    for (script, expected) in [
        ("exit 0", code(0)),
        ("exit 255", code(255)),
        ("kill -TERM $$", signal("SIGTERM")),
        ("kill -SEGV $$", signal("SIGSEGV")),
        ("kill -KILL $$", signal("SIGKILL")),
        ("kill -USR1 $$", signal("SIGUSR1")),
    ] {
        let (output, exit) = Program::shell(script).await.end().await;
        assert_eq!((&*output, exit), ("", expected), "{script}");
    }
}

#[tokio::test]
async fn a_hang_up_ends_a_program() {
    let mut program = Program::shell("echo ready; exec sleep 600").await;
    program.prints("ready").await;
    program.hang_up();
    assert_eq!(program.end().await.1, signal("SIGHUP"));
}

#[tokio::test]
async fn a_program_may_print_after_a_hang_up() {
    let script = "trap 'echo saved; exit 3' HUP; echo ready; while :; do read line; done";
    let mut program = Program::shell(script).await;
    program.prints("ready").await;
    program.hang_up();
    let (output, exit) = program.end().await;

    assert_eq!(output, "ready\r\nsaved\r\n");
    assert_eq!(exit, code(3));
}

#[tokio::test]
async fn a_program_that_ignores_a_hang_up_is_killed() {
    let mut program = Program::shell("trap '' HUP; echo ready; exec sleep 600").await;
    program.prints("ready").await;
    program.hang_up();
    assert_eq!(program.end().await.1, signal("SIGKILL"));
}

#[tokio::test]
async fn a_full_control_queue_does_not_delay_a_hang_up() {
    let mut program = Program::shell("echo ready; exec sleep 600").await;
    program.prints("ready").await;
    let size = TerminalSize::new(80, 25).unwrap();

    // The test does not yield, so the queue is still full at the hang-up.
    while program.live.controls.try_send(Control::Resize(size)).is_ok() {}
    program.hang_up();

    assert_eq!(program.end().await.1, signal("SIGHUP"));
}

#[tokio::test]
async fn dropping_the_controls_hangs_up_the_program() {
    let mut program = Program::shell("echo ready; exec sleep 600").await;
    program.prints("ready").await;
    // Replacing the sender drops it.
    let (controls, _) = tokio::sync::mpsc::channel(1);
    program.live.controls = controls;
    assert_eq!(program.end().await.1, signal("SIGHUP"));
}

#[tokio::test]
async fn a_silent_child_does_not_delay_the_exit() {
    let script = "trap '' HUP; sleep 600 & echo child=$!; exit 4";
    let mut program = Program::shell(script).await;
    program.prints("\r\n").await;
    let _child = KillOnDrop(program.number("child"));
    assert_eq!(program.end().await.1, code(4));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_printing_child_does_not_delay_the_exit() {
    for child in ["yes", "while echo yes; do sleep 0.01; done"] {
        let script = format!("trap '' HUP; ({child}) & exit 4");
        assert_eq!(Program::shell(&script).await.end().await.1, code(4), "{child}");
    }
}
