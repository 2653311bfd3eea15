//! The program, run as a person or a script would run it.

mod clones;
mod gates;
mod guards;
mod keys;
mod program;
mod quotas;
mod replica;
mod replicas;
mod tenants;

use serde_json::Value;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Command, Stdio};

const SCHEMA: &str = include_str!("../../docs/helixctl-json.md");

/// How a run ended.
struct Ended {
    status: i32,
    stdout: String,
    stderr: String,
}

fn command(arguments: &[&str]) -> Command {
    let folder = std::env::var_os("HELIX_ZFS_PROGRAMS")
        .expect("HELIX_ZFS_PROGRAMS names the folder of the built programs");
    let mut command = Command::new(PathBuf::from(folder).join("helixctl"));
    command.args(arguments).stdin(Stdio::null());
    command
}

fn ended(mut command: Command) -> Ended {
    let output = command.output().expect("helixctl");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Ended {
        status: output.status.code().expect("no signal"),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

/// Runs what must succeed, and returns what it printed.
fn done(arguments: &[&str]) -> String {
    let ended = ended(command(arguments));
    assert_eq!(
        ended.status, 0,
        "{arguments:?}: {}{}",
        ended.stdout, ended.stderr
    );
    assert_eq!(ended.stderr, "", "{arguments:?}");
    ended.stdout
}

/// Runs what must end with `status`, and returns its message.
fn fails(status: i32, arguments: &[&str]) -> String {
    let ended = ended(command(arguments));
    assert_eq!(
        ended.status, status,
        "{arguments:?}: {}{}",
        ended.stdout, ended.stderr
    );
    assert!(ended.stderr.starts_with("helixctl: "), "{}", ended.stderr);
    ended.stderr
}

/// Runs it with `--json`, and returns `data` and the exit status, once the document is as its
/// description says.
fn json(arguments: &[&str]) -> (i32, Value) {
    let ended = ended(command(&[&["--json"], arguments].concat()));
    let text = &ended.stdout;
    let mut document = None;
    for value in serde_json::Deserializer::from_str(text).into_iter::<Value>() {
        let value = value.unwrap_or_else(|error| panic!("{arguments:?}: {error}: {text}"));
        assert_eq!(value["schema"], 1, "{text}");
        is_documented(&value);
        document = Some(value);
    }
    let document = document.unwrap_or_else(|| panic!("{arguments:?}: {}", ended.stderr));
    assert_eq!(document["exit"], ended.status, "{text}");
    let words = arguments
        .iter()
        .take_while(|word| !word.contains(['/', '-']));
    let command = document["command"].as_str().expect("a text");
    let typed: Vec<&str> = words.copied().collect();
    assert!(
        typed.join(" ").starts_with(command),
        "{command}: {arguments:?}"
    );
    assert_eq!(
        document["error"].is_null(),
        ended.stderr.is_empty(),
        "{text}"
    );
    if let Some(message) = document["error"]["message"].as_str() {
        assert!(ended.stderr.contains(message), "{}", ended.stderr);
    }
    (ended.status, document["data"].clone())
}

/// Every name of a document is in its description.
fn is_documented(value: &Value) {
    match value {
        Value::Array(items) => items.iter().for_each(is_documented),
        Value::Object(fields) => {
            for (name, value) in fields {
                assert!(
                    SCHEMA.contains(&format!("`{name}`")),
                    "{name} is not documented"
                );
                // What a library's documentation describes, and what has names of datasets in it.
                if !matches!(name.as_str(), "report" | "passed" | "properties" | "vdev") {
                    is_documented(value);
                }
            }
        }
        _ => {}
    }
}

/// The texts of a list.
fn texts(value: &Value) -> BTreeSet<&str> {
    let items = value.as_array().expect("a list");
    items
        .iter()
        .map(|item| item.as_str().expect("a text"))
        .collect()
}
