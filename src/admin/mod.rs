//! nsqadmin: its HTTP API, its pages, and what Leveret's nodes have to show beside that.
//!
//! It keeps nothing but who is logged in. Each request asks nsqlookupds and nsqds, real ones and Leveret's alike, and adds
//! up what they tell ([`cluster`], [`shapes`]).
//!
//! | file | what it is |
//! | --- | --- |
//! | [`options`] | what can be told of it |
//! | `router` | which endpoint a request means, and its answer on the way out |
//! | `api` | nsqadmin's API |
//! | `cluster` | asks nsqlookupds and nsqds |
//! | `shapes` | what they tell, added up |
//! | [`access`] | who may do what: logins, sessions, nsqadmin's header, addresses |
//! | `nodes` | what Leveret's nodes alone have: routes, brokers, messages, alerts |
//! | `live` | what the pages are told as it happens |
//! | `notify` | what is told to the notification endpoint, and the audit log |
//! | `graphite` | figures and pictures of a graphite server |
//! | `pages` | the files of `web/`, which are in the binary |

pub mod access;
mod api;
mod cluster;
mod graphite;
mod live;
mod nodes;
mod notify;
pub mod options;
mod pages;
mod router;
mod shapes;

use std::io;
use std::sync::Arc;

use axum::handler::Handler as _;

use crate::client::HttpClient;
use crate::http::entrance::Entrance;
use crate::http::serve_at;
use crate::tls::TlsError;
use access::Access;
use cluster::Cluster;
use live::Live;
use notify::Notifier;
pub use options::AdminOptions;

/// What all requests share.
#[derive(Debug)]
pub struct Admin {
    options: AdminOptions,
    cluster: Cluster,
    access: Access,
    notifier: Notifier,
    live: Live,
    /// nsqadmin's own options, as `/config` shows them.
    level: Arc<dyn Levels>,
}

/// Changes what is logged.
pub trait Levels: Send + Sync + std::fmt::Debug {
    /// The level of the moment, one of nsqadmin's words.
    fn level(&self) -> String;

    /// Has the program log at this level.
    ///
    /// # Errors
    /// A level that is none.
    fn set_level(&self, level: &str) -> Result<(), String>;
}

impl Admin {
    /// One that asks as `options` say. Called inside the runtime. May block: it reads authorities' files.
    ///
    /// # Errors
    /// The files of TLS cannot be used.
    pub fn new(options: AdminOptions, level: Arc<dyn Levels>) -> Result<Arc<Self>, TlsError> {
        let AdminOptions { connect_timeout, request_timeout, .. } = options;
        let http = HttpClient::new(connect_timeout, request_timeout, Some(&options.tls))?;
        let (lookupds, nsqds) = (options.lookupds.clone(), options.nsqds.clone());
        let notifier = Notifier::start(options.notification_endpoint.as_deref(), &http);
        Ok(Arc::new(Self {
            cluster: Cluster::new(http, lookupds, nsqds),
            access: Access::new(&options),
            notifier,
            live: Live::default(),
            level,
            options,
        }))
    }
}

/// Serves `admin` at `entrance` until `shutdown` resolves, then finishes the requests that are under way (for at most five
/// seconds).
///
/// # Errors
/// The listener's.
pub async fn serve(
    entrance: impl Into<Entrance>,
    admin: Arc<Admin>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let of_live = Arc::clone(&admin);
    let shutdown = async move {
        shutdown.await;
        of_live.live.end();
    };
    serve_at(entrance.into(), router::handle.with_state(admin), shutdown).await
}
