//! The black-box tests, as one binary: real servers, real clients, nothing of the library's insides.
//!
//! Tests that start a broker of their own to harm it live in `chaos` and `brokers`; nextest runs those one at a time.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stderr,
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test's own report of its failure is a panic, and it owns its files, clock and environment"
)]

#[path = "../support/mod.rs"]
#[allow(dead_code, reason = "a rig offers more than the tests of one day use")]
mod support;

mod admin;
mod admin_access;
mod admin_pages;
mod alerts;
mod auth;
mod bad_input;
mod broker;
mod brokers;
mod chaos;
mod compare;
mod compression;
mod crash;
mod dashboards;
mod delays;
mod discovery;
mod edges;
mod http_nsqd;
mod letters;
mod limits;
mod logs;
mod lookupd;
mod migration;
mod neighbours;
mod nsq_basics;
mod nsq_clients;
mod nsqd_data;
mod nsqd_folder;
mod nsqd_program;
mod nsqd_start;
mod opentsdb;
mod packaging;
mod policies;
mod recovery;
mod registry;
mod registry_amqp;
mod reload;
mod remote_nsq;
mod remote_nsq_reach;
mod replay;
mod routes_deliver;
mod routes_move;
mod routes_publish;
mod routes_shape;
mod routes_split;
mod schema;
mod store;
mod tls;
mod topology;
mod unix_sockets;
mod utilities;
mod utilities_file;
mod utilities_onward;
