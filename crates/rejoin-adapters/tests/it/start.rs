//! How a program is started, and why not.

use std::{collections::BTreeMap, fs};

use crate::support::{Program, SERVER_ENV, code, launch, refusal, start_in};

#[tokio::test]
async fn a_command_that_does_not_exist_is_said() {
    let sentence = refusal(launch(&["no-such-program", "-l"])).await;
    assert_eq!(sentence, "the command `no-such-program` does not exist on the server");
}

#[tokio::test]
async fn a_command_that_may_not_be_run_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("plain");
    fs::write(&file, "#!/bin/sh\n").unwrap();
    let file = file.to_str().unwrap();
    let sentence = refusal(launch(&[file])).await;
    assert_eq!(sentence, format!("the command `{file}` may not be run on the server"));
}

#[tokio::test]
async fn an_empty_command_is_said() {
    assert_eq!(refusal(launch(&[])).await, "its command is empty");
}

#[tokio::test]
async fn a_variable_that_is_not_set_is_said() {
    let sentence = refusal(launch(&["$AGENT"])).await;
    assert_eq!(sentence, "its command names `$AGENT`, which is not set");
}

#[tokio::test]
async fn variables_stand_for_whole_words_and_a_shell_is_always_there() {
    let program = Program::start(launch(&["$SHELL", "-c", "echo $0 $1", "$HOME", "a$HOME"])).await;
    assert_eq!(program.end().await.0, "/ a$HOME\r\n");
}

#[tokio::test]
async fn a_missing_directory_is_said() {
    let mut launch = launch(&["pwd"]);
    launch.cwd = Some("/no/such/place".to_owned());
    assert_eq!(refusal(launch).await, "there is no directory `/no/such/place`");
}

#[tokio::test]
async fn directories_begin_at_home() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path().canonicalize().unwrap();
    fs::create_dir(home.join("work")).unwrap();
    let home = home.to_str().unwrap();
    let env = [("HOME", home), ("PATH", "/usr/bin:/bin")];
    for (cwd, expected) in [
        (None, home.to_owned()),
        (Some("~"), home.to_owned()),
        (Some("~/work"), format!("{home}/work")),
        (Some("work"), format!("{home}/work")),
        (Some("/"), "/".to_owned()),
    ] {
        let mut launch = launch(&["pwd"]);
        launch.cwd = cwd.map(str::to_owned);
        let (output, exit) = start_in(&env, launch).await.unwrap().end().await;
        assert_eq!((&*output, exit), (&*format!("{expected}\r\n"), code(0)), "{cwd:?}");
    }
}

#[tokio::test]
async fn the_environment_is_the_ordinary_one_and_the_profiles() {
    let mut server_env = SERVER_ENV.to_vec();
    server_env.extend([
        ("LANG", "C.UTF-8"),
        ("LC_TIME", "C"),
        ("EDITOR", "ed"),
        ("TERM", "dumb"),
        ("REJOIN_TOKEN", "secret"),
        ("REJOIN_SESSION", "of the server"),
        ("DATABASE_PASSWORD", "secret"),
    ]);
    let mut launch = launch(&["env"]);
    launch.env = vec![("EDITOR".into(), "vi".into()), ("AGENT_MODE".into(), "plan".into())];
    let (output, _) = start_in(&server_env, launch).await.unwrap().end().await;
    let seen: BTreeMap<_, _> = output.lines().filter_map(|line| line.split_once('=')).collect();
    let expected: BTreeMap<_, _> = SERVER_ENV
        .iter()
        .copied()
        .chain([
            ("LANG", "C.UTF-8"),
            ("LC_TIME", "C"),
            ("EDITOR", "vi"),
            ("AGENT_MODE", "plan"),
            ("TERM", "xterm-256color"),
            ("COLORTERM", "truecolor"),
            ("TERM_PROGRAM", "rejoin"),
            ("REJOIN_SESSION", "s1"),
        ])
        .collect();
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn the_program_leads_a_session_of_its_own_on_its_terminal() {
    let script = "test -t 0 && test -t 1 && test -t 2 && ps -o sid= -p $$ | tr -d ' '; echo $$";
    let (output, _) = Program::shell(script).await.end().await;
    let ids: Vec<_> = output.lines().collect();
    assert_eq!(ids.len(), 2, "{output}");
    assert_eq!(ids[0], ids[1]);
}
