//! The negotiation of permessage-deflate, RFC 7692 §7.1.

const AGREED: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
const AGREED_WITH_WINDOW: &str = "permessage-deflate; server_no_context_takeover; \
     client_no_context_takeover; server_max_window_bits=15";

/// Gives the response's `Sec-WebSocket-Extensions` for the values of the request's.
///
/// `None`: no offer can be accepted, messages stay plain and the response has no such header. The
/// first acceptable offer wins. Neither side may keep its context from message to message, which
/// RFC 7692 lets a server demand of any offer. Declined are offers with
/// - a parameter that is unknown, repeated or malformed,
/// - `server_max_window_bits` below 15: one compressed variant serves all sockets, so none can have
///   a window of its own.
pub fn accept_deflate<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Option<&'static str> {
    values
        .into_iter()
        .filter_map(|value| str::from_utf8(value).ok())
        .find_map(|value| split(value, ',').find_map(accept_offer))
}

fn accept_offer(offer: &str) -> Option<&'static str> {
    let mut parts = split(offer, ';');
    if parts.next() != Some("permessage-deflate") {
        return None;
    }
    let mut agreed = AGREED;
    let mut seen = Vec::new();
    for parameter in parts {
        let (name, value) = match parameter.split_once('=') {
            Some((name, value)) => (name.trim_end(), Some(unquoted(value.trim_start())?)),
            None => (parameter, None),
        };
        if seen.contains(&name) {
            return None;
        }
        seen.push(name);
        match (name, value.as_deref()) {
            ("server_no_context_takeover" | "client_no_context_takeover", None) => {}
            ("client_max_window_bits", None) => {}
            ("client_max_window_bits", Some(bits)) if window_bits(bits).is_some() => {}
            ("server_max_window_bits", Some(bits)) if window_bits(bits) == Some(15) => {
                agreed = AGREED_WITH_WINDOW;
            }
            _ => return None,
        }
    }
    Some(agreed)
}

/// Splits a header's value where it is not quoted, and trims the pieces.
fn split(value: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    let separates = move |char| {
        match char {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            char => return char == separator && !quoted,
        }
        false
    };
    value.split(separates).map(str::trim)
}

/// Gives a parameter's value without quotes and escapes; `None` if the quotes do not match.
fn unquoted(value: &str) -> Option<String> {
    let Some(quoted) = value.strip_prefix('"') else { return Some(value.to_owned()) };
    let mut chars = quoted.strip_suffix('"')?.chars();
    let mut value = String::new();
    while let Some(char) = chars.next() {
        value.push(if char == '\\' { chars.next()? } else { char });
    }
    Some(value)
}

/// Reads 8 to 15 as RFC 7692 §7.1.2 writes them: without sign and leading zeros.
fn window_bits(value: &str) -> Option<u8> {
    (8..=15).find(|bits: &u8| bits.to_string() == value)
}
