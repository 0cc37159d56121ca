//! `rejoin publish`.

use anyhow::Context;
use rejoin_protocol::TopicName;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::command::link::{Link, Target};

/// The arguments of `rejoin publish`.
#[derive(Debug, clap::Args)]
pub(crate) struct Publish {
    /// The topic.
    #[arg(value_parser = TopicName::new)]
    topic: TopicName,
    /// What to publish: JSON, or else a text [default: each line of standard input].
    data: Option<String>,
    #[command(flatten)]
    target: Target,
}

impl Publish {
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(self.publish())
    }

    async fn publish(&self) -> anyhow::Result<()> {
        let mut link = self.target.connect().await?;
        if let Some(data) = &self.data {
            return self.send(&mut link, data).await;
        }
        let mut lines = BufReader::new(tokio::io::stdin()).lines();
        while let Some(line) = lines.next_line().await.context("cannot read standard input")? {
            self.send(&mut link, &line).await?;
        }
        Ok(())
    }

    async fn send(&self, link: &mut Link, data: &str) -> anyhow::Result<()> {
        let data = serde_json::from_str(data).unwrap_or_else(|_| Value::from(data));
        link.ask("publish", json!({ "topic": self.topic, "data": data })).await?;
        Ok(())
    }
}
