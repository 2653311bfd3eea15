//! Send streams as data: records, checksums and resume tokens, without a kernel.
#![forbid(unsafe_code)]

mod token;

pub use token::{MAX_TOKEN_LEN, ResumeToken, TokenError};
