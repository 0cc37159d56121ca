//! Protocol violations of a peer, and their close codes.

/// A protocol violation; the rest of the connection's input is meaningless.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A reserved bit is set without an extension that defines it (RFC 6455 §5.2).
    #[error("a reserved bit is set")]
    ReservedBits,
    /// The opcode is one that RFC 6455 §5.2 reserves.
    #[error("the opcode {0} is reserved")]
    ReservedOpcode(u8),
    /// A continuation frame arrived outside a fragmented message (RFC 6455 §5.4).
    #[error("a continuation frame without a message")]
    UnexpectedContinuation,
    /// A data message began inside a fragmented message (RFC 6455 §5.4).
    #[error("a new message inside a fragmented one")]
    ExpectedContinuation,
    /// A control frame is fragmented (RFC 6455 §5.5).
    #[error("a fragmented control frame")]
    FragmentedControl,
    /// A control frame declares more than 125 bytes (RFC 6455 §5.5).
    #[error("a control frame of more than 125 bytes")]
    ControlTooLong,
    /// A client's frame is not masked (RFC 6455 §5.1).
    #[error("an unmasked frame from a client")]
    Unmasked,
    /// A server's frame is masked (RFC 6455 §5.1).
    #[error("a masked frame from a server")]
    Masked,
    /// A length is not written in the fewest bytes possible (RFC 6455 §5.2).
    #[error("a length in more bytes than it needs")]
    NonMinimalLength,
    /// A length's most significant bit is set (RFC 6455 §5.2).
    #[error("a length beyond 63 bits")]
    LengthOverflow,
    /// A message with all its fragments exceeds the limit, as sent or inflated.
    #[error("a message is longer than the limit")]
    MessageTooLong,
    /// A compressed message is not DEFLATE data that ends as RFC 7692 §7.2.1 requires.
    #[error("a compressed message that is not DEFLATE")]
    InvalidDeflate,
    /// A text message is not UTF-8 (RFC 6455 §8.1).
    #[error("a text message that is not UTF-8")]
    InvalidText,
    /// A close frame's payload is a single byte (RFC 6455 §5.5.1).
    #[error("a close frame of one byte")]
    InvalidClosePayload,
    /// A close frame carries a code that may not be sent (RFC 6455 §7.4).
    #[error("the close code {0} may not be sent")]
    InvalidCloseCode(u16),
    /// A close frame's reason is not UTF-8 (RFC 6455 §5.5.1).
    #[error("a close reason that is not UTF-8")]
    InvalidCloseReason,
}

impl Error {
    /// Returns the code with which to close the connection (RFC 6455 §7.4.1).
    ///
    /// The code is 1002, 1007 or 1009. RFC 7692 names none for data that does not inflate; since
    /// the frame itself is valid, the code is 1007.
    pub fn close_code(&self) -> u16 {
        match self {
            Self::InvalidDeflate | Self::InvalidText | Self::InvalidCloseReason => 1007,
            Self::MessageTooLong => 1009,
            _ => 1002,
        }
    }
}
