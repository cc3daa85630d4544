//! The keys of `nsqd` in the node's file: nsqd's own options and those beside them.

use std::time::Duration;

use super::endpoints::NSQ_TLS;
use super::topics::DURABILITY;
use super::*;
use crate::config::node::TOPOLOGY_AWARE;

/// `nsqd`.
pub(in crate::config) const NSQD: &Keys = &Keys::new(
    "nsqd",
    &[
        key(
            "auth_http_addresses",
            Kind::List("list of host:port or URLs", &SHORT_TEXT),
            "none",
            "the auth servers; AUTH is off without any. See [AUTH](operations.md#auth)",
        ),
        key(
            "auth_http_request_method",
            Kind::Choice(&["get", "post"]),
            "`get`",
            "how they are asked",
        ),
        key(
            "auth_stale_if_error",
            Kind::Duration(Duration::ZERO, DAY),
            "`0`",
            "how long an answer is used beyond its time while none of them can be reached; nsqd \
             has no such option",
        ),
        key(
            "broadcast_address",
            TEXT,
            "the host's name",
            "the host under which others reach this node",
        ),
        key(
            "broadcast_http_port",
            Kind::Integer(0, 65_535),
            "`0`",
            "the port to announce for the HTTP API; 0 is the real one",
        ),
        key(
            "broadcast_tcp_port",
            Kind::Integer(0, 65_535),
            "`0`",
            "the port to announce for the NSQ protocol; 0 is the real one",
        ),
        key(
            "data_path",
            PATH,
            "none",
            "for what is kept on disk. **Without it nothing is kept, not even over a clean \
             exit**; `leveret nsqd` uses the current folder, as nsqd does",
        ),
        key("deflate", Kind::Boolean, "`true`", "whether clients may have Deflate"),
        key(
            "drain_timeout",
            Kind::Duration(Duration::ZERO, DAY),
            "`0`",
            "how long SIGTERM waits for what is in flight, and a drain for all that is owed, see \
             [operations](operations.md). With 0 SIGTERM does not wait, and a drain has no \
             deadline",
        ),
        key(
            "durability",
            DURABILITY,
            "",
            "what a message outlives once its publish is answered: nothing, the process, or the \
             machine, see [delivery](delivery.md#local-topics); [topics](topics.md) can say \
             otherwise",
        ),
        key(
            "e2e_processing_latency_percentiles",
            Kind::List("list of numbers above 0, at most 1", &Kind::Fraction),
            "`[]`",
            "the quantiles of the time from publish to FIN that each channel tracks, such as \
             `[0.5, 0.99]`; shown by `/stats`, `/metrics` and statsd. None costs nothing",
        ),
        key(
            "e2e_processing_latency_window_time",
            Kind::Duration(MILLISECOND, DAY),
            "`10m`",
            "over how long they are taken: the last half to whole of it",
        ),
        key(
            "enable_experiment",
            Kind::List("list", &Kind::Choice(&[TOPOLOGY_AWARE])),
            "none",
            "`topology-aware-consumption`: consumers of the node's zone, then of its region, \
             [come first](topics.md#consumers-nearby)",
        ),
        key(
            "explain_errors",
            Kind::Boolean,
            "`false`",
            "errors about a limit name the flag that sets it: `E_BAD_MESSAGE PUB message too big \
             2000000 > 1048576: see --max-msg-size`; over HTTP in a `detail` beside nsqd's \
             `message`",
        ),
        key(
            "http_address",
            ADDRESS_OR_PATH,
            "`127.0.0.1:4151`",
            "the HTTP API; `\"\"` switches it off",
        ),
        key(
            "http_client_connect_timeout",
            Kind::Duration(MILLISECOND, DAY),
            "`2s`",
            "for a connection to an auth server",
        ),
        key(
            "http_client_request_timeout",
            Kind::Duration(MILLISECOND, DAY),
            "`5s`",
            "for the whole answer of one",
        ),
        key(
            "https_address",
            ADDRESS,
            "`127.0.0.1:4152`",
            "the HTTP API in TLS, if there is a certificate; `\"\"` switches it off",
        ),
        key(
            "log_prefix",
            TEXT,
            "none",
            "text logs look like nsqd's, with this before each line; under nsqd's name it is \
             `[nsqd] `",
        ),
        key(
            "max_body_size",
            Kind::Size(1, 1 << 30),
            "`5MiB`",
            "the largest body of one command, such as MPUB",
        ),
        key(
            "max_channel_consumers",
            Kind::Integer(0, 4_294_967_295),
            "`0`",
            "the most consumers of a channel; 0 is no bound",
        ),
        key(
            "max_defer_time",
            Kind::Duration(Duration::ZERO, TEN_YEARS),
            "`max_req_timeout`",
            "the longest delay of DPUB and `/pub?defer=`; REQ keeps `max_req_timeout`",
        ),
        key("max_deflate_level", Kind::Integer(1, 9), "`6`", "the highest level of it"),
        key(
            "max_heartbeat_interval",
            Kind::Duration(SECOND, DAY),
            "`1m`",
            "the longest heartbeat interval a client may ask for",
        ),
        key("max_msg_size", Kind::Size(1, 1 << 30), "`1MiB`", "the largest message"),
        key(
            "max_msg_timeout",
            Kind::Duration(MILLISECOND, DAY),
            "`15m`",
            "the longest a consumer may ask for, TOUCH included",
        ),
        key(
            "max_output_buffer_size",
            Kind::Size(64, 64 << 20),
            "`64KiB`",
            "the largest output buffer a client may ask for",
        ),
        key(
            "max_output_buffer_timeout",
            Kind::Duration(MILLISECOND, DAY),
            "`30s`",
            "the longest output buffer timeout a client may ask for",
        ),
        key("max_rdy_count", Kind::Integer(1, 1_000_000_000), "`2500`", "the largest RDY"),
        key(
            "max_req_timeout",
            Kind::Duration(Duration::ZERO, DAY),
            "`1h`",
            "the longest delay of REQ, and of DPUB unless `max_defer_time` says otherwise",
        ),
        key(
            "mem_queue_size",
            Kind::Integer(0, 1_000_000_000),
            "`10000`",
            "messages that a topic, and each of its channels, keeps in memory alone. What exceeds \
             them is written down before it is answered; an `#ephemeral` topic or channel drops \
             it. 0: everything is written down",
        ),
        key(
            "min_free_bytes",
            Kind::Size(0, BOUNDLESS),
            "`16MiB`",
            "publishes that have to be written down are refused while the disk has less free \
             space. The rest is for what makes room: FINs and checkpoints are still written, so \
             that a disk that is full of the log empties as its messages are consumed. 0: refused \
             only once the disk is full, and then somebody else has to make room",
        ),
        key(
            "min_output_buffer_timeout",
            Kind::Duration(MILLISECOND, DAY),
            "`25ms`",
            "the shortest",
        ),
        key(
            "msg_timeout",
            Kind::Duration(MILLISECOND, DAY),
            "`1m`",
            "how long a consumer may keep a message before it is redelivered",
        ),
        key("node_id", Kind::Integer(0, 1023), "from the host's name", "part of message ids"),
        key(
            "nsqlookupd_tcp_addresses",
            Kind::List(
                "list of host:port or `tls://host:port`",
                &Kind::Text("host:port or `tls://host:port`", ":[0-9]+$"),
            ),
            "none, or the node's own",
            "the nsqlookupds that the node announces itself to, see [discovery](discovery.md). A name \
             means all its addresses, and is resolved anew every 15 s. A node with a `lookupd` of \
             its own is announced to that if there is no list",
        ),
        key(
            "nsqlookupd_tls",
            Kind::Mapping(NSQ_TLS),
            "the system's authorities",
            "how those that are `tls://` are spoken to, see [nsq.tls](routes.md#nsqtls)",
        ),
        key(
            "output_buffer_timeout",
            Kind::Duration(MILLISECOND, DAY),
            "`250ms`",
            "that of clients that ask for none",
        ),
        key("snappy", Kind::Boolean, "`true`", "whether clients may have Snappy"),
        key(
            "statsd_address",
            ADDRESS,
            "none",
            "where the figures are pushed by UDP, see [metrics](metrics.md#statsd); `\"\"` is \
             none",
        ),
        key(
            "statsd_exclude_ephemeral",
            Kind::Boolean,
            "`false`",
            "leaves `#ephemeral` topics and channels out",
        ),
        key("statsd_interval", Kind::Duration(MILLISECOND, DAY), "`1m`", "time between two pushes"),
        key(
            "statsd_mem_stats",
            Kind::Boolean,
            "`true`",
            "whether the memory of the process is pushed too",
        ),
        key(
            "statsd_prefix",
            TEXT,
            "`nsq.%s`",
            "before each name; `%s` becomes the broadcast address and HTTP port",
        ),
        key(
            "statsd_udp_packet_size",
            Kind::Integer(1, 65_507),
            "`508`",
            "the largest datagram in bytes; a longer line goes alone",
        ),
        key(
            "sync_timeout",
            Kind::Duration(MILLISECOND, DAY),
            "`2s`",
            "how often what is written is synced to the disk, where no answer waits for that",
        ),
        key(
            "tcp_address",
            ADDRESS_OR_PATH,
            "`127.0.0.1:4150`",
            "the NSQ protocol; port 0 takes a free one, an empty host is all addresses. What has \
             a slash is the path of a unix socket",
        ),
        key(
            "tls_cert",
            PATH,
            "none",
            "PEM with the server's certificate and those that lead to its authority; TLS is off \
             without it. See [TLS](operations.md#tls)",
        ),
        key(
            "tls_client_auth_policy",
            Kind::Choice(&["require", "require-verify"]),
            "none",
            "clients need any certificate, or one that the authorities stand for; either makes \
             TLS required",
        ),
        key("tls_key", PATH, "none", "PEM with the certificate's key"),
        key(
            "tls_min_version",
            Kind::Choice(&["tls1.0", "tls1.1", "tls1.2", "tls1.3"]),
            "`tls1.0`",
            "the oldest version; TLS 1.2 is the oldest that there is, so that the first three \
             mean the same",
        ),
        key(
            "tls_required",
            Kind::Choice(&["true", "false", "tcp-https"]),
            "`false`",
            "who has to use TLS: everybody, nobody, or NSQ clients while plain HTTP goes on",
        ),
        key(
            "tls_root_ca_file",
            PATH,
            "the system's",
            "PEM with the authorities, for clients and for auth servers",
        ),
        key("topology_region", TEXT, "`\"\"`", "the larger domain that the node is in"),
        key("topology_zone", TEXT, "`\"\"`", "the failure domain within the region"),
    ],
);
