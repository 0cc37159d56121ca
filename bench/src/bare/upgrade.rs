//! The HTTP upgrade of the bare loop.

use anyhow::{Context as _, bail};
use rejoin_websocket::accept_key;
use rejoin_websocket::handshake::accept_deflate;

/// The path of an upgrade request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Path {
    Publish,
    /// Holds the number of the topic, 0 by default.
    Subscribe(usize),
}

/// Returns the response to an upgrade request, and the path of the request.
pub(super) fn respond(request: &[u8], deflate: bool) -> anyhow::Result<(String, Path)> {
    let request = str::from_utf8(request).context("the request is no text")?;
    let path = match request.split(' ').nth(1) {
        Some("/publish") => Path::Publish,
        Some("/subscribe") => Path::Subscribe(0),
        Some(path) => match path.strip_prefix("/subscribe/") {
            Some(topic) => Path::Subscribe(topic.parse().context("the topic is no number")?),
            None => bail!("the loop has no path {path:?}"),
        },
        None => bail!("the request has no path"),
    };

    Ok((accept(request, deflate)?, path))
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

    fn path(path: &str) -> anyhow::Result<Path> {
        let request = format!("GET {path} HTTP/1.1\r\nSec-WebSocket-Key: a\r\n\r\n");
        Ok(respond(request.as_bytes(), false)?.1)
    }

    #[test]
    fn the_path_selects_the_role_and_the_topic() {
        assert_eq!(path("/publish").unwrap(), Path::Publish);
        assert_eq!(path("/subscribe").unwrap(), Path::Subscribe(0));
        assert_eq!(path("/subscribe/12").unwrap(), Path::Subscribe(12));
        assert!(path("/subscribe/x").is_err() && path("/else").is_err());
    }
}
