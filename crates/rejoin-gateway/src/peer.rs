//! The address of a request's client, even behind trusted proxies.

mod forwarded;

use std::net::IpAddr;

use axum::http::HeaderMap;
use ipnet::IpNet;

use forwarded::Hop;

/// The client of a request. Stored in the extensions of each request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The client's address. An IPv4-mapped IPv6 address is converted to IPv4.
    pub address: IpAddr,
    /// `true` if the client speaks TLS, to this server or to a trusted proxy.
    pub is_secure: bool,
}

/// The proxies whose `Forwarded` and `X-Forwarded-*` headers are trusted.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies(Vec<IpNet>);

/// An entry that is neither an address nor a network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an address or a network; write \"127.0.0.1\" or \"10.0.0.0/8\"")]
pub struct InvalidProxy(String);

impl TrustedProxies {
    /// Parses addresses (`127.0.0.1`) and networks (`10.0.0.0/8`) of proxies.
    ///
    /// # Errors
    /// [`InvalidProxy`] for the first entry that is neither.
    pub fn new<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, InvalidProxy> {
        let network = |text: &str| {
            let network = text.parse().or_else(|_| text.parse().map(IpAddr::into));
            network.map_err(|_| InvalidProxy(text.to_owned()))
        };

        texts.into_iter().map(network).collect::<Result<_, _>>().map(Self)
    }

    /// Returns `true` if a trusted proxy has this address.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        let Self(networks) = self;
        networks.iter().any(|network| network.contains(&address.to_canonical()))
    }

    /// Returns the client of a request with these headers. `socket` is the other end of its socket.
    ///
    /// Only entries added by trusted proxies count. Each proxy appends the address from which it
    /// received the request, so the entries are walked from the right up to the first address that
    /// is not a trusted proxy: the client. The client could have forged everything to the left of
    /// it. An entry without a valid address also ends the walk.
    pub(crate) fn client(&self, socket: Peer, headers: &HeaderMap) -> Peer {
        let socket = Peer { address: socket.address.to_canonical(), ..socket };
        if !self.contains(socket.address) {
            return socket;
        }

        let forwarded = self.walk(socket, &forwarded::forwarded_hops(headers));
        let x_forwarded = self.walk(socket, &forwarded::x_forwarded_hops(headers));
        match (forwarded, x_forwarded) {
            // A proxy appends to one of the headers and passes the other one through. If they
            // differ, the client has forged one of them, and the server cannot know which.
            (Some(one), Some(other)) if one.address != other.address => socket,
            (Some(client), _) | (None, Some(client)) => client,
            (None, None) => socket,
        }
    }

    /// Returns the leftmost hop that counts. `None` if there are no hops.
    fn walk(&self, socket: Peer, hops: &[Hop]) -> Option<Peer> {
        let mut client = socket;
        // Starts at the end: each proxy appends the address that it saw. Only uses entries that a
        // trusted proxy has appended.
        for hop in hops.iter().rev() {
            // An unreadable entry may hide an untrusted proxy: the entries before it do not count.
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
    fn check(headers: &[(&'static str, &str)], address: &str, is_secure: bool) {
        assert_eq!(client("127.0.0.1", headers), (address.to_owned(), is_secure), "{headers:?}");
    }

    #[test]
    fn headers_of_an_unlisted_peer_are_ignored() {
        let forged = [(FORWARDED, "for=1.2.3.4;proto=https"), (FOR, "1.2.3.4"), (PROTO, "https")];
        for socket in ["203.0.113.9", "2001:db8::9", "127.0.0.2"] {
            assert_eq!(client(socket, &forged), (socket.to_owned(), false));
        }

        let none = TrustedProxies::default();
        assert!(!none.contains("127.0.0.1".parse().unwrap()));
    }

    #[test]
    fn a_proxy_without_headers_is_the_client() {
        check(&[], "127.0.0.1", false);
        check(&[(FOR, "")], "127.0.0.1", false);
        check(&[(FORWARDED, " , ,")], "127.0.0.1", false);
        check(&[(PROTO, "https")], "127.0.0.1", false);
    }

    #[test]
    fn the_client_is_the_rightmost_address_that_is_no_proxy() {
        check(&[(FOR, "203.0.113.9")], "203.0.113.9", false);
        check(&[(FOR, "6.6.6.6, 203.0.113.9")], "203.0.113.9", false);
        check(&[(FOR, "6.6.6.6,203.0.113.9 , 10.1.2.3,10.0.0.1")], "203.0.113.9", false);
        check(&[(FOR, "6.6.6.6"), (FOR, "203.0.113.9"), (FOR, "10.1.2.3")], "203.0.113.9", false);
        check(&[(FORWARDED, "for=6.6.6.6, for=203.0.113.9, for=10.0.0.1")], "203.0.113.9", false);
        check(&[(FORWARDED, "for=6.6.6.6"), (FORWARDED, "for=203.0.113.9")], "203.0.113.9", false);
    }

    #[test]
    fn the_leftmost_of_trusted_proxies_only_is_the_client() {
        check(&[(FOR, "10.0.0.3, 10.0.0.2")], "10.0.0.3", false);
    }

    #[test]
    fn addresses_are_parsed_in_all_common_notations() {
        for (text, address) in [
            ("203.0.113.9:4711", "203.0.113.9"),
            ("2001:db8::9", "2001:db8::9"),
            ("[2001:db8::9]", "2001:db8::9"),
            ("[2001:db8::9]:4711", "2001:db8::9"),
            ("::ffff:203.0.113.9", "203.0.113.9"),
        ] {
            check(&[(FOR, text)], address, false);
            check(&[(FORWARDED, &format!("FOR=\"{text}\""))], address, false);
        }

        check(&[(FORWARDED, "for=\"203.0.113.9:_port\"")], "203.0.113.9", false);
        check(&[(FORWARDED, "for=\"203.0.113\\.9\"")], "203.0.113.9", false);
        check(&[(FORWARDED, "by=10.0.0.1; For=203.0.113.9 ;host=a")], "203.0.113.9", false);
        check(&[(FOR, "203.0.113.9, ::ffff:10.0.0.1, fd00::1")], "203.0.113.9", false);
    }

    #[test]
    fn a_dual_stack_socket_recognizes_its_ipv4_proxy() {
        let headers = [(FOR, "203.0.113.9")];
        assert_eq!(client("::ffff:127.0.0.1", &headers), ("203.0.113.9".to_owned(), false));
        assert_eq!(client("::ffff:192.0.2.1", &headers), ("192.0.2.1".to_owned(), false));
    }

    #[test]
    fn an_entry_without_an_address_ends_the_walk() {
        for text in ["unknown", "_hidden", "", "203.0.113", "1.2.3.4:port", "[2001:db8::9", "a b"] {
            check(&[(FORWARDED, &format!("for=6.6.6.6, for=\"{text}\""))], "127.0.0.1", false);
            check(
                &[(FORWARDED, &format!("for=6.6.6.6, for=\"{text}\", for=10.0.0.1"))],
                "10.0.0.1",
                false,
            );

            if !text.is_empty() {
                check(&[(FOR, &format!("6.6.6.6, {text}, 10.0.0.1"))], "10.0.0.1", false);
            }
        }

        for text in ["proto=https", "for", "for=1.1.1.1;for=2.2.2.2", "for=\"1.1.1.1\"x", "=", ";"]
        {
            check(&[(FORWARDED, &format!("for=6.6.6.6, {text}"))], "127.0.0.1", false);
        }
    }

    #[test]
    fn an_unclosed_quote_cannot_hide_the_entry_of_the_proxy() {
        for (forged, address) in [
            ("for=6.6.6.6;x=\"", "127.0.0.1"),
            ("for=6.6.6.6;x=\"\\", "127.0.0.1"),
            ("for=\"6.6.6.6", "127.0.0.1"),
        ] {
            check(&[(FORWARDED, &format!("{forged}, for=203.0.113.9"))], address, false);
            check(&[(FORWARDED, &format!("{forged}, for=\"[2001:db8::9]:80\""))], address, false);
        }

        // On a header line of its own it has no effect on the next line.
        check(
            &[(FORWARDED, "for=6.6.6.6;x=\""), (FORWARDED, "for=203.0.113.9")],
            "203.0.113.9",
            false,
        );
    }

    #[test]
    fn the_scheme_comes_from_the_hop_of_the_client() {
        check(
            &[(FORWARDED, "for=203.0.113.9;proto=https, for=10.0.0.1;proto=http")],
            "203.0.113.9",
            true,
        );
        check(
            &[(FORWARDED, "for=6.6.6.6;proto=https, for=203.0.113.9;proto=http")],
            "203.0.113.9",
            false,
        );
        check(&[(FORWARDED, "for=203.0.113.9;proto=WSS")], "203.0.113.9", true);
        check(&[(FOR, "203.0.113.9"), (PROTO, "https")], "203.0.113.9", true);
        check(&[(FOR, "203.0.113.9, 10.0.0.1"), (PROTO, "https")], "203.0.113.9", true);
        check(&[(FOR, "203.0.113.9, 10.0.0.1"), (PROTO, "https, http")], "203.0.113.9", true);
        check(&[(FOR, "6.6.6.6, 203.0.113.9"), (PROTO, "https, http")], "203.0.113.9", false);
        check(
            &[(FOR, "1.1.1.1, 2.2.2.2, 203.0.113.9"), (PROTO, "https, http")],
            "203.0.113.9",
            false,
        );
    }

    #[test]
    fn contradicting_headers_are_ignored() {
        let agree = [(FORWARDED, "for=203.0.113.9;proto=https"), (FOR, "6.6.6.6, 203.0.113.9")];
        check(&agree, "203.0.113.9", true);

        // nginx appends to `X-Forwarded-For` and passes the client's own `Forwarded` through.
        check(&[(FORWARDED, "for=6.6.6.6;proto=https"), (FOR, "203.0.113.9")], "127.0.0.1", false);
    }

    #[test]
    fn an_invalid_proxy_is_named_in_the_error() {
        let error = TrustedProxies::new(["10.0.0.0/8", "localhost"]).unwrap_err();
        let expected = "\"localhost\" is not an address or a network; \
                        write \"127.0.0.1\" or \"10.0.0.0/8\"";
        assert_eq!(error.to_string(), expected);
        assert!(TrustedProxies::new(["10.0.0.0/33"]).is_err());
    }
}
