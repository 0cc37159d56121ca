//! `rejoin subscribe`.

use std::{io, time::Duration};

use rejoin_protocol::TopicName;
use serde_json::{Value, json};

use crate::command::{
    complain,
    link::{Link, Refused, Target},
    say, sentence,
};

/// Waits between attempts to come back grow from one second to this.
const MAX_BACKOFF: Duration = Duration::from_secs(30);

/// The arguments of `rejoin subscribe`.
#[derive(Debug, clap::Args)]
pub(crate) struct Subscribe {
    /// The topic.
    #[arg(value_parser = TopicName::new)]
    topic: TopicName,
    /// Where to go on: the position of a message that was printed with --full.
    #[arg(long)]
    position: Option<String>,
    /// Print position and time with each message, not its data only.
    #[arg(long)]
    full: bool,
    /// End after so many messages.
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    #[command(flatten)]
    target: Target,
}

impl Subscribe {
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(self.subscribe())
    }

    /// Prints until enough is printed, and comes back by itself when the link is lost.
    async fn subscribe(&self) -> anyhow::Result<()> {
        let mut left = self.count.unwrap_or(u64::MAX);
        let mut position = self.position.clone();
        let mut link = Some(self.target.connect().await?);
        let mut backoff = Duration::from_secs(1);
        while left > 0 {
            let result = match link.take() {
                Some(link) => self.print(link, &mut position, &mut left).await,
                None => match self.target.connect().await {
                    Ok(connected) => {
                        link = Some(connected);
                        backoff = Duration::from_secs(1);
                        continue;
                    }
                    Err(error) => Err(error),
                },
            };
            match result {
                Ok(()) => complain("the connection ended; coming back"),
                Err(error) if error.is::<Refused>() => return Err(error),
                // Nobody reads what is printed.
                Err(error) if is_broken_pipe(&error) => return Ok(()),
                Err(error) => {
                    complain(&format!("{}; trying again in {backoff:?}", sentence(&error)));
                }
            }
            if left > 0 {
                tokio::time::sleep(backoff).await;
                backoff = (backoff * 2).min(MAX_BACKOFF);
            }
        }
        Ok(())
    }

    async fn print(
        &self,
        mut link: Link,
        position: &mut Option<String>,
        left: &mut u64,
    ) -> anyhow::Result<()> {
        let ack =
            link.ask("subscribe", json!({ "topic": self.topic, "position": position })).await?;
        if ack["verdict"] == "gap" {
            warn_of_gap(&ack);
        }
        remember(position, &ack);
        while *left > 0
            && let Some(message) = link.next().await?
        {
            let payload = &message["payload"];
            if payload["topic"] != self.topic.as_str() {
                continue;
            }
            match message["type"].as_str() {
                Some("message") => {
                    let line = if self.full { payload } else { &payload["data"] };
                    say(&line.to_string())?;
                    *left -= 1;
                }
                Some("gap") => warn_of_gap(payload),
                _ => continue,
            }
            remember(position, payload);
        }
        Ok(())
    }
}

fn remember(position: &mut Option<String>, payload: &Value) {
    if let Some(text) = payload["position"].as_str() {
        *position = Some(text.to_owned());
    }
}

fn warn_of_gap(payload: &Value) {
    match payload["missed"].as_u64() {
        Some(missed) => complain(&format!("{missed} messages are gone")),
        None => complain("messages may be gone: the topic has begun anew"),
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<io::Error>();
    io.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
