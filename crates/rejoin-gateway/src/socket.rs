//! A WebSocket: the checks of its upgrade, and the protocol that its client speaks.

mod client;
mod duty;
mod endpoint;
mod job;
mod login;
mod pace;
mod raw;
mod request;
mod upgrade;

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    response::Response,
};

pub(crate) use client::{Client, Flow};
pub(crate) use duty::SocketState;
pub(crate) use endpoint::upgrade as upgrade_raw;
pub(crate) use job::{Done, Jobs};
pub use pace::Rates;
pub(crate) use raw::RawAttach;
pub(crate) use upgrade::{Accepted, Endpoint, check, user_agent};

use crate::{
    accept,
    shard::{Arrival, Shards},
    state::Shared,
};

/// What the upgrades that HTTP serves use.
#[derive(Clone, Debug)]
pub(crate) struct Upgrades {
    pub(crate) shared: Arc<Shared>,
    pub(crate) shards: Arc<Shards>,
}

/// `GET /ws`: the opening handshake, then `rejoin.v1`.
pub(crate) async fn upgrade(State(upgrades): State<Upgrades>, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    match check(&upgrades.shared, &mut parts, Endpoint::Protocol).await {
        Ok(accepted) => upgrades.adopt(Request::from_parts(parts, body), accepted, None),
        Err(refusal) => refusal,
    }
}

impl Upgrades {
    /// Answers an upgrade, and then gives the socket to a shard.
    fn adopt(&self, request: Request, mut accepted: Accepted, raw: Option<RawAttach>) -> Response {
        let upgrade = hyper::upgrade::on(request);
        let response = accepted.response();
        let shards = Arc::clone(&self.shards);
        self.shared.shutdown.spawn(async move {
            let Ok(upgraded) = upgrade.await else { return };
            let Some((transport, first_bytes)) = accept::take(upgraded) else { return };
            shards.adopt(Arrival { transport, first_bytes, accepted, raw });
        });
        response
    }
}
