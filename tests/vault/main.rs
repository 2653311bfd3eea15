//! Keys in a real OpenBao server, which speaks HashiCorp Vault's protocol, and what the client makes
//! of a server or a network that does not do what it should.

#![allow(missing_docs, reason = "tests")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails"
)]

mod failures;
mod logins;
mod stores;
mod support;
