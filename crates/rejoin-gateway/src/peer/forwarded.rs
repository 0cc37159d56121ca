//! Parsers for `Forwarded` (RFC 7239), and for `X-Forwarded-For` with `X-Forwarded-Proto`.
//!
//! Hand-written because the crates `rfc7239` 0.1 and `trusted-proxies` 0.3 split at commas and
//! semicolons inside quoted strings. A client could thus forge an entry through a quoted value that
//! its proxy adds, such as `host="a, for=1.2.3.4"`.

use std::{
    borrow::Cow,
    net::{IpAddr, Ipv6Addr},
};

use axum::http::{HeaderMap, header};

/// One entry: the sender from which a proxy received the request.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Hop {
    /// `None` if the entry is malformed or hides the address.
    pub(super) address: Option<IpAddr>,
    /// `Some(true)` if the sender spoke TLS; `None` if the entry does not state it.
    pub(super) is_secure: Option<bool>,
}

/// Returns the hops of `Forwarded`, the latest last.
pub(super) fn forwarded_hops(headers: &HeaderMap) -> Vec<Hop> {
    let lines = headers.get_all(header::FORWARDED);
    let elements = lines.iter().flat_map(|line| match line.to_str() {
        Ok(line) => split_unquoted(line, b',').filter(|part| *part != Some("")).collect(),
        Err(_) => vec![None],
    });

    elements.map(|element| element.and_then(hop).unwrap_or_default()).collect()
}

/// Returns the hops of `X-Forwarded-For`, the latest last.
pub(super) fn x_forwarded_hops(headers: &HeaderMap) -> Vec<Hop> {
    let list = |name: &str| {
        let lines = headers.get_all(name).iter();
        // An unreadable line becomes an entry without an address, so that it is not skipped.
        let texts = lines.flat_map(|line| line.to_str().unwrap_or("unreadable").split(','));
        texts.map(str::trim).filter(|text| !text.is_empty()).collect::<Vec<_>>()
    };

    let addresses = list("x-forwarded-for");
    let schemes = list("x-forwarded-proto");
    let hop = |(index, text)| {
        // Usually only one proxy sets the scheme, however many addresses there are.
        let scheme =
            if schemes.len() == addresses.len() { schemes.get(index) } else { schemes.last() };
        Hop { address: parse_node(text), is_secure: scheme.map(|scheme| is_secure(scheme)) }
    };

    addresses.iter().copied().enumerate().map(hop).collect()
}

/// Parses one element, such as `for=192.0.2.1;proto=https`.
fn hop(element: &str) -> Option<Hop> {
    let (mut node_text, mut scheme) = (None, None);
    for pair in split_unquoted(element, b';') {
        let (name, value) = pair?.split_once('=')?;
        let slot = match name.trim_end() {
            name if name.eq_ignore_ascii_case("for") => &mut node_text,
            name if name.eq_ignore_ascii_case("proto") => &mut scheme,
            _ => continue,
        };

        // A parameter must occur at most once (RFC 7239 §4). Otherwise it is ambiguous.
        if slot.replace(unquote(value.trim_start())?).is_some() {
            return None;
        }
    }

    let is_secure = scheme.map(|scheme| is_secure(&scheme));
    Some(Hop { address: parse_node(&node_text?), is_secure })
}

/// Splits at separators outside of quoted strings, and trims the parts.
///
/// A part with an unclosed quote is `None`. It ends with `text`, so it cannot swallow a header line
/// that a proxy adds.
fn split_unquoted(text: &str, separator: u8) -> impl Iterator<Item = Option<&str>> {
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

/// Returns a token as it is, or the content of a quoted string. `None` if it is malformed.
fn unquote(value: &str) -> Option<Cow<'_, str>> {
    let Some(quoted) = value.strip_prefix('"') else {
        return (!value.contains('"')).then_some(value.into());
    };
    let (mut text, mut chars) = (String::new(), quoted.chars());
    loop {
        match chars.next()? {
            '"' => return chars.as_str().is_empty().then_some(text.into()),
            '\\' => text.push(chars.next()?),
            other => text.push(other),
        }
    }
}

/// Parses an address, with or without a port and brackets.
fn parse_node(text: &str) -> Option<IpAddr> {
    let address = match text.strip_prefix('[') {
        Some(bracketed) => {
            let (address, port) = bracketed.split_once(']')?;
            let is_port = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
            is_port.then_some(address.parse::<Ipv6Addr>().ok()?.into())
        }
        // Tries the whole text first: proxies write IPv6 addresses without brackets into
        // `X-Forwarded-For`.
        None => text.parse().ok().or_else(|| {
            let (address, port) = text.split_once(':')?;
            is_port(port).then_some(address.parse().ok()?)
        }),
    };

    address.map(|address: IpAddr| address.to_canonical())
}

/// Returns `true` if the text is a port number or an obfuscated port (RFC 7239 §6).
fn is_port(text: &str) -> bool {
    let is_name =
        |name: &str| name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    text.parse::<u16>().is_ok() || text.strip_prefix('_').is_some_and(is_name)
}

fn is_secure(scheme: &str) -> bool {
    scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("wss")
}
