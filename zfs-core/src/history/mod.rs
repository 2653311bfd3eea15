//! A pool's history: what was done to it, by whom and when.
//!
//! [`Pool::history`](crate::Pool::history) reads all of it. Three kinds of records are in it:
//! the [lines](HistoryEvent::Command) that programs write, as the commands do; the
//! [requests](HistoryEvent::Request) that the kernel carried out, with their arguments; and the
//! [events](HistoryEvent::Internal) of which the kernel itself makes note.
//!
//! # What this crate writes
//!
//! Every successful change through a [`Zfs`](crate::Zfs) leaves one line, in the words of the
//! command that does the same, behind the name of the program:
//!
//! ```text
//! helixd: zfs snapshot -o helix:git_sha=4be1f2c tank/acme@deploy-42 tank/beta@deploy-42
//! ```
//!
//! A call that the kernel carries out in several steps leaves a line for each step that changed
//! something. Keys and passphrases are in no line, nor in the arguments that the kernel keeps of a
//! request. The kernel adds the user, the host and the time. A line has at most 8192 bytes; what is
//! longer is cut, and says so. That a line could not be written never makes the change a failure.
//!
//! The kernel takes a line only after a request that changed the pool as a whole succeeded. So none is
//! left by a change that was refused in part (some properties of several are set), by properties of
//! vdevs, and by the release of [holds that end by being dropped](crate::HoldGuard). Mounting and
//! unmounting change nothing in the pool.
//!
//! The line costs one request, which waits for no transaction group.

mod line;
mod read;
mod record;
mod write;

pub(crate) use line::Line;
pub use read::History;
pub use record::{HistoryEvent, HistoryRecord};
pub(crate) use write::Recorder;
