//! What the server says, as far as a benchmark has to understand it.

use serde::Deserialize;
use serde_json::value::RawValue;

/// The outside of a message from the server.
#[derive(Debug, Deserialize)]
pub(crate) struct Said<'a> {
    #[serde(rename = "type")]
    pub(crate) kind: &'a str,
    #[serde(default)]
    pub(crate) reply_to: Option<&'a str>,
    #[serde(borrow, default)]
    payload: Option<&'a RawValue>,
}

/// The payload of `message`.
#[derive(Debug, Deserialize)]
pub(crate) struct Message<'a> {
    pub(crate) position: &'a str,
    #[serde(borrow)]
    data: &'a RawValue,
}

/// The payload of the answer to `subscribe`.
#[derive(Debug, Deserialize)]
pub(crate) struct Subscribed<'a> {
    pub(crate) verdict: &'a str,
    #[serde(default)]
    pub(crate) reason: Option<&'a str>,
    pub(crate) position: &'a str,
}

/// The payload of `closing`; without a time, coming back is pointless.
#[derive(Debug, Deserialize)]
pub(crate) struct Closing {
    #[serde(default)]
    pub(crate) reconnect_after_ms: Option<u64>,
    #[serde(default)]
    pub(crate) window_ms: u64,
}

/// The payload of `error`.
#[derive(Debug, Deserialize)]
pub(crate) struct Refusal<'a> {
    pub(crate) code: &'a str,
}

impl<'a> Said<'a> {
    /// Reads a text message.
    ///
    /// # Errors
    /// When it is no message of the protocol.
    pub(crate) fn read(text: &'a [u8]) -> anyhow::Result<Self> {
        Ok(serde_json::from_slice(text)?)
    }

    /// Reads the payload.
    ///
    /// # Errors
    /// When there is none, or it is of another type.
    pub(crate) fn payload<T: Deserialize<'a>>(&self) -> anyhow::Result<T> {
        Ok(serde_json::from_str(self.payload.map_or("{}", RawValue::get))?)
    }
}

impl Message<'_> {
    /// What was published, if it is a string without escapes.
    pub(crate) fn text(&self) -> Option<&[u8]> {
        Some(self.data.get().strip_prefix('"')?.strip_suffix('"')?.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_the_protocol_are_read_as_far_as_needed() {
        let text =
            br#"{"type":"message","payload":{"topic":"t","position":"a.1","data":"x y","time":1}}"#;
        let said = Said::read(text).unwrap();
        assert_eq!((said.kind, said.reply_to), ("message", None));
        let message: Message<'_> = said.payload().unwrap();
        assert_eq!((message.position, message.text()), ("a.1", Some(&b"x y"[..])));

        let said =
            Said::read(br#"{"reply_to":"7","type":"error","payload":{"code":"rate_limited"}}"#)
                .unwrap();
        assert_eq!((said.kind, said.reply_to), ("error", Some("7")));
        assert_eq!(said.payload::<Refusal<'_>>().unwrap().code, "rate_limited");
    }
}
