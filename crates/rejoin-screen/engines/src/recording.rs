//! Recordings of programs: output and changes of size, in compressed files.

use std::fs::File;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};

/// The output of a program with the sizes of its terminal.
#[derive(Debug, Serialize)]
pub struct Recording {
    pub name: String,
    pub cols: u16,
    pub rows: u16,
    pub steps: Vec<Step>,
}

/// Output, each character standing for a byte, or a new size.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Step {
    Output(String),
    Size(u16, u16),
}

impl Recording {
    /// Appends output.
    pub fn push(&mut self, output: &[u8]) {
        let text = output.iter().copied().map(char::from);
        match self.steps.last_mut() {
            Some(Step::Output(last)) => last.extend(text),
            _ => self.steps.push(Step::Output(text.collect())),
        }
    }

    /// Returns the number of recorded bytes.
    pub fn len(&self) -> usize {
        let bytes = |step: &Step| match step {
            Step::Output(output) => output.chars().count(),
            Step::Size(..) => 0,
        };

        self.steps.iter().map(bytes).sum()
    }

    /// Returns true if nothing was recorded.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns true if the recorded output contains `text`.
    pub fn contains(&self, text: &str) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::Output(output) if output.contains(text)))
    }

    /// Writes the recording as compressed JSON.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        let mut encoder = GzEncoder::new(File::create(path)?, Compression::best());
        serde_json::to_writer(&mut encoder, self)?;
        encoder.finish()?;

        Ok(())
    }
}
