//! One request from its head to its answer, whatever is served.

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::task::Poll;

use axum::extract::Request;
use axum::http::{Method, StatusCode, Uri};
use axum::response::Response;

use super::body::Incoming;
use super::gotime::duration;
use super::query::decode;
use super::reply::{self, Refusal, Reply};
use super::router::{Resolved, Table, resolve};
use crate::clock::{self, Instant};

/// A request that is being answered.
pub(crate) struct Exchange {
    start: Instant,
    pub(crate) remote: String,
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) body: Incoming,
}

/// What an endpoint's answer is worth in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Logged {
    No,
    /// At debug: somebody asks this every few seconds.
    Quietly,
    Yes,
}

impl Exchange {
    /// Begins to answer a request of `remote`.
    pub(crate) fn begin(remote: String, request: Request) -> Self {
        let start = clock::now();
        let (head, body) = request.into_parts();
        let body = Incoming::new(&head.headers, body);
        Self { start, remote, method: head.method, uri: head.uri, body }
    }

    /// What is asked for by `table`, with the decoded path; or the answer to what is not served.
    pub(crate) fn endpoint<E: Copy>(
        &self,
        table: &Table<E>,
    ) -> Result<(E, String), (Box<Response>, Logged)> {
        let no = |response, logged| Err((Box::new(response), logged));
        let Some(path) = decode(self.uri.path(), false) else {
            let refusal = Refusal::new(StatusCode::BAD_REQUEST, "400 Bad Request");
            return no(reply::plain(Err(refusal)), Logged::No);
        };
        match resolve(table, self.method.as_str(), &path) {
            Resolved::Endpoint(endpoint) => Ok((endpoint, path)),
            Resolved::Elsewhere(path) => {
                let is_get = self.method == Method::GET;
                no(reply::redirect(is_get, &path, self.uri.query()), Logged::No)
            }
            Resolved::Options(allowed) => no(reply::options(&allowed), Logged::No),
            Resolved::WrongMethod(allowed) => no(reply::wrong_method(&allowed), Logged::Yes),
            Resolved::Unknown => {
                no(reply::envelope(Err(Refusal::missing("NOT_FOUND"))), Logged::Yes)
            }
        }
    }

    /// Ends it: reads what is left of the request, and writes the line of the log.
    pub(crate) async fn end(mut self, response: Response, logged: Logged) -> Response {
        self.body.drain().await;
        let elapsed = duration(clock::since(self.start));
        let status = response.status().as_u16();
        let (method, uri, remote) = (&self.method, &self.uri, &self.remote);
        match logged {
            Logged::No => {}
            Logged::Quietly => tracing::debug!("{status} {method} {uri} ({remote}) {elapsed}"),
            Logged::Yes => tracing::info!("{status} {method} {uri} ({remote}) {elapsed}"),
        }
        response
    }
}

/// What goes out where nsqd uses plain text.
pub(crate) fn plain(result: Result<Reply, Refusal>) -> Response {
    reply::plain(result.map(|reply| match reply {
        Reply::Text(text) => text,
        _ => String::new(),
    }))
}

/// Polls `endpoint`; a panic in it is 500 `INTERNAL_ERROR`, as a panic in nsqd's handlers is.
pub(crate) async fn caught(
    endpoint: impl Future<Output = Result<Reply, Refusal>>,
) -> Result<Reply, Refusal> {
    let mut endpoint = pin!(endpoint);
    std::future::poll_fn(move |context| {
        let polled = std::panic::catch_unwind(AssertUnwindSafe(|| endpoint.as_mut().poll(context)));
        // The panic itself was reported by the panic hook.
        polled.unwrap_or_else(|_| Poll::Ready(Err(Refusal::internal())))
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_ends_the_request_only() {
        let broken = async {
            tokio::task::yield_now().await;
            panic!("on purpose");
        };
        assert_eq!(caught(broken).await, Err(Refusal::internal()));
    }
}
