//! The servers come up, come back, and end.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use servers::{Bao, BaoOptions, Postgres};

fn runs(id: u32) -> bool {
    Path::new(&format!("/proc/{id}")).exists()
}

#[test]
fn openbao_keeps_what_it_stores_and_ends_with_its_value() {
    let bao = Bao::start(&BaoOptions::default()).unwrap();
    let address = bao.address();
    bao.ask(
        "PUT",
        "sys/mounts/kv",
        &json!({"type": "kv", "options": {"version": "2"}}),
    )
    .unwrap();
    // A new engine prepares itself first.
    for _ in 0..500 {
        if bao.request("GET", "kv/config", &Value::Null).unwrap().0 == 200 {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    bao.ask("PUT", "kv/data/a", &json!({"data": {"b": "c"}}))
        .unwrap();
    assert!(TcpStream::connect(("127.0.0.1", bao.port())).is_ok());

    bao.seal().unwrap();
    assert_eq!(
        bao.request("GET", "kv/data/a", &Value::Null).unwrap().0,
        503
    );
    bao.unseal().unwrap();
    let read = || bao.ask("GET", "kv/data/a", &Value::Null).unwrap();
    assert_eq!(read()["data"]["data"]["b"], "c");

    bao.kill().unwrap();
    assert!(bao.request("GET", "kv/data/a", &Value::Null).is_err());
    assert_eq!(bao.process(), None);
    assert!(TcpStream::connect(("127.0.0.1", bao.port())).is_err());
    bao.restart_sealed().unwrap();
    assert_eq!(
        bao.request("GET", "kv/data/a", &Value::Null).unwrap().0,
        503
    );
    bao.restart().unwrap();
    assert_eq!(read()["data"]["data"]["b"], "c");
    assert_eq!(bao.address(), address);

    let (id, file) = (bao.process().unwrap(), bao.authority_file());
    assert_eq!(std::fs::read_to_string(&file).unwrap(), bao.authority_pem());
    drop(bao);
    assert!(!runs(id) && !file.exists());
}

/// A test is a thread: a server that one of them started serves the others too.
#[test]
fn a_server_outlives_the_thread_that_started_it() {
    let postgres = std::thread::spawn(|| Postgres::start().unwrap())
        .join()
        .unwrap();
    assert_eq!(query(&postgres, "SELECT 1"), "1");
}

#[test]
fn postgres_keeps_what_it_stores_when_it_is_killed() {
    let postgres = Postgres::start().unwrap();
    let url = postgres.url();
    query(&postgres, "CREATE TABLE t AS SELECT 7 AS a");
    postgres.kill().unwrap();
    assert!(TcpStream::connect(("127.0.0.1", postgres.port())).is_err());
    postgres.restart().unwrap();
    assert_eq!(query(&postgres, "SELECT a FROM t"), "7");
    postgres.restart().unwrap();
    assert_eq!(query(&postgres, "SELECT a FROM t"), "7");
    assert_eq!(postgres.url(), url);
}

fn query(postgres: &Postgres, statement: &str) -> String {
    let output = Command::new("psql")
        .arg(postgres.url())
        .args([
            "--no-psqlrc",
            "--tuples-only",
            "--no-align",
            "--command",
            statement,
        ])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
