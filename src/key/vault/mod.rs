//! Keys in HashiCorp Vault or OpenBao.
//!
//! [`Vault`] is a client: it logs in ([`Login`]), keeps its token's lease alive, and tries again what
//! may be tried again. On it are two kinds of stores: [`VaultKeys`] has the keys themselves in the KV
//! engine, [`VaultTransit`] has them wrapped by the Transit engine.
//!
//! ```no_run
//! use helix_zfs::key::vault::{Login, LoginSecret, Vault, VaultKeys};
//! use helix_zfs::key::{KeyId, KeyProvider};
//!
//! let secret_id = LoginSecret::file("/etc/helix/secret-id");
//! let vault = Vault::builder("https://vault.internal:8200")
//!     .authority_file("/etc/helix/vault-ca.pem")
//!     .login(Login::app_role("helix-storage", secret_id))
//!     .build()?;
//! let keys = VaultKeys::new(&vault, "secret", "helix/{key}")?;
//! let key = keys.current(&KeyId::new("acme")?)?;
//! # drop(key);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What a failure comes to
//!
//! | What happens | [`KeyProblem`](super::KeyProblem) | Tried again |
//! |---|---|---|
//! | no connection, an unknown host, a connection that breaks | `Unreachable` | yes |
//! | a redirect, as of a standby that forwards nothing | `Unreachable` | yes |
//! | a certificate of another authority, for another host, or expired | `Untrusted` | no |
//! | no answer within the limits, or one that drips | `TimedOut` | yes |
//! | sealed | `Sealed` | no |
//! | status 429 | `Throttled` | yes, as `Retry-After` says |
//! | status 5xx | `Failed` | yes |
//! | status 403; a login that is not accepted; a token that has ended | `Denied` | see below |
//! | status 404 | `NotFound` | no |
//! | check-and-set fails | `Conflict` | no |
//! | no HTTP, no JSON, no such fields, no 32 bytes, an answer above 256 KiB | `Malformed` | no |
//! | another status 4xx | `Unsupported` | no |
//!
//! A request that changes something is tried again only when the server has certainly not done it.
//! When its answer was lost, the store reads back what is there. After a status 403 the client asks
//! whether its token is still known; if not, it logs in anew, once.
//!
//! # Secrets
//!
//! No token, secret id or key is in an error, a `Debug` or a log: errors have the request's path, the
//! status, and of what the server said only phrases that are known. What this module holds of them is
//! wiped, and each request has a connection of its own, whose buffers do not outlive it. What TLS
//! frees is not wiped: set an allocator that does (see [`key`](crate::key)).

mod answer;
mod builder;
mod client;
mod error;
mod http;
mod keys;
mod kv;
mod login;
mod session;
mod template;
mod transit;
mod wiped;

use std::fmt;
use std::sync::Arc;

pub use builder::VaultBuilder;
pub use error::VaultError;
pub use keys::VaultKeys;
pub use login::{Login, LoginSecret};
pub use transit::VaultTransit;

use client::{Ask, Client, Reply};

/// A client of a Vault or OpenBao server. Clones share the token.
///
/// It speaks HTTPS only. No thread runs for it: a lease is renewed by the first call after two thirds
/// of it are over, and when it cannot be renewed, that call logs in anew.
#[derive(Clone)]
pub struct Vault(Arc<Client>);

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault")
            .field("address", &self.0.endpoint)
            .field("namespace", &self.0.namespace)
            .field("login", &self.0.login)
            .finish_non_exhaustive()
    }
}

impl Vault {
    /// A client of the server at `https://HOST[:PORT]`.
    #[must_use]
    #[doc(alias = "VAULT_ADDR")]
    pub fn builder(address: impl Into<String>) -> VaultBuilder {
        VaultBuilder::new(address.into())
    }

    /// Gives the token back, if a login of this client made it; the next call logs in anew. A token
    /// that is not given back is good until its lease ends.
    ///
    /// # Errors
    ///
    /// As the table of [this module](self) says. The client has forgotten the token all the same.
    pub fn log_out(&self) -> Result<(), VaultError> {
        self.0.log_out()
    }

    fn call(&self, ask: &Ask<'_>) -> Result<Reply, VaultError> {
        self.0.call(ask)
    }
}
