//! The start of programs, and the errors if they cannot start.

use std::{collections::BTreeMap, fs};

use crate::support::{Program, SERVER_ENV, code, launch, start_error, start_in};

#[tokio::test]
async fn a_missing_command_is_reported() {
    let message = start_error(launch(&["no-such-program", "-l"])).await;
    assert_eq!(message, "the command `no-such-program` does not exist on the server");
}

#[tokio::test]
async fn a_command_without_permission_is_reported() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("plain");
    fs::write(&file, "#!/bin/sh\n").unwrap();
    let file = file.to_str().unwrap();
    let message = start_error(launch(&[file])).await;
    assert_eq!(message, format!("the command `{file}` may not be run on the server"));
}

#[tokio::test]
async fn an_empty_command_is_reported() {
    assert_eq!(start_error(launch(&[])).await, "its command is empty");
}

#[tokio::test]
async fn an_unset_variable_is_reported() {
    let message = start_error(launch(&["$AGENT"])).await;
    assert_eq!(message, "its command names `$AGENT`, which is not set");
}

#[tokio::test]
async fn variables_replace_whole_words_and_shell_has_a_default() {
    let program = Program::start(launch(&["$SHELL", "-c", "echo $0 $1", "$HOME", "a$HOME"])).await;
    assert_eq!(program.end().await.0, "/ a$HOME\r\n");
}

#[tokio::test]
async fn a_missing_directory_is_reported() {
    let mut launch = launch(&["pwd"]);
    launch.cwd = Some("/no/such/place".to_owned());
    assert_eq!(start_error(launch).await, "there is no directory `/no/such/place`");
}

#[tokio::test]
async fn relative_directories_start_at_home() {
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
async fn a_program_gets_inherited_and_profile_variables_only() {
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
async fn a_program_leads_its_own_session_on_its_terminal() {
    let script = "test -t 0 && test -t 1 && test -t 2 && ps -o sid= -p $$ | tr -d ' '; echo $$";
    let (output, _) = Program::shell(script).await.end().await;
    let ids: Vec<_> = output.lines().collect();
    assert_eq!(ids.len(), 2, "{output}");
    assert_eq!(ids[0], ids[1]);
}
