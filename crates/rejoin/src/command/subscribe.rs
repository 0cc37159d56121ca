//! `rejoin subscribe`.

use std::{io, time::Duration};

use rejoin_protocol::TopicName;
use serde_json::{Value, json};

use crate::command::{
    client::{Client, Refusal, ServerArgs},
    one_line, print_error, print_line,
};

/// Delay before the first attempt to reconnect. Each failed attempt doubles it.
const MIN_BACKOFF: Duration = Duration::from_secs(1);
/// Longest delay between two attempts to reconnect.
const MAX_BACKOFF: Duration = Duration::from_secs(30);

/// The arguments of `rejoin subscribe`.
#[derive(Debug, clap::Args)]
pub(crate) struct Subscribe {
    /// Topic to subscribe to.
    #[arg(value_parser = TopicName::new)]
    topic: TopicName,
    /// Position to resume after, as printed by --full.
    #[arg(long)]
    position: Option<String>,
    /// Print the position and the time of each message, not only its data.
    #[arg(long)]
    full: bool,
    /// Exit after this number of messages.
    #[arg(long, value_name = "N", value_parser = parse_count)]
    count: Option<u64>,
    #[command(flatten)]
    server: ServerArgs,
}

/// The progress of a subscription across its connections.
struct Progress {
    /// The position to resume after; `None` before the first reply.
    position: Option<String>,
    /// Messages left to print.
    remaining: u64,
}

impl Subscribe {
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(self.subscribe())
    }

    /// Prints messages until the count is reached. Reconnects and resumes after a lost connection.
    async fn subscribe(&self) -> anyhow::Result<()> {
        let mut progress =
            Progress { position: self.position.clone(), remaining: self.count.unwrap_or(u64::MAX) };
        // The first connect is not retried: a wrong URL or token is reported at once.
        let mut client = Some(self.server.connect().await?);
        let mut backoff = MIN_BACKOFF;

        while progress.remaining > 0 {
            let result = match client.take() {
                Some(client) => self.print(client, &mut progress).await,
                None => match self.server.connect().await {
                    Ok(connected) => {
                        client = Some(connected);
                        backoff = MIN_BACKOFF;
                        continue;
                    }
                    Err(error) => Err(error),
                },
            };

            match result {
                Ok(()) if progress.remaining == 0 => return Ok(()),
                Ok(()) => print_error("the connection ended; reconnecting"),
                Err(error) if error.is::<Refusal>() => return Err(error),
                // The reader of the output has exited, as with `| head`: this is a normal end.
                Err(error) if is_broken_pipe(&error) => return Ok(()),
                Err(error) => {
                    print_error(&format!("{}; retrying in {backoff:?}", one_line(&error)));
                }
            }
            tokio::time::sleep(backoff).await;
            backoff = (backoff * 2).min(MAX_BACKOFF);
        }
        Ok(())
    }

    /// Subscribes and prints messages until the count is reached or the connection ends.
    async fn print(&self, mut client: Client, progress: &mut Progress) -> anyhow::Result<()> {
        let request = json!({ "topic": self.topic, "position": progress.position });
        let ack = client.request("subscribe", request).await?;
        if ack["verdict"] == "gap" {
            warn_of_gap(&ack);
        }
        progress.advance(&ack);

        while progress.remaining > 0
            && let Some(message) = client.next_message().await?
        {
            let payload = &message["payload"];
            if payload["topic"] != self.topic.as_str() {
                continue;
            }
            match message["type"].as_str() {
                Some("message") => {
                    let line = if self.full { payload } else { &payload["data"] };
                    print_line(&line.to_string())?;
                    progress.remaining -= 1;
                }
                Some("gap") => warn_of_gap(payload),
                _ => continue,
            }
            // After the line is printed: a message whose print failed must be sent again.
            progress.advance(payload);
        }
        Ok(())
    }
}

impl Progress {
    /// Takes the position of a payload, if it has one.
    fn advance(&mut self, payload: &Value) {
        if let Some(position) = payload["position"].as_str() {
            self.position = Some(position.to_owned());
        }
    }
}

fn parse_count(text: &str) -> Result<u64, &'static str> {
    text.parse().map_err(|_| "write a number such as 10")
}

fn warn_of_gap(payload: &Value) {
    match payload["missed"].as_u64() {
        Some(missed) => print_error(&format!("{missed} messages are no longer available")),
        None => print_error("messages may be missing: the topic was restarted"),
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<io::Error>();
    io.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
