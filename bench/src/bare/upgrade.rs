//! The HTTP upgrade of the bare loop.

use anyhow::{Context as _, ensure};
use rejoin_websocket::accept_key;
use rejoin_websocket::handshake::accept_deflate;

/// Returns the response to an upgrade request, and the topic of a subscriber; the publisher has
/// none.
pub(super) fn respond(request: &[u8], deflate: bool) -> anyhow::Result<(String, Option<usize>)> {
    let request = str::from_utf8(request).context("the request is no text")?;
    let path = request.split(' ').nth(1).context("the request has no path")?;
    let topic = match path.strip_prefix("/subscribe/") {
        Some(topic) => Some(topic.parse().context("the topic is no number")?),
        None => {
            ensure!(path == "/publish", "the loop has no path {path:?}");
            None
        }
    };
    Ok((accept(request, deflate)?, topic))
}

/// Returns the response to an upgrade request with any path.
pub(super) fn accept(request: &str, deflate: bool) -> anyhow::Result<String> {
    let key = request
        .lines()
        .filter_map(|line| line.split_once(": "))
        .find(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key"))
        .context("the request has no key")?;

    let offers: &[&[u8]] = if deflate { &[b"permessage-deflate"] } else { &[] };
    let extensions = accept_deflate(offers.iter().copied())
        .map_or_else(String::new, |agreed| format!("Sec-WebSocket-Extensions: {agreed}\r\n"));
    Ok(format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {}\r\n{extensions}\r\n",
        accept_key(key.1.trim())
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(path: &str) -> anyhow::Result<Option<usize>> {
        let request = format!("GET {path} HTTP/1.1\r\nSec-WebSocket-Key: a\r\n\r\n");
        Ok(respond(request.as_bytes(), false)?.1)
    }

    #[test]
    fn the_path_selects_the_role_and_the_topic() {
        assert_eq!(topic("/publish").unwrap(), None);
        assert_eq!(topic("/subscribe/12").unwrap(), Some(12));
        assert!(topic("/subscribe/x").is_err() && topic("/else").is_err());
    }
}
