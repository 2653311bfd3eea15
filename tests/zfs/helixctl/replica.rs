//! `helixctl replica`: two nodes, each a process.

use super::keys::SECRET;
use super::{command, done, ended, fails, is_documented, json};
use crate::support::{Mounted, Scratch, zfs, zfs_get};
use helix_zfs::zfs_core::key::{Encryption, WrappingKey};
use helix_zfs::zfs_core::{CreateOptions, Dataset};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::fs::File;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;
use tempfile::TempDir;

/// A node with its data below a dataset of its own.
struct Node {
    name: &'static str,
    folder: PathBuf,
    above: String,
    process: Option<Child>,
}

impl Node {
    /// A node below `above` that knows one other, and what else its file says at the top.
    fn new(name: &'static str, folder: &Path, above: &Scratch, top: &str, peer: &str) -> Self {
        let node = Self {
            name,
            folder: folder.to_owned(),
            above: above.name().to_owned(),
            process: None,
        };
        let text = format!(
            r#"
group = "orders"
node = "{name}"
data = "{above}/data"
target = "{above}/copy"
fences = "fences.db"
{top}

[policy]
follow = {{ on-change = "100ms" }}
lease = "4s"
clock-margin = "200ms"
keep = {{ last = 1 }}

[[peer]]
{peer}
"#,
            above = above.name(),
        );
        std::fs::write(node.file(), text).unwrap();
        node
    }

    /// Two nodes, `a` and `b`, that reach each other by sockets in the folder.
    fn pair(folder: &Path, above: &[Scratch; 2]) -> [Self; 2] {
        let node = |name, own: &Scratch, other, others: &Scratch| {
            let peer = format!(
                r#"
node = "{other}"
data = "{}/data"
from = "./{other}-for-{name}"
listen = "./{name}-for-{other}"
"#,
                others.name()
            );
            Self::new(name, folder, own, "", &peer)
        };
        [
            node("a", &above[0], "b", &above[1]),
            node("b", &above[1], "a", &above[0]),
        ]
    }

    fn file(&self) -> String {
        let file = self.folder.join(format!("{}.toml", self.name));
        file.to_str().unwrap().to_owned()
    }

    fn data(&self) -> String {
        format!("{}/data", self.above)
    }

    fn dataset(&self) -> Dataset {
        zfs().dataset(&self.data()).unwrap()
    }

    fn log(&self) -> PathBuf {
        self.folder.join(format!("{}.log", self.name))
    }

    fn start(&mut self) {
        let mut command = command(&["--json", "replica", "run", &self.file()]);
        let log = File::options().create(true).append(true).open(self.log());
        self.process = Some(command.stdout(log.unwrap()).spawn().unwrap());
    }

    fn kill(&mut self) {
        let mut process = self.process.take().unwrap();
        process.kill().unwrap();
        process.wait().unwrap();
    }

    /// Ends it as a supervisor does, and returns its exit status.
    fn end(&mut self) -> Option<i32> {
        let mut process = self.process.take().unwrap();
        let pid = Pid::from_raw(process.id().try_into().unwrap()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
        process.wait().unwrap().code()
    }

    fn tell(&self, what: &str) -> String {
        done(&["replica", what, &self.file(), "--yes"])
    }

    fn status(&self) -> Value {
        json(&["replica", "status", &self.file()]).1
    }

    fn until(&self, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        for _ in 0..600 {
            let status = self.status();
            if is(&status) {
                return status;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        let log = std::fs::read_to_string(self.log()).unwrap_or_default();
        panic!("{}: {what}: {:#}\n{log}", self.name, self.status());
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

#[test]
fn a_group_of_two_nodes_is_operated() {
    let above = ["a", "b"].map(|side| Scratch::new(&format!("ctl-node-{side}")));
    let folder = TempDir::new().unwrap();
    let [mut a, mut b] = Node::pair(folder.path(), &above);
    a.dataset().create(&CreateOptions::filesystem()).unwrap();
    Mounted::new(&a.dataset()).write("first", "1");

    // Nothing runs yet, and nothing was made.
    let told = fails(3, &["replica", "promote", &a.file(), "--yes"]);
    assert!(told.contains("helixctl replica run"), "{told}");
    let (status, told) = json(&["replica", "status", &a.file()]);
    assert_eq!((status, &told["site"]["role"]), (9, &"unmarked".into()));
    assert!(
        told["fence"].is_null() && told["running"].is_null(),
        "{told}"
    );
    done(&["replica", "run", &a.file(), "--dry-run"]);
    assert!(!folder.path().join("fences.db").exists());

    a.start();
    a.until("is the source", |told| told["running"]["may_write"] == true);
    b.start();
    let told = a.until("has b's word", |told| {
        !told["fence"]["acknowledged"].is_null()
    });
    assert_eq!(told["fence"]["holder"], "a");
    let told = b.until("follows", |told| told["readers_see"].is_string());
    assert_eq!(told["site"]["role"], "replica");
    let ended = ended(command(&["replica", "run", &a.file()]));
    assert_eq!(ended.status, 7, "{}", ended.stderr);
    assert!(ended.stderr.contains("another process"), "{}", ended.stderr);

    // What is not asked for, or makes no sense.
    fails(3, &["replica", "promote", &b.file()]);
    for (node, what) in [(&a, "undo"), (&a, "rebuild"), (&b, "rebuild"), (&b, "undo")] {
        for _ in 0..2 {
            let told = fails(3, &["replica", what, &node.file(), "--yes"]);
            assert!(told.contains("its role is"), "{told}");
        }
    }
    // As long as the source holds its lease.
    let told = fails(7, &["replica", "promote", &b.file(), "--yes", "--wait=0s"]);
    assert!(told.contains("has not done it"), "{told}");

    // It dies, and b takes its place.
    a.kill();
    b.tell("promote");
    assert_eq!(b.status()["fence"]["epoch"], 2);
    // Once.
    assert!(b.tell("promote").contains("epoch 2, writable"));
    a.start();
    a.until("is fenced", |told| told["site"]["role"] == "fenced");
    assert_eq!(zfs_get("readonly", a.data()), "on");
    let told = fails(3, &["replica", "promote", &a.file(), "--yes"]);
    assert!(told.contains("its role is fenced"), "{told}");

    // Nobody has written.
    assert!(b.tell("undo").contains("is replica"));
    a.until("is the source again", |told| {
        told["running"]["may_write"] == true
    });
    Mounted::new(&a.dataset()).write("second", "2");

    // In good order: nothing of what was written is lost.
    assert!(a.tell("hand-over").contains("source, epoch 3, read-only"));
    b.tell("promote");
    assert_eq!(Mounted::new(&b.dataset()).read("second"), b"2");
    a.until("is fenced", |told| told["site"]["role"] == "fenced");
    assert!(a.tell("rebuild").contains("is replica"));
    Mounted::new(&b.dataset()).write("third", "3");

    // A source that ends stops writing.
    assert_eq!((b.end(), a.end()), (Some(0), Some(0)));
    assert_eq!(zfs_get("readonly", b.data()), "on");
    let mut pruned = 0;
    for node in [&a, &b] {
        let log = std::fs::read_to_string(node.log()).unwrap();
        pruned += log.matches("\"pruned\"").count();
        let values = serde_json::Deserializer::from_str(&log).into_iter::<Value>();
        values.for_each(|value| is_documented(&value.unwrap()));
        assert!(log.contains("\"became\""), "{log}");
    }
    // What was taken of "first" was not needed when b had "second".
    assert!(pruned > 0);
}

/// One is reached by a port, the other by a program that leads there, and the data is encrypted.
#[test]
fn nodes_of_encrypted_data_meet_over_the_network() {
    let above = ["a", "b"].map(|side| Scratch::new(&format!("ctl-net-{side}")));
    let folder = TempDir::new().unwrap();
    let key = folder.path().join("keys/orders/1");
    std::fs::create_dir_all(key.parent().unwrap()).unwrap();
    std::fs::write(&key, SECRET).unwrap();
    for (path, mode) in [
        ("keys", 0o700),
        ("keys/orders", 0o700),
        ("keys/orders/1", 0o600),
    ] {
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(folder.path().join(path), mode).unwrap();
    }
    // Both at once, so that they are not the same.
    let ports = ["", ""].map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
    let [at_a, at_b] = ports.map(|it| it.local_addr().unwrap().port());
    let top = "key = \"orders\"";
    let peer = |way: &str, other: &str, of: &Scratch, listen: u16| {
        let data = of.name();
        format!(
            "node = \"{other}\"\ndata = \"{data}/data\"\n{way}\nlisten = \"127.0.0.1:{listen}\"\n\
             [keys]\nkey-folder = \"keys\"\n"
        )
    };
    let by_program = format!("command = \"exec nc 127.0.0.1 {at_b}\"");
    let by_port = format!("from = \"127.0.0.1:{at_a}\"");
    let peers = [
        peer(&by_program, "b", &above[1], at_a),
        peer(&by_port, "a", &above[0], at_b),
    ];
    let mut a = Node::new("a", folder.path(), &above[0], top, &peers[0]);
    let mut b = Node::new("b", folder.path(), &above[1], top, &peers[1]);
    let encryption = Encryption::aes_256_gcm(&WrappingKey::hex(SECRET).unwrap()).unwrap();
    a.dataset()
        .create(&CreateOptions::filesystem().encryption(encryption))
        .unwrap();
    Mounted::new(&a.dataset()).write("first", "1");

    a.start();
    a.until("is the source", |told| told["running"]["may_write"] == true);
    b.start();
    b.until("follows", |told| told["readers_see"].is_string());
    assert!(a.tell("hand-over").contains("read-only"));
    assert!(b.tell("promote").contains("epoch 2, writable"));
    let mounted = Mounted::new(&b.dataset());
    assert_eq!(mounted.read("first"), b"1");
    mounted.write("second", "2");
    drop(mounted);
    a.until("is fenced", |told| told["site"]["role"] == "fenced");
    assert!(a.tell("rebuild").contains("is replica"));
    // By the program, now.
    let before = a.status()["readers_see"].clone();
    Mounted::new(&b.dataset()).write("third", "3");
    a.until("follows", |told| {
        told["readers_see"].is_string() && told["readers_see"] != before
    });
    assert_eq!((a.end(), b.end()), (Some(0), Some(0)));
    for node in [&a, &b] {
        let log = std::fs::read_to_string(node.log()).unwrap();
        assert!(!log.contains(SECRET), "{log}");
    }
}
