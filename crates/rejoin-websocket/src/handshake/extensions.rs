//! Negotiation of permessage-deflate (RFC 7692 §7.1).

const AGREED: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
const AGREED_WITH_WINDOW: &str = "permessage-deflate; server_no_context_takeover; \
     client_no_context_takeover; server_max_window_bits=15";

/// Returns the `Sec-WebSocket-Extensions` of the response to these offers.
///
/// `values` are the values of that header in the request.
///
/// Returns `None` if no offer is acceptable; messages then stay plain and the response must not
/// contain the header. The first acceptable offer wins. The response forbids both sides to keep
/// their context between messages, which RFC 7692 lets a server demand of any offer.
///
/// An offer is declined if it contains
/// - an unknown, repeated or malformed parameter, or
/// - `server_max_window_bits` below 15: all sockets share one compressed variant, so a socket
///   cannot have its own window.
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
        // RFC 7692 §7.1 allows a value as a token or as a quoted string.
        let (name, value) = match parameter.split_once('=') {
            Some((name, value)) => (name.trim_end(), Some(unquoted(value.trim_start())?)),
            None => (parameter, None),
        };

        if seen.contains(&name) {
            return None;
        }

        seen.push(name);
        // The response demands both context takeover parameters anyway, and
        // `client_max_window_bits` is a hint that a server may ignore. Only the server's own window
        // needs an answer.
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

/// Splits a header's value at unquoted separators and trims the parts.
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

/// Returns a parameter's value without quotes and escapes, or `None` if the quotes do not match.
fn unquoted(value: &str) -> Option<String> {
    let Some(quoted) = value.strip_prefix('"') else { return Some(value.to_owned()) };
    let mut chars = quoted.strip_suffix('"')?.chars();
    let mut value = String::new();

    while let Some(char) = chars.next() {
        value.push(if char == '\\' { chars.next()? } else { char });
    }

    Some(value)
}

/// Parses 8 to 15, without sign or leading zeros (RFC 7692 §7.1.2).
fn window_bits(value: &str) -> Option<u8> {
    (8..=15).find(|bits: &u8| bits.to_string() == value)
}
