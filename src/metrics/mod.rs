//! What is counted: plain atomics, and the figures that are shown of them. No exporters.

pub mod broker;
pub mod route;
