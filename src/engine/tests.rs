//! Tests of an engine that writes down what it owes: restarts, overflow, segments, damage.

mod damage;
mod full;
mod power;
mod restart;
mod rig;
