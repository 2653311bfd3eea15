//! Replication that cannot show readers bad data.
//!
//! A [`Replicator`] brings the newest snapshot of a dataset from a [`Source`] to this machine,
//! verifies it, and only then lets readers see it. The two talk over any channel that is
//! `Read + Write`: a TCP connection, a Unix socket, a pipe pair. A run may die at any point, on either
//! side: the next one looks at what is there, finishes it, and goes on.
//!
//! ```no_run
//! use std::net::{TcpListener, TcpStream};
//! use helix_zfs::replicate::{Job, Replicator, Source};
//! use helix_zfs::zfs_core::{DatasetName, Zfs};
//!
//! # use helix_zfs::gate::Capability;
//! # fn example(send: &Capability, receive: &Capability) -> Result<(), Box<dyn std::error::Error>> {
//! // On the machine that has the data:
//! let acme = DatasetName::new("tank/tenants/acme")?;
//! let source = Source::new(&Zfs::open()?).offer(&acme);
//! for connection in TcpListener::bind("10.0.0.1:7000")?.incoming() {
//!     source.serve(send, connection?)?;
//! }
//!
//! // On the machine that keeps a copy:
//! let job = Job::new(&acme, &DatasetName::new("backup/acme")?);
//! let channel = TcpStream::connect("10.0.0.1:7000")?;
//! match Replicator::new(&Zfs::open()?).pull(receive, channel, &job) {
//!     Ok(outcome) => println!("readers see {:?}", outcome.snapshot),
//!     Err(error) => println!("{error}\n{}", error.advice()),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # The target
//!
//! A target `backup/acme` is a filesystem without data of its own, which the first run makes if need
//! be. Below it are:
//!
//! | dataset | what it is |
//! |---|---|
//! | `chain` | what is received into, with all snapshots. Nobody is to read it: its newest snapshot may not be verified yet |
//! | `current` | what readers see: a read-only clone of the newest verified snapshot |
//! | `next` | for a moment: the clone that is about to become `current` |
//! | `retired-GUID` | what was `current` before and is still in use, because it is mounted for example. A later run destroys it |
//!
//! Nothing is mounted or unmounted here, and `chain` and `current` have `canmount=noauto`. Who has
//! `current` mounted goes on reading the old snapshot after a promotion, consistent to the end; who
//! mounts it anew sees the new one. Between the two renames of a promotion there is, for an instant,
//! no `current`: never a wrong one.
//!
//! A dataset that is not encrypted is sent compressed as it is stored, with large blocks.
//! Encrypted datasets are sent raw: neither the replicator nor the target's machine needs the key. A
//! clone shares the encryption root of the chain, so to read, load the key of `chain`.
//!
//! What ZFS keeps is all there is, no journal and no file beside it:
//!
//! | where | what |
//! |---|---|
//! | `helix:replica` on the target | it is one, with this layout |
//! | `helix:verified` on a snapshot of `chain` | its GUID and content digest. Set after verification, and nothing else makes a snapshot one that readers may see |
//! | `helix:discarding` on `chain` | a rejected snapshot is being destroyed |
//! | a hold `helix-replicate` on a snapshot of `chain` | the base of the next increment |
//! | a hold and a bookmark `helix-replicate-…` at the source | see [`Source`] |
//!
//! Older snapshots of `chain` stay until somebody destroys them.
//!
//! # A run
//!
//! 1. The target keeps other runs away (a hold that ends with the process), and finishes what a run
//!    that died left undone.
//! 2. It tells the source its snapshots and the token of a cut receive. The source picks the base by
//!    GUID: the target's newest snapshot must be a snapshot or a bookmark of the source, whatever
//!    its name there. It holds what it sends.
//! 3. The data goes over the channel in frames of at most 256 KiB, each with the checksums of its header
//!    and its body. A frame whose body is damaged is asked for again, and no byte of it reaches the
//!    kernel; a damaged header, or a cut, ends the run, and the next one resumes by token.
//! 4. The source sends its manifest: the transport digest of the stream, and the content digest of
//!    the whole increment. The target compares the first with what arrived. Then it sends the
//!    increment to itself, from disk, and compares the content digest of that with the second.
//! 5. If they are equal it sets `helix:verified` and swaps `current`. If not it destroys the snapshot,
//!    and readers never saw it.
//! 6. The source makes a bookmark of the snapshot and releases it.
//!
//! Only the newest snapshot is sent, in one increment from the base; those between are not.
//!
//! # What this proves
//!
//! The content digest covers the blocks as they are stored, and for encrypted datasets that is
//! ciphertext with its authentication codes. [`zfs_core::digest`] says what it proves. It is computed
//! from what the target's disks give back, so it covers the channel, both machines' memory while they
//! send and receive, and ZFS itself on the way. What an increment frees is proven by the transport
//! digest to have arrived, not by the content digest to have been carried out. It says nothing about whether the source's data
//! was good, and it is no protection against an attacker in the channel, who could replace the
//! digests as well: let the channel be a tunnel that authenticates.

mod error;
mod frame;
mod message;
mod pace;
mod plan;
mod progress;
pub(crate) mod recovery;
mod replicator;
mod source;
mod status;
pub(crate) mod survey;
pub(crate) mod target;
mod verify;
mod window;

pub use error::{Problem, ReplicateError, Side};
pub use progress::{Phase, Progress};
pub use replicator::{Job, Outcome, Replicated, Replicator};
pub use source::{Served, Source};
pub use status::{ReplicaSnapshot, ReplicaStatus};
pub use survey::Survey;
