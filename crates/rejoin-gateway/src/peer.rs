//! Who sends a request: the socket's other end, or whom a trusted proxy speaks for.

mod forwarded;

use std::net::IpAddr;

use axum::http::HeaderMap;
use ipnet::IpNet;

use forwarded::Hop;

/// Where a request comes from; an extension of each request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The client's address; never an IPv4 address that is written as IPv6.
    pub address: IpAddr,
    /// Whether the client speaks TLS.
    pub is_secure: bool,
}

/// The proxies that are believed when they say for whom they speak.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies(Vec<IpNet>);

/// A text that is neither an address nor a network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an address or a network; write \"127.0.0.1\" or \"10.0.0.0/8\"")]
pub struct InvalidProxy(String);

impl TrustedProxies {
    /// The proxies at these addresses (`127.0.0.1`) and in these networks (`10.0.0.0/8`).
    ///
    /// # Errors
    /// [`InvalidProxy`] for the first text that is neither.
    pub fn new<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, InvalidProxy> {
        let network = |text: &str| {
            let network = text.parse().or_else(|_| text.parse().map(IpAddr::into));
            network.map_err(|_| InvalidProxy(text.to_owned()))
        };
        texts.into_iter().map(network).collect::<Result<_, _>>().map(Self)
    }

    /// Whether a proxy is at this address.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        let Self(networks) = self;
        networks.iter().any(|network| network.contains(&address.to_canonical()))
    }

    /// Who sends a request with these headers over a socket with this other end.
    ///
    /// Only what proxies of this list have added is believed: from the right, each entry up to
    /// the first address that is not in the list. That is the client; what stands left of it is
    /// the client's own invention. An entry that names no address ends the walk too.
    pub(crate) fn client(&self, socket: Peer, headers: &HeaderMap) -> Peer {
        let socket = Peer { address: socket.address.to_canonical(), ..socket };
        if !self.contains(socket.address) {
            return socket;
        }
        let forwarded = self.walk(socket, &forwarded::hops(headers));
        let x_forwarded = self.walk(socket, &forwarded::x_hops(headers));
        match (forwarded, x_forwarded) {
            // A proxy writes one of the headers and passes the other on as it came: when they
            // differ, one is forged, and nothing says which.
            (Some(one), Some(other)) if one.address != other.address => socket,
            (Some(client), _) | (None, Some(client)) => client,
            (None, None) => socket,
        }
    }

    /// Who is at the left end of the hops that are believed; nothing if there are none at all.
    fn walk(&self, socket: Peer, hops: &[Hop]) -> Option<Peer> {
        let mut client = socket;
        for hop in hops.iter().rev() {
            let Some(address) = hop.address else { break };
            client = Peer { address, is_secure: hop.is_secure.unwrap_or(socket.is_secure) };
            if !self.contains(address) {
                break;
            }
        }
        (!hops.is_empty()).then_some(client)
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    const FORWARDED: &str = "forwarded";
    const FOR: &str = "x-forwarded-for";
    const PROTO: &str = "x-forwarded-proto";

    fn client(socket: &str, headers: &[(&'static str, &str)]) -> (String, bool) {
        let trusted = TrustedProxies::new(["127.0.0.1", "10.0.0.0/8", "fd00::/8"]).unwrap();
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| {
                (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
            })
            .collect();
        let socket = Peer { address: socket.parse().unwrap(), is_secure: false };
        let Peer { address, is_secure } = trusted.client(socket, &headers);
        (address.to_string(), is_secure)
    }

    #[track_caller]
    fn is(headers: &[(&'static str, &str)], address: &str, is_secure: bool) {
        assert_eq!(client("127.0.0.1", headers), (address.to_owned(), is_secure), "{headers:?}");
    }

    #[test]
    fn what_a_peer_that_is_not_listed_says_changes_nothing() {
        let forged = [(FORWARDED, "for=1.2.3.4;proto=https"), (FOR, "1.2.3.4"), (PROTO, "https")];
        for socket in ["203.0.113.9", "2001:db8::9", "127.0.0.2"] {
            assert_eq!(client(socket, &forged), (socket.to_owned(), false));
        }
        let nobody = TrustedProxies::default();
        assert!(!nobody.contains("127.0.0.1".parse().unwrap()));
    }

    #[test]
    fn a_proxy_that_says_nothing_is_the_client() {
        is(&[], "127.0.0.1", false);
        is(&[(FOR, "")], "127.0.0.1", false);
        is(&[(FORWARDED, " , ,")], "127.0.0.1", false);
        is(&[(PROTO, "https")], "127.0.0.1", false);
    }

    #[test]
    fn the_client_is_the_right_most_address_that_is_no_proxy() {
        is(&[(FOR, "203.0.113.9")], "203.0.113.9", false);
        is(&[(FOR, "6.6.6.6, 203.0.113.9")], "203.0.113.9", false);
        is(&[(FOR, "6.6.6.6,203.0.113.9 , 10.1.2.3,10.0.0.1")], "203.0.113.9", false);
        is(&[(FOR, "6.6.6.6"), (FOR, "203.0.113.9"), (FOR, "10.1.2.3")], "203.0.113.9", false);
        is(&[(FORWARDED, "for=6.6.6.6, for=203.0.113.9, for=10.0.0.1")], "203.0.113.9", false);
        is(&[(FORWARDED, "for=6.6.6.6"), (FORWARDED, "for=203.0.113.9")], "203.0.113.9", false);
    }

    #[test]
    fn if_all_are_proxies_the_left_most_is_the_client() {
        is(&[(FOR, "10.0.0.3, 10.0.0.2")], "10.0.0.3", false);
    }

    #[test]
    fn addresses_are_read_as_they_are_written_in_practice() {
        for (text, address) in [
            ("203.0.113.9:4711", "203.0.113.9"),
            ("2001:db8::9", "2001:db8::9"),
            ("[2001:db8::9]", "2001:db8::9"),
            ("[2001:db8::9]:4711", "2001:db8::9"),
            ("::ffff:203.0.113.9", "203.0.113.9"),
        ] {
            is(&[(FOR, text)], address, false);
            is(&[(FORWARDED, &format!("FOR=\"{text}\""))], address, false);
        }
        is(&[(FORWARDED, "for=\"203.0.113.9:_port\"")], "203.0.113.9", false);
        is(&[(FORWARDED, "for=\"203.0.113\\.9\"")], "203.0.113.9", false);
        is(&[(FORWARDED, "by=10.0.0.1; For=203.0.113.9 ;host=a")], "203.0.113.9", false);
        is(&[(FOR, "203.0.113.9, ::ffff:10.0.0.1, fd00::1")], "203.0.113.9", false);
    }

    #[test]
    fn a_socket_of_both_versions_knows_its_proxy_too() {
        let headers = [(FOR, "203.0.113.9")];
        assert_eq!(client("::ffff:127.0.0.1", &headers), ("203.0.113.9".to_owned(), false));
        assert_eq!(client("::ffff:192.0.2.1", &headers), ("192.0.2.1".to_owned(), false));
    }

    #[test]
    fn an_entry_that_names_no_address_ends_the_walk() {
        for text in ["unknown", "_hidden", "", "203.0.113", "1.2.3.4:port", "[2001:db8::9", "a b"] {
            is(&[(FORWARDED, &format!("for=6.6.6.6, for=\"{text}\""))], "127.0.0.1", false);
            is(
                &[(FORWARDED, &format!("for=6.6.6.6, for=\"{text}\", for=10.0.0.1"))],
                "10.0.0.1",
                false,
            );
            if !text.is_empty() {
                is(&[(FOR, &format!("6.6.6.6, {text}, 10.0.0.1"))], "10.0.0.1", false);
            }
        }
        for text in ["proto=https", "for", "for=1.1.1.1;for=2.2.2.2", "for=\"1.1.1.1\"x", "=", ";"]
        {
            is(&[(FORWARDED, &format!("for=6.6.6.6, {text}"))], "127.0.0.1", false);
        }
    }

    #[test]
    fn a_quote_that_is_left_open_cannot_swallow_what_the_proxy_adds() {
        for (forged, address) in [
            ("for=6.6.6.6;x=\"", "127.0.0.1"),
            ("for=6.6.6.6;x=\"\\", "127.0.0.1"),
            ("for=\"6.6.6.6", "127.0.0.1"),
        ] {
            is(&[(FORWARDED, &format!("{forged}, for=203.0.113.9"))], address, false);
            is(&[(FORWARDED, &format!("{forged}, for=\"[2001:db8::9]:80\""))], address, false);
        }
        // In a line of its own it harms nothing.
        is(
            &[(FORWARDED, "for=6.6.6.6;x=\""), (FORWARDED, "for=203.0.113.9")],
            "203.0.113.9",
            false,
        );
    }

    #[test]
    fn the_scheme_is_that_of_the_hop_that_counts() {
        is(
            &[(FORWARDED, "for=203.0.113.9;proto=https, for=10.0.0.1;proto=http")],
            "203.0.113.9",
            true,
        );
        is(
            &[(FORWARDED, "for=6.6.6.6;proto=https, for=203.0.113.9;proto=http")],
            "203.0.113.9",
            false,
        );
        is(&[(FORWARDED, "for=203.0.113.9;proto=WSS")], "203.0.113.9", true);
        is(&[(FOR, "203.0.113.9"), (PROTO, "https")], "203.0.113.9", true);
        is(&[(FOR, "203.0.113.9, 10.0.0.1"), (PROTO, "https")], "203.0.113.9", true);
        is(&[(FOR, "203.0.113.9, 10.0.0.1"), (PROTO, "https, http")], "203.0.113.9", true);
        is(&[(FOR, "6.6.6.6, 203.0.113.9"), (PROTO, "https, http")], "203.0.113.9", false);
        is(&[(FOR, "1.1.1.1, 2.2.2.2, 203.0.113.9"), (PROTO, "https, http")], "203.0.113.9", false);
    }

    #[test]
    fn headers_that_contradict_each_other_are_not_believed() {
        let agree = [(FORWARDED, "for=203.0.113.9;proto=https"), (FOR, "6.6.6.6, 203.0.113.9")];
        is(&agree, "203.0.113.9", true);
        // nginx adds to `X-Forwarded-For` and passes on whatever `Forwarded` the client sent.
        is(&[(FORWARDED, "for=6.6.6.6;proto=https"), (FOR, "203.0.113.9")], "127.0.0.1", false);
    }

    #[test]
    fn a_list_of_proxies_says_what_is_wrong_with_it() {
        let error = TrustedProxies::new(["10.0.0.0/8", "localhost"]).unwrap_err();
        let expected = "\"localhost\" is not an address or a network; \
                        write \"127.0.0.1\" or \"10.0.0.0/8\"";
        assert_eq!(error.to_string(), expected);
        assert!(TrustedProxies::new(["10.0.0.0/33"]).is_err());
    }
}
