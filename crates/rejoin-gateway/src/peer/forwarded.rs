//! What proxies say: `Forwarded` (RFC 7239), and `X-Forwarded-For` with `X-Forwarded-Proto`.

use std::{
    borrow::Cow,
    net::{IpAddr, Ipv6Addr},
};

use axum::http::{HeaderMap, header};

/// What one proxy says of whoever it got a request from.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Hop {
    /// Nothing if it is malformed, or hidden on purpose.
    pub(super) address: Option<IpAddr>,
    /// Whether that one spoke TLS, if it is said.
    pub(super) is_secure: Option<bool>,
}

/// The hops of `Forwarded`, the latest last.
pub(super) fn hops(headers: &HeaderMap) -> Vec<Hop> {
    let lines = headers.get_all(header::FORWARDED);
    let elements = lines.iter().flat_map(|line| match line.to_str() {
        Ok(line) => pieces(line, b',').filter(|piece| *piece != Some("")).collect(),
        Err(_) => vec![None],
    });
    elements.map(|element| element.and_then(hop).unwrap_or_default()).collect()
}

/// The hops of `X-Forwarded-For`, the latest last.
pub(super) fn x_hops(headers: &HeaderMap) -> Vec<Hop> {
    let list = |name: &str| {
        let lines = headers.get_all(name).iter();
        let texts = lines.flat_map(|line| line.to_str().unwrap_or("unreadable").split(','));
        texts.map(str::trim).filter(|text| !text.is_empty()).collect::<Vec<_>>()
    };
    let addresses = list("x-forwarded-for");
    let schemes = list("x-forwarded-proto");
    let hop = |(index, text)| {
        // As a rule only the outermost proxy says it, whatever the number of the others.
        let scheme =
            if schemes.len() == addresses.len() { schemes.get(index) } else { schemes.last() };
        Hop { address: node(text), is_secure: scheme.map(|scheme| is_secure(scheme)) }
    };
    addresses.iter().copied().enumerate().map(hop).collect()
}

/// `for=…;proto=…`.
fn hop(element: &str) -> Option<Hop> {
    let (mut node_text, mut scheme) = (None, None);
    for pair in pieces(element, b';') {
        let (name, value) = pair?.split_once('=')?;
        let slot = match name.trim_end() {
            name if name.eq_ignore_ascii_case("for") => &mut node_text,
            name if name.eq_ignore_ascii_case("proto") => &mut scheme,
            _ => continue,
        };
        if slot.replace(unquote(value.trim_start())?).is_some() {
            return None;
        }
    }
    let is_secure = scheme.map(|scheme| is_secure(&scheme));
    Some(Hop { address: node(&node_text?), is_secure })
}

/// What stands between separators that are not within quotes, without the space around it; a
/// piece whose quote stays open is nothing.
fn pieces(text: &str, separator: u8) -> impl Iterator<Item = Option<&str>> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest.take()?;
        let (mut is_quoted, mut is_escaped) = (false, false);
        for (index, byte) in text.bytes().enumerate() {
            match byte {
                _ if is_escaped => is_escaped = false,
                b'\\' if is_quoted => is_escaped = true,
                b'"' => is_quoted = !is_quoted,
                byte if byte == separator && !is_quoted => {
                    rest = Some(&text[index + 1..]);
                    return Some(Some(text[..index].trim()));
                }
                _ => {}
            }
        }
        Some((!is_quoted).then_some(text.trim()))
    })
}

/// A token, or what a quoted string says.
fn unquote(value: &str) -> Option<Cow<'_, str>> {
    let Some(quoted) = value.strip_prefix('"') else {
        return (!value.contains('"')).then_some(value.into());
    };
    let (mut text, mut bytes) = (String::new(), quoted.chars());
    loop {
        match bytes.next()? {
            '"' => return bytes.as_str().is_empty().then_some(text.into()),
            '\\' => text.push(bytes.next()?),
            other => text.push(other),
        }
    }
}

/// An address, with or without a port and brackets.
fn node(text: &str) -> Option<IpAddr> {
    let address = match text.strip_prefix('[') {
        Some(bracketed) => {
            let (address, port) = bracketed.split_once(']')?;
            let is_port = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
            is_port.then_some(address.parse::<Ipv6Addr>().ok()?.into())
        }
        None => text.parse().ok().or_else(|| {
            let (address, port) = text.split_once(':')?;
            is_port(port).then_some(address.parse().ok()?)
        }),
    };
    address.map(|address: IpAddr| address.to_canonical())
}

/// A number, or a name that hides it (RFC 7239 §6.2).
fn is_port(text: &str) -> bool {
    let is_name =
        |name: &str| name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    text.parse::<u16>().is_ok() || text.strip_prefix('_').is_some_and(is_name)
}

fn is_secure(scheme: &str) -> bool {
    scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("wss")
}
