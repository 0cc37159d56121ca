//! Authentication: tokens, tickets, browser sessions, login codes and revocations.
//!
//! A [`Verifier`] turns the token of a client into an [`Identity`](rejoin_core::Identity), and
//! checks later that the identity is still valid. The crate has no HTTP server: the gateway takes
//! the credentials from requests.

mod browser_session;
mod issuer;
mod login_code;
mod revocation;
mod secret;
mod signer;
mod state_file;
mod ticket;
mod token;
mod verifier;

pub use browser_session::{Browser, BrowserSessionError, BrowserSessionInfo, BrowserSessions};
pub use issuer::JwksUrl;
pub use login_code::{LoginCodes, LoginGrant};
pub use revocation::{Revocation, RevocationError, Revocations, Target};
pub use signer::Signer;
pub use ticket::{HeldTicket, Ticket, TicketError, Tickets};
pub use token::{Audience, Claims, InvalidKey, TokenError, TokenRules};
pub use verifier::Verifier;
