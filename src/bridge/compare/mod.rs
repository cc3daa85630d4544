//! What two places have of the same messages: for `leveret compare`.
//!
//! | file | what it is |
//! | --- | --- |
//! | [`side`] | which place, and by what its messages are known: read from a command line |
//! | [`books`] | what was seen where, and what that comes to |
//! | [`watch`] | reads both places at once |

pub mod books;
pub mod side;
pub mod watch;

pub use books::{Findings, Report};
pub use side::{Key, Place, SideError};
pub use watch::{Options, compare};
