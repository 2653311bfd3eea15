//! Real servers on loopback for the tests: OpenBao and PostgreSQL.
//!
//! Each server is a child process with its files in a folder of its own. It ends when its value is
//! dropped, and when this process ends, however that happens. A program that is not installed is an
//! error that says what to do, never a reason to skip a test.

pub mod bao;
pub mod cache;
mod child;
pub mod port;
pub mod postgres;

pub use bao::{Bao, BaoOptions};
pub use postgres::Postgres;
