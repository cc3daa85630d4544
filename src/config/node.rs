//! The node's configuration, typed: what `config/leveret.yaml` comes down to.

use std::path::PathBuf;
use std::time::Duration;

use super::admin::AdminConfig;
use super::lookupd::LookupdConfig;
use super::secure::{AuthConfig, TlsConfig};
use crate::bridge::broker::BrokerOptions;
use crate::bridge::store::options::StoreRow;
use crate::engine::LatencyTracking;
use crate::engine::policy::{Durability, TopicRow};
use crate::registry::EtcdOptions;
use crate::telemetry::alerts::AlertOptions;
use crate::telemetry::{logs, opentsdb, statsd};
use crate::tls::ClientTls;

/// The experiment that prefers consumers nearby, as nsqd calls it.
pub const TOPOLOGY_AWARE: &str = "topology-aware-consumption";

/// Everything about a node but its routes.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeConfig {
    /// The NSQ side.
    pub nsqd: NsqdConfig,
    /// The brokers that routes may name, in the file's order.
    pub brokers: Vec<BrokerOptions>,
    /// A nsqlookupd in the same process, if there is one.
    pub lookupd: Option<LookupdConfig>,
    /// nsqadmin in the same process, if there is one.
    pub admin: Option<Box<AdminConfig>>,
    /// Where figures are pushed as OpenTSDB takes them; nowhere if `None`.
    pub opentsdb: Option<opentsdb::Options>,
    /// What the node complains of; nothing if `None`.
    pub alerts: Option<AlertOptions>,
    /// Logging.
    pub log: LogConfig,
    /// What is asked of topics and channels by the patterns of their names.
    pub topics: Vec<TopicRow>,
    /// Which of the topics live at a broker.
    pub stores: Vec<StoreRow>,
    /// How long a clean exit may take to settle what is in flight; the rest is redelivered. 0 to 1 h.
    pub shutdown_timeout: Duration,
    /// The folder that route files were read from; `None` if there is none.
    pub bridges: Option<PathBuf>,
    /// Whether a change in that folder is taken over by itself.
    pub watch_bridges: bool,
    /// What it shares with other nodes; nothing if `None`.
    pub registry: Option<EtcdOptions>,
}

impl Default for NodeConfig {
    /// No brokers, no routes, everything else as documented.
    fn default() -> Self {
        Self {
            nsqd: NsqdConfig::default(),
            brokers: Vec::new(),
            lookupd: None,
            admin: None,
            alerts: None,
            opentsdb: None,
            log: LogConfig::default(),
            topics: Vec::new(),
            stores: Vec::new(),
            shutdown_timeout: Duration::from_secs(15),
            bridges: None,
            watch_bridges: true,
            registry: None,
        }
    }
}

/// nsqd's options under nsqd's names. The defaults are nsqd's but for the addresses, which are of the loopback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NsqdConfig {
    /// Part of message ids, 0 to 1023; derived from the host's name if `None`.
    pub node_id: Option<u16>,
    /// `host:port` of the NSQ protocol, or the path of a unix socket; port 0 takes a free one.
    pub tcp_address: String,
    /// The same for the HTTP API. `None` switches it off.
    pub http_address: Option<String>,
    /// `host:port` of the HTTP API in TLS, served if there is a certificate. `None` switches it off.
    pub https_address: Option<String>,
    /// The host under which others reach this node; the host's name if `None`.
    pub broadcast_address: Option<String>,
    /// The port to announce for the NSQ protocol; 0 is the real one.
    pub broadcast_tcp_port: u16,
    /// The port to announce for the HTTP API; 0 is the real one.
    pub broadcast_http_port: u16,
    /// The folder for what is kept on disk; nothing is kept if `None`.
    pub data_path: Option<PathBuf>,
    /// Messages that a topic, and each of its channels, keeps in memory alone; what exceeds them is written down first.
    /// An ephemeral one drops it. 0: everything is written down.
    pub mem_queue_size: u64,
    /// How safe a message is when its publish is answered, unless its topic says otherwise; `None`: as `mem_queue_size`
    /// says.
    pub durability: Option<Durability>,
    /// How often what is written is synced to disk, where nothing waits for that.
    pub sync_timeout: Duration,
    /// Publishes that have to be written down are refused while the disk has less free space than this, bytes; 0: never.
    pub min_free_bytes: u64,
    /// How long a consumer may keep a message before it is redelivered, unless it asks for another time.
    pub msg_timeout: Duration,
    /// Longest time a consumer may ask for, TOUCH included.
    pub max_msg_timeout: Duration,
    /// Largest body of a message, in bytes.
    pub max_msg_size: u64,
    /// Longest delay of REQ and DPUB.
    pub max_req_timeout: Duration,
    /// Largest body of one command, such as MPUB, in bytes.
    pub max_body_size: u64,
    /// Longest heartbeat interval a client may ask for.
    pub max_heartbeat_interval: Duration,
    /// Largest RDY count.
    pub max_rdy_count: u64,
    /// Largest output buffer a client may ask for, in bytes.
    pub max_output_buffer_size: u64,
    /// Longest output buffer timeout a client may ask for.
    pub max_output_buffer_timeout: Duration,
    /// Shortest output buffer timeout a client may ask for.
    pub min_output_buffer_timeout: Duration,
    /// Output buffer timeout of clients that ask for none.
    pub output_buffer_timeout: Duration,
    /// Most consumers of a channel on this node; 0 is no bound.
    pub max_channel_consumers: u32,
    /// TLS towards clients.
    pub tls: TlsConfig,
    /// Who says what clients may do.
    pub auth: AuthConfig,
    /// For a connection to an auth server or nsqlookupd to be open.
    pub http_client_connect_timeout: Duration,
    /// For the whole answer of one.
    pub http_client_request_timeout: Duration,
    /// The nsqlookupds that the node announces itself to, `host:port`, with `tls://` before it for TLS.
    pub nsqlookupd_tcp_addresses: Vec<String>,
    /// How those in TLS are spoken to.
    pub nsqlookupd_tls: ClientTls,
    /// Whether clients may have Deflate.
    pub deflate: bool,
    /// The highest level of it, 1 to 9.
    pub max_deflate_level: u8,
    /// Whether clients may have Snappy.
    pub snappy: bool,
    /// A larger domain that this node is part of; empty if unknown.
    pub topology_region: String,
    /// A failure domain that this node is part of; empty if unknown.
    pub topology_zone: String,
    /// Longest delay of DPUB and of `/pub?defer=`; `max_req_timeout` if `None`.
    pub max_defer_time: Option<Duration>,
    /// Whether errors about a limit name the flag that sets it, beyond nsqd's texts.
    pub explain_errors: bool,
    /// How long SIGTERM waits for what is in flight, and a drain for all that is owed; zero: SIGTERM does not wait, and a
    /// drain has no deadline.
    pub drain_timeout: Duration,
    /// Whether consumers of the same zone, then of the same region, come before others.
    pub topology_aware: bool,
    /// The quantiles of the time from publish to FIN that each channel tracks, and over what time.
    pub e2e_processing_latency: LatencyTracking,
    /// Where the node's figures are pushed to.
    pub statsd: statsd::Options,
    /// nsqd's `--log-prefix`: text logs look like nsqd's, with this before each line. `None` is our own look.
    pub log_prefix: Option<String>,
}

impl Default for NsqdConfig {
    fn default() -> Self {
        Self {
            node_id: None,
            tcp_address: "127.0.0.1:4150".to_owned(),
            http_address: Some("127.0.0.1:4151".to_owned()),
            https_address: Some("127.0.0.1:4152".to_owned()),
            broadcast_address: None,
            broadcast_tcp_port: 0,
            broadcast_http_port: 0,
            data_path: None,
            mem_queue_size: 10_000,
            durability: None,
            sync_timeout: Duration::from_secs(2),
            min_free_bytes: 16 << 20,
            msg_timeout: Duration::from_secs(60),
            max_msg_timeout: Duration::from_secs(15 * 60),
            max_msg_size: 1024 * 1024,
            max_req_timeout: Duration::from_secs(60 * 60),
            max_body_size: 5 * 1024 * 1024,
            max_heartbeat_interval: Duration::from_secs(60),
            max_rdy_count: 2500,
            max_output_buffer_size: 64 * 1024,
            max_output_buffer_timeout: Duration::from_secs(30),
            min_output_buffer_timeout: Duration::from_millis(25),
            output_buffer_timeout: Duration::from_millis(250),
            max_channel_consumers: 0,
            tls: TlsConfig::default(),
            auth: AuthConfig::default(),
            http_client_connect_timeout: Duration::from_secs(2),
            http_client_request_timeout: Duration::from_secs(5),
            nsqlookupd_tcp_addresses: Vec::new(),
            nsqlookupd_tls: ClientTls::default(),
            deflate: true,
            max_deflate_level: 6,
            snappy: true,
            topology_region: String::new(),
            topology_zone: String::new(),
            max_defer_time: None,
            explain_errors: false,
            drain_timeout: Duration::ZERO,
            topology_aware: false,
            e2e_processing_latency: LatencyTracking::default(),
            statsd: statsd::Options::default(),
            log_prefix: None,
        }
    }
}

/// What is logged and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogConfig {
    /// The least severe level that is logged.
    pub level: LogLevel,
    /// How a line looks.
    pub format: LogFormat,
    /// Where lines go; standard error if there are none.
    pub outputs: Vec<logs::Output>,
}

/// Severity, as NSQ and tracing know it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogLevel {
    /// Single frames and messages.
    Trace,
    /// Connections and decisions.
    Debug,
    /// The life of the node and its routes.
    #[default]
    Info,
    /// What may need attention.
    Warn,
    /// What does need it.
    Error,
    /// nsqd's most quiet level; shows the same as `Error`.
    Fatal,
}

impl LogLevel {
    /// The level as one word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
            Self::Fatal => "fatal",
        }
    }
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl From<LogFormat> for logs::LogFormat {
    fn from(format: LogFormat) -> Self {
        match format {
            LogFormat::Text => Self::Text,
            LogFormat::Json => Self::Json,
        }
    }
}
