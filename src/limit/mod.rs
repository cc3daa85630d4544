//! Rate limits of a route: messages and bytes a second, each with a burst.
//!
//! [`Limiter`] is a pair of token buckets behind one call a batch. `governor` does the arithmetic and is named in
//! this module only. Three facts about it shape the code:
//!
//! - It stores whole nanoseconds a cell, so a bucket of single bytes is wrong by tens of per cent at hundreds of
//!   MB/s. Bytes are charged in cells of [`BYTES_PER_CELL`]; what a charge paid beyond the batch is credited to the
//!   next one, so that small messages are not rounded up one by one. The interval is rounded *up*: a limiter never
//!   passes more than rate × time + burst.
//! - A charge above the burst fails for ever. A batch that is larger than the burst is charged in turns of at most
//!   the burst: it is delayed, never stuck.
//! - Waiters race and large ones starve. A limiter therefore has exactly one waiter: [`Limiter::acquire`] takes
//!   `&mut self`. A route that has several senders puts its limiter behind one task.
//!
//! [`Meter`] puts a second limiter above the first, for what may pass with a mark; [`Keyed`] has a meter for each key. A
//! changed limit keeps what its buckets held ([`Limiter::retune`]).
//!
//! There is no zero rate: a pause is a gate of its own, in front of the limiter.

mod bucket;
mod keyed;
mod limiter;
mod meter;
mod rate;

pub use bucket::BYTES_PER_CELL;
pub use keyed::Keyed;
pub use limiter::{Limiter, Throttle, Throttled};
pub use meter::{Colour, Meter, MeterOptions};
pub use rate::{Allowance, LimitOptions, Rate};
