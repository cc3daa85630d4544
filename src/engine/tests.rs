//! Tests of an engine that writes down what it owes: restarts, overflow, segments, damage.

mod damage;
mod format;
mod full;
mod power;
mod replay;
mod restart;
mod rig;
