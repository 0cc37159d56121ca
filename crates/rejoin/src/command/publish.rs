//! `rejoin publish`.

use anyhow::Context;
use rejoin_protocol::TopicName;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::command::client::{Client, ServerArgs};

/// The arguments of `rejoin publish`.
#[derive(Debug, clap::Args)]
pub(crate) struct Publish {
    /// Topic to publish to.
    #[arg(value_parser = TopicName::new)]
    topic: TopicName,
    /// Message as JSON; anything else is sent as a string [default: each line of standard input].
    data: Option<String>,
    #[command(flatten)]
    server: ServerArgs,
}

impl Publish {
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(self.publish())
    }

    async fn publish(&self) -> anyhow::Result<()> {
        let mut client = self.server.connect().await?;
        if let Some(data) = &self.data {
            return self.send(&mut client, data).await;
        }

        // One at a time: messages keep the order of the lines, and the first error ends it.
        let mut lines = BufReader::new(tokio::io::stdin()).lines();
        while let Some(line) = lines.next_line().await.context("cannot read standard input")? {
            self.send(&mut client, &line).await?;
        }
        Ok(())
    }

    /// Publishes one message and waits until the server acknowledges it.
    async fn send(&self, client: &mut Client, data: &str) -> anyhow::Result<()> {
        let data = serde_json::from_str(data).unwrap_or_else(|_| Value::from(data));
        client.request("publish", json!({ "topic": self.topic, "data": data })).await?;
        Ok(())
    }
}
