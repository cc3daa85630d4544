//! Programs beside the node.

pub mod bench;
