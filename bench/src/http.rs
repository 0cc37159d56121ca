//! A blocking client of the HTTP API that keeps its connections alive.

use std::net::SocketAddrV4;
use std::time::Duration;

use anyhow::ensure;
use ureq::typestate::WithoutBody;
use ureq::{Agent, RequestBuilder};

const AUTHORIZATION: &str = "Authorization";
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);

/// A client with one token.
pub(crate) struct HttpClient {
    agent: Agent,
    /// The URL of the API.
    base: String,
    authorization: String,
}

impl HttpClient {
    pub(crate) fn new(address: SocketAddrV4, token: &str) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(RESPONSE_TIMEOUT))
            // Not the proxy of the environment: the server is on this machine.
            .proxy(None);
        Self {
            agent: config.build().into(),
            base: format!("http://{address}/api/v1"),
            authorization: format!("Bearer {token}"),
        }
    }

    /// Posts JSON, with an idempotency key if there is one. Returns the status and the body.
    pub(crate) fn post(
        &self,
        path: &str,
        key: Option<&str>,
        body: &str,
    ) -> anyhow::Result<(u16, String)> {
        let mut request = self.agent.post(format!("{}{path}", self.base));
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key);
        }
        let request = request.header(AUTHORIZATION, &self.authorization);
        let mut response = request.content_type("application/json").send(body)?;
        Ok((response.status().as_u16(), response.body_mut().read_to_string()?))
    }

    /// Returns the body of a resource.
    ///
    /// # Errors
    /// The server does not respond with success.
    pub(crate) fn get(&self, path: &str) -> anyhow::Result<String> {
        self.call(self.agent.get(format!("{}{path}", self.base)))
    }

    /// Deletes a resource; fails as [`Self::get`] does.
    pub(crate) fn delete(&self, path: &str) -> anyhow::Result<()> {
        self.call(self.agent.delete(format!("{}{path}", self.base))).map(drop)
    }

    fn call(&self, request: RequestBuilder<WithoutBody>) -> anyhow::Result<String> {
        let mut response = request.header(AUTHORIZATION, &self.authorization).call()?;
        let (status, body) = (response.status(), response.body_mut().read_to_string()?);
        ensure!(status.is_success(), "{status}: {body}");
        Ok(body)
    }
}
