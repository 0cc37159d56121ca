//! A WebSocket: the upgrade, then one loop that reads; a shard writes.

mod client;
pub(crate) mod door;
mod login;
mod pace;
mod request;
mod scratch;
mod upgrade;

use std::{ops::ControlFlow, sync::Arc};

use axum::{
    extract::{Request, State},
    response::Response,
};
use rejoin_core::{Form, Handshake};
use rejoin_protocol::message::Positions;
use tokio::sync::OwnedSemaphorePermit;
use tracing::{Instrument, Span, debug, debug_span, field::Empty};

pub use pace::Rates;

use crate::{
    accept,
    gateway::Shared,
    http::Opener,
    net::Socket,
    socket::{
        client::Client,
        upgrade::{Accepted, Door},
    },
};

/// What the kernel may hold unsent for one socket: more would only be old when it arrives.
const UNSENT_BYTES: u32 = 128 * 1024;

/// `GET /ws`: the opening handshake, then `rejoin.v1`.
pub(crate) async fn upgrade(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    let mut accepted = match upgrade::check(&shared, &mut parts, Door::Protocol).await {
        Ok(accepted) => accepted,
        Err(refusal) => return refusal,
    };
    let upgrade = hyper::upgrade::on(Request::from_parts(parts, body));
    let response = accepted.response();
    let task = Arc::clone(&shared);
    let span = span(&accepted.handshake);
    let socket = async move {
        let Ok(upgraded) = upgrade.await else { return };
        let Some((socket, first_bytes)) = accept::take(upgraded) else { return };
        start(&task, socket, &first_bytes, accepted).await;
    };
    shared.shutdown.spawn(socket.instrument(span));
    response
}

/// What each line in the log about a connection is in; who it is comes with the log-in.
///
/// At `debug`, because a span that is kept takes about 450 bytes of each idle connection. What
/// is logged of connections at higher levels names them itself.
fn span(handshake: &Handshake) -> Span {
    let address = handshake.address.map(tracing::field::display);
    debug_span!(parent: None, "connection", address, id = Empty, user = Empty, device = Empty)
}

/// Takes the first bytes, then leaves the socket to a task that is small while it is idle.
async fn start(shared: &Arc<Shared>, socket: Socket, first_bytes: &[u8], accepted: Accepted) {
    let Accepted { opener, handshake, permit, form, .. } = accepted;
    let mut client = client(shared, socket, form, handshake, permit);
    let flow = match opener {
        Opener::Known(identity) => client.welcome(None, identity, &Positions::default()),
        Opener::Unknown => ControlFlow::Continue(()),
        Opener::Refused(error) => client.refuse_token(None, &error),
    };
    if client.begin(flow, first_bytes).await.is_continue() {
        shared.shutdown.spawn(client.run().instrument(Span::current()));
    }
}

fn client(
    shared: &Arc<Shared>,
    socket: Socket,
    form: Form,
    handshake: Handshake,
    permit: OwnedSemaphorePermit,
) -> Box<Client> {
    if let Err(error) = socket.limit_unsent(UNSENT_BYTES) {
        debug!(%error, "a socket without TCP_NOTSENT_LOWAT");
    }
    let (read, write) = socket.into_split();
    let outbox = shared.shards.add(write, form);
    let mut client = Client::new(Arc::clone(shared), read, outbox, handshake, permit);
    if form == Form::Compressed {
        client.inflate();
    }
    Box::new(client)
}
