//! The `rejoin` binary: arguments, configuration, signals, wiring.

mod clock;
mod command;
mod config;
mod data_dir;
mod descriptors;
mod environment;
mod log;
mod pages;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Keeps terminals and topics alive, and lets any number of devices rejoin them.
#[derive(Debug, Parser)]
#[command(name = "rejoin", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the server: terminals, topics and the web pages.
    Serve(command::serve::Serve),
    /// Print a token for a user, or a link that logs in a browser.
    Token(command::token::Token),
    /// Publish messages to a topic.
    Publish(command::publish::Publish),
    /// Print the messages of a topic as they are published, one per line.
    Subscribe(command::subscribe::Subscribe),
    /// List, show, export and delete the records of sessions.
    #[command(subcommand)]
    Sessions(command::sessions::Sessions),
    /// Copy the store of sessions to a file, also while the server runs.
    Backup(command::sessions::Backup),
    /// End the programs of all terminals.
    Kill(command::kill::Kill),
    /// Hold one terminal; started by the server.
    #[command(hide = true)]
    Keeper(command::keeper::Keeper),
    /// Check the configuration.
    #[command(subcommand)]
    Config(command::config::Config),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Serve(serve) => serve.run(),
        Command::Token(token) => token.run().map(|()| ExitCode::SUCCESS),
        Command::Publish(publish) => publish.run().map(|()| ExitCode::SUCCESS),
        Command::Subscribe(subscribe) => subscribe.run().map(|()| ExitCode::SUCCESS),
        Command::Sessions(sessions) => sessions.run().map(|()| ExitCode::SUCCESS),
        Command::Backup(backup) => backup.run().map(|()| ExitCode::SUCCESS),
        Command::Kill(kill) => kill.run().map(|()| ExitCode::SUCCESS),
        Command::Keeper(keeper) => keeper.run(),
        Command::Config(config) => config.run().map(|()| ExitCode::SUCCESS),
    };

    match result {
        Ok(code) => code,
        Err(error) => {
            command::print_error(&command::one_line(&error));
            ExitCode::FAILURE
        }
    }
}
