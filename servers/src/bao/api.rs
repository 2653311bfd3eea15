//! Requests over the server's socket. HTTP 1.0 is enough: an answer ends with the connection.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

pub(super) fn request(
    socket: &Path,
    method: &str,
    path: &str,
    token: &str,
    body: &Value,
) -> Result<(u16, Value)> {
    let body = match body {
        Value::Null => String::new(),
        body => body.to_string(),
    };
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let length = body.len();
    write!(
        stream,
        "{method} /v1/{path} HTTP/1.0\r\nX-Vault-Token: {token}\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    )?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    parse(&String::from_utf8(answer)?)
}

fn parse(answer: &str) -> Result<(u16, Value)> {
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .context("the answer is cut off")?;
    let status = head.split_whitespace().nth(1).unwrap_or_default().parse()?;
    ensure!(head.starts_with("HTTP/1."), "the answer is not HTTP");
    let body = if body.trim().is_empty() {
        Value::Null
    } else {
        serde_json::from_str(body)?
    };
    Ok((status, body))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::parse;

    #[test]
    fn answers_are_read() {
        assert_eq!(
            parse("HTTP/1.0 200 OK\r\nA: b\r\n\r\n{\"a\":1}\n").unwrap(),
            (200, json!({"a": 1}))
        );
        assert_eq!(
            parse("HTTP/1.0 204 No Content\r\n\r\n").unwrap(),
            (204, Value::Null)
        );
        for wrong in [
            "",
            "HTTP/1.0 200 OK\r\n",
            "HTTP/1.0\r\n\r\n",
            "x 200\r\n\r\n",
        ] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
