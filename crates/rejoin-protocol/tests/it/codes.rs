//! The tables of close codes and error codes.

use std::collections::HashSet;

use rejoin_protocol::{
    CloseCode, ErrorCode,
    code::{CLOSE_CODES, ERROR_CODES},
};

#[test]
fn each_code_is_unique() {
    let closes: HashSet<_> = CLOSE_CODES.iter().map(|row| row.code).collect();
    assert_eq!(closes.len(), CLOSE_CODES.len());

    let numbers: HashSet<_> = ERROR_CODES.iter().map(|row| row.number).collect();
    let names: HashSet<_> = ERROR_CODES.iter().map(|row| row.code).collect();
    assert_eq!((numbers.len(), names.len()), (ERROR_CODES.len(), ERROR_CODES.len()));
}

#[test]
fn the_range_of_a_close_code_decides_the_reconnect() {
    for row in CLOSE_CODES {
        assert_eq!(row.reconnect, (4000..4500).contains(&row.code), "{}", row.name);
    }
}

#[test]
fn a_code_returns_its_row() {
    assert_eq!(ErrorCode::UnknownSession.row().code, "unknown_session");
    assert_eq!(serde_json::to_value(ErrorCode::UnknownSession).unwrap(), "unknown_session");
    assert_eq!(CloseCode::TokenExpired.row().code, CloseCode::TokenExpired.code());
}
