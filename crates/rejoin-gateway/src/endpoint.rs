//! The HTTP handlers of WebSocket upgrades, on the general runtime.
//!
//! Most upgrades never reach them: a shard answers an upgrade of `{base}ws` itself if it is the
//! first request on a plain socket. See `accept/request.rs`.

mod raw;

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    response::{IntoResponse, Response},
};

pub(crate) use raw::upgrade as upgrade_raw;

use crate::{
    accept,
    shard::{Shards, UpgradedSocket},
    socket::{Accepted, Endpoint, RawAttach, check},
    state::Shared,
};

/// The state of the handlers.
#[derive(Clone, Debug)]
pub(crate) struct Upgrades {
    pub(crate) shared: Arc<Shared>,
    pub(crate) shards: Arc<Shards>,
}

/// Handles `GET /ws`: upgrades to a WebSocket that speaks `rejoin.v1`.
pub(crate) async fn upgrade(State(upgrades): State<Upgrades>, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    match check(&upgrades.shared, &mut parts, Endpoint::Protocol).await {
        Ok(accepted) => upgrades.adopt(Request::from_parts(parts, body), accepted, None).await,
        Err(refusal) => refusal,
    }
}

impl Upgrades {
    /// Returns the response to an upgrade, and gives the socket to a shard once it is sent.
    async fn adopt(
        &self,
        request: Request,
        mut accepted: Accepted,
        raw: Option<RawAttach>,
    ) -> Response {
        // The last step that may fail: a request that is refused does not use up its ticket.
        if let Err(problem) = accepted.spend_ticket().await {
            return problem.into_response();
        }

        let upgrade = hyper::upgrade::on(request);
        let response = accepted.response();
        let shards = Arc::clone(&self.shards);

        self.shared.shutdown.spawn(async move {
            let Ok(upgraded) = upgrade.await else { return };
            let Some((transport, first_bytes)) = accept::into_transport(upgraded) else { return };

            shards.adopt(UpgradedSocket { transport, first_bytes, accepted, raw });
        });

        response
    }
}
