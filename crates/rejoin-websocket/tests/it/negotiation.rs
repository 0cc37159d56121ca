//! Negotiation of permessage-deflate.

use rejoin_websocket::handshake::accept_deflate;

const AGREED: Option<&str> =
    Some("permessage-deflate; server_no_context_takeover; client_no_context_takeover");
const AGREED_WITH_WINDOW: Option<&str> = Some(
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
     server_max_window_bits=15",
);

fn answer(values: &[&str]) -> Option<&'static str> {
    accept_deflate(values.iter().map(|value| value.as_bytes()))
}

#[test]
fn offers_of_browsers_and_libraries_are_accepted() {
    for offer in [
        "permessage-deflate",
        "permessage-deflate; client_max_window_bits",
        "permessage-deflate; client_max_window_bits=15",
        "permessage-deflate; client_max_window_bits=8",
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
        "permessage-deflate;client_max_window_bits;server_no_context_takeover",
        " permessage-deflate ; client_max_window_bits = \"10\" ",
    ] {
        assert_eq!(answer(&[offer]), AGREED, "{offer}");
    }
}

#[test]
fn no_acceptable_offer_means_no_extension() {
    assert_eq!(answer(&[]), None);
    for offer in ["", ",", "permessage-bzip2", "x-webkit-deflate-frame", "permessage-deflate2"] {
        assert_eq!(answer(&[offer]), None, "{offer}");
    }
    assert_eq!(accept_deflate([&b"permessage-deflate\xFF"[..]]), None);
}

#[test]
fn only_the_full_server_window_is_accepted() {
    for offer in ["server_max_window_bits=15", "server_max_window_bits=\"1\\5\""] {
        assert_eq!(answer(&[&format!("permessage-deflate; {offer}")]), AGREED_WITH_WINDOW);
    }

    for bits in 8..15 {
        let offer = format!("permessage-deflate; server_max_window_bits={bits}");
        assert_eq!(answer(&[&offer]), None, "{offer}");
    }
}

#[test]
fn malformed_and_unknown_parameters_decline_their_offer() {
    for parameters in [
        "",
        "unknown",
        "unknown=1",
        "server_max_window_bits",
        "server_max_window_bits=",
        "server_max_window_bits=7",
        "server_max_window_bits=16",
        "server_max_window_bits=015",
        "server_max_window_bits=+15",
        "server_max_window_bits=\"15",
        "server_max_window_bits=\"15\\\"",
        "server_max_window_bits=15; server_max_window_bits=15",
        "client_max_window_bits=7",
        "client_max_window_bits=08",
        "client_max_window_bits=\"\"",
        "client_max_window_bits; client_max_window_bits=15",
        "server_no_context_takeover=1",
        "client_no_context_takeover=",
        "client_no_context_takeover; client_no_context_takeover",
        "Server_No_Context_Takeover",
    ] {
        let offer = format!("permessage-deflate; {parameters}");
        assert_eq!(answer(&[&offer]), None, "{offer}");
    }
}

#[test]
fn the_first_acceptable_offer_wins() {
    let small = "permessage-deflate; server_max_window_bits=10";
    let whole = "permessage-deflate; server_max_window_bits=15";
    let plain = "permessage-deflate; client_max_window_bits";
    assert_eq!(answer(&[&format!("{small}, {whole}, {plain}")]), AGREED_WITH_WINDOW);
    assert_eq!(answer(&[&format!("{small},{plain},{whole}")]), AGREED);
    assert_eq!(answer(&[small, "other; a=b", whole, plain]), AGREED_WITH_WINDOW);
}

#[test]
fn a_quoted_separator_is_not_a_separator() {
    for value in [
        r#"other; a=", permessage-deflate, ""#,
        r#"other; a="\", permessage-deflate, ""#,
        r#"permessage-deflate; client_max_window_bits="15; server_no_context_takeover""#,
        r#"other; a="unfinished, permessage-deflate"#,
    ] {
        assert_eq!(answer(&[value]), None, "{value}");
    }

    assert_eq!(answer(&[r#"other; a="\",;", permessage-deflate"#]), AGREED);
}
