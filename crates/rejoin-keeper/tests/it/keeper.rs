//! The keeper as a process.

use std::path::Path;

use rejoin_keeper::{
    Directory,
    launch::{self, Started},
    log::{Cursor, Entry},
    wire::{Exit, Report, Request, Size},
};
use tempfile::TempDir;

use crate::support::{Keeper, Server, launch, start, until};

#[test]
fn a_new_server_continues_where_the_last_one_stopped() {
    let keeper = Keeper::start("stty -echo; echo one; read x; echo two; read x; echo three");
    let (mut server, hello) = Server::connect(&keeper);
    assert_eq!(hello.size, Size { cols: 80, rows: 24 });
    server.send(&Request::Follow { offset: 0 });
    let (_, next) = server.output_until("one\r\n");
    drop(server);

    let (mut server, hello) = Server::connect(&keeper);
    assert_eq!(hello.next, next);
    server.send(&Request::Follow { offset: next });
    server.type_keyed(1, 1, "\r");
    let (output, _) = server.output_until("two");

    assert!(!output.contains("one"), "{output}");
}

#[test]
fn output_without_a_server_is_kept() {
    let keeper = Keeper::start("seq 1000; echo done");
    until(|| keeper.logged().1.is_some());

    let (output, exit) = keeper.logged();

    let expected: String = (1..=1000).map(|number| format!("{number}\r\n")).collect();
    assert_eq!(output, expected + "done\r\n");
    assert_eq!(exit, Some(Exit { code: Some(0), ..Exit::default() }));
}

#[test]
fn a_resent_input_is_typed_once() {
    let keeper = Keeper::start("stty -echo; echo ready; while read x; do echo \"got $x\"; done");
    let (mut server, _) = Server::connect(&keeper);
    server.send(&Request::Follow { offset: 0 });
    server.output_until("ready");
    server.type_keyed(1, 1, "first\r");
    server.until_written(1);
    drop(server);

    let (mut server, hello) = Server::connect(&keeper);
    assert_eq!(hello.writers, [(b"tab"[..].into(), 1)]);
    server.send(&Request::Follow { offset: 0 });
    server.type_keyed(1, 1, "first\r");
    server.type_keyed(2, 2, "second\r");
    let (output, _) = server.output_until("got second");

    assert_eq!(output.matches("got first").count(), 1, "{output}");
}

#[test]
fn the_size_stands_at_its_place_in_the_log() {
    let keeper = Keeper::start("stty -echo; echo ready; read x; stty size; read x");
    let (mut server, _) = Server::connect(&keeper);
    server.send(&Request::Follow { offset: 0 });
    server.output_until("ready");
    server.send(&Request::Resize(Size { cols: 132, rows: 43 }));
    server.type_keyed(1, 1, "\r");
    server.output_until("43 132");

    let mut cursor = Cursor::new(keeper.directory.log(), 0);
    let mut sizes = Vec::new();
    let mut before = String::new();
    while let Some(record) = cursor.read().unwrap() {
        match record.entry {
            Entry::Output(bytes) if sizes.len() < 2 => {
                before.push_str(&String::from_utf8_lossy(&bytes));
            }
            Entry::Resized(size) => sizes.push((size.cols, size.rows)),
            _ => {}
        }
    }
    assert_eq!(sizes, [(80, 24), (132, 43)]);
    assert!(before.contains("ready") && !before.contains("43 132"), "{before}");
}

#[test]
fn a_hang_up_ends_even_a_program_that_ignores_it() {
    let keeper = Keeper::start("trap '' HUP TERM; setsid -w sleep 0; sleep 600 & echo ready; wait");
    let (mut server, _) = Server::connect(&keeper);
    server.send(&Request::Follow { offset: 0 });
    server.output_until("ready");

    server.send(&Request::HangUp);

    assert_eq!(server.until_exit(), Exit { signal: Some(9), ..Exit::default() });
    assert_eq!(server.report(), None);
    until(|| !keeper.directory.has_keeper().unwrap());
}

#[test]
fn a_server_that_does_not_read_pauses_the_program() {
    let keeper = Keeper::start("stty -echo; read x; yes | head -c 8000000; echo; echo end");
    let (mut server, _) = Server::connect(&keeper);
    server.send(&Request::Follow { offset: 0 });
    server.type_keyed(1, 1, "\r");
    server.until_written(1);

    // A second connection is greeted while the program floods: the keeper never blocks.
    let (mut server, hello) = Server::connect(&keeper);
    server.send(&Request::Follow { offset: hello.next });
    server.output_until("end");
}

#[test]
fn a_paste_that_no_program_reads_is_bounded() {
    let keeper = Keeper::start("stty raw -echo; echo ready; sleep 600");
    let (mut server, _) = Server::connect(&keeper);
    server.send(&Request::Follow { offset: 0 });
    server.output_until("ready");

    let piece = "x".repeat(64 * 1024);
    for number in 1..=100 {
        server.type_keyed(number, number, &piece);
    }

    let refused = loop {
        if let Some(Report::Refused { number }) = server.report() {
            break number;
        }
    };
    assert!((30..=60).contains(&refused), "{refused}");
}

#[test]
fn a_missing_command_is_reported() {
    let home = TempDir::new().unwrap();
    let directory = Directory::new(home.path().join("terminal"));
    directory.create().unwrap();

    let (mut process, started) = start(&directory, &launch(&["/no/such/program"]));

    assert_eq!(started, Started::NotFound);
    assert!(process.wait().unwrap().success());
    assert!(!directory.has_keeper().unwrap());
}

#[test]
fn a_second_keeper_in_a_directory_is_refused() {
    let keeper = Keeper::start("sleep 600");
    assert!(keeper.directory.has_keeper().unwrap());

    let launch = std::panic::catch_unwind(|| start(&keeper.directory, &launch(&["true"])));

    assert!(launch.is_err());
    Server::connect(&keeper);
}

#[test]
fn a_keeper_holds_no_descriptor_of_its_starter() {
    let leaked = tempfile::tempfile().unwrap();
    rustix::io::fcntl_setfd(&leaked, rustix::io::FdFlags::empty()).unwrap();

    let keeper = Keeper::start("sleep 600");

    let descriptors = std::fs::read_dir(format!("/proc/{}/fd", keeper.process.id())).unwrap();
    let targets: Vec<_> =
        descriptors.filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok()).collect();
    let is_leaked = |target: &&std::path::PathBuf| target.to_string_lossy().contains("(deleted)");
    assert_eq!(targets.iter().find(is_leaked), None, "{targets:?}");
}

#[test]
fn a_keeper_that_hangs_at_its_start_is_killed() {
    let home = TempDir::new().unwrap();
    let directory = Directory::new(home.path().join("terminal"));
    directory.create().unwrap();
    let launch = launch(&["x".repeat(512 * 1024).as_str()]);
    // Answers nothing; with `cat` the launch is read, without it the pipe fills.
    for script in
        ["echo $$ >$0/pid; exec sleep 1000", "echo $$ >$0/pid; cat >/dev/null; exec sleep 1000"]
    {
        let error = launch::start(Path::new("/bin/sh"), &["-c", script], &directory, &launch);

        let error = error.unwrap_err().to_string();
        assert_eq!(error, "the keeper did not answer within 5s");
        let pid = std::fs::read_to_string(directory.path().join("pid")).unwrap();
        assert!(!Path::new(&format!("/proc/{}", pid.trim_end())).exists(), "{pid} runs");
    }
}

#[test]
fn output_that_waits_is_sent_in_one_report() {
    let home = TempDir::new().unwrap();
    let file = |name| home.path().join(name);
    let script = "echo ready; until [ -e go ]; do :; done; printf %08000d 0; >printed; read x";
    let keeper = Keeper::start(&format!("cd {} && {script}", home.path().display()));
    let (mut server, _) = Server::connect(&keeper);
    server.send(&Request::Follow { offset: 0 });
    let (_, mut next) = server.output_until("ready\r\n");

    // The keeper cannot read, so the output waits in the terminal.
    let id = rustix::process::Pid::from_child(&keeper.process);
    rustix::process::kill_process(id, rustix::process::Signal::STOP).unwrap();
    std::fs::write(file("go"), "").unwrap();
    until(|| file("printed").exists());
    rustix::process::kill_process(id, rustix::process::Signal::CONT).unwrap();

    let mut longest = 0;
    while next < 8000 {
        if let Report::Output { offset, bytes } = server.report().unwrap() {
            next = offset + bytes.len() as u64;
            longest = longest.max(bytes.len());
        }
    }
    // More than Linux returns per read.
    assert!(longest > 4096, "{longest}");
}

#[test]
fn reports_equal_the_log_after_a_stall_and_resizes() {
    let keeper = Keeper::start("stty -echo; echo ready; read x; seq 100000; echo end; read x");
    let (mut server, _) = Server::connect(&keeper);
    server.send(&Request::Follow { offset: 0 });
    server.type_keyed(1, 1, "\r");
    // The server does not read meanwhile, so it gets the older output from the log.
    until(|| keeper.logged().0.len() > 400_000);

    let (mut output, mut sizes) = (Vec::new(), Vec::new());
    let last = Size { cols: 300, rows: 50 };
    let mut is_last = false;
    for number in 0.. {
        match server.report().unwrap() {
            Report::Output { offset, bytes } => {
                assert_eq!(offset, output.len() as u64);
                output.extend(bytes);
                server.send(&Request::Acknowledge { offset: output.len() as u64 });
            }
            Report::Resized { offset, size } => {
                assert_eq!(offset, output.len() as u64);
                sizes.push(size);
                if size == last {
                    break;
                }
            }
            _ => {}
        }
        if !is_last && output.ends_with(b"end\r\n") {
            is_last = true;
            server.send(&Request::Resize(last));
        } else if !is_last && number % 4 == 0 {
            server.send(&Request::Resize(Size { cols: 80 + number % 100, rows: 24 }));
        }
    }

    let mut cursor = Cursor::new(keeper.directory.log(), 0);
    let (mut logged, mut logged_sizes) = (Vec::new(), Vec::new());
    while let Some(record) = cursor.read().unwrap() {
        match record.entry {
            Entry::Output(bytes) => logged.extend(bytes),
            Entry::Resized(size) => logged_sizes.push(size),
            Entry::Exited(exit) => panic!("{exit:?}"),
        }
    }
    assert!(logged == output && sizes.len() > 3);
    assert_eq!(logged_sizes, sizes);
}
