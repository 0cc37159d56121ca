//! `rejoin-keeper DIRECTORY`: a keeper without the rest of rejoin.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use rejoin_keeper::Directory;

fn main() -> ExitCode {
    let Some(path) = std::env::args_os().nth(1) else {
        let _ = writeln!(io::stderr(), "usage: rejoin-keeper DIRECTORY, with a launch on stdin");
        return ExitCode::FAILURE;
    };
    match rejoin_keeper::run(&Directory::new(path)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "rejoin-keeper: {error}");
            ExitCode::FAILURE
        }
    }
}
