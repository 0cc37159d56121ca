//! Pages of a terminal's history: long replies, compressed for clients that negotiated compression.

use rejoin_core::{Authority, Connection, HistoryQuery, OutboxItem, PayloadKind, SessionRight};
use rejoin_protocol::{
    MessageId,
    message::{HistoryLines, HistoryPayload, ServerMessage, text},
};
use rejoin_websocket::deflate;
use tokio::task::spawn_blocking;

use crate::socket::client::{Client, JobResult, RequestResult};

impl Client {
    /// Sends a page of a terminal's history. Requires the right to attach, but not an attachment.
    pub(super) fn history(
        &mut self,
        connection: &Connection,
        reply_to: Option<&MessageId>,
        request: &HistoryPayload,
    ) -> RequestResult {
        let HistoryPayload { session, before, generation, lines: HistoryLines(lines) } = request;
        let identity = connection.identity();
        let session = self.shared.hub.session(session, &identity, SessionRight::Attach)?;

        let query = HistoryQuery { before: *before, generation: *generation, lines: *lines };
        let (connection, request_id) = (connection.clone(), reply_to.cloned());
        let (encode, compresses) = (self.shared.hub.encode(), self.compresses);
        let job = async move {
            // The connection may have been revoked since the job was queued.
            let page = match connection.check() {
                Ok(()) => session.history(query).await,
                Err(error) => Err(error),
            };
            let page = match page {
                Ok(page) => ServerMessage::History(Box::new(page)),
                Err(error) => {
                    connection.send_error(request_id.as_ref(), error);
                    return JobResult::Handled;
                }
            };

            let page = text(request_id.as_ref(), &page);
            let plain = encode(PayloadKind::Text, &[page.as_bytes()]);
            let wire = if compresses {
                // Compressing a large page takes a few milliseconds, which would delay other tasks
                // on the thread.
                let uncompressed = plain.clone();
                let compressed = spawn_blocking(move || deflate(&uncompressed)).await;
                compressed.ok().flatten().unwrap_or(plain)
            } else {
                plain
            };
            connection.outbox().push(OutboxItem::Message(wire));
            JobResult::Handled
        };

        self.start_job(reply_to, Box::pin(job));
        Ok(())
    }
}
