//! The file that describes a node.

use std::collections::BTreeSet;
use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use helix_zfs::gate::Scope;
use helix_zfs::key::{KeyId, KeyProvider};
use helix_zfs::replica::{
    Fence, FencingStore, GroupName, NodeName, Policy, PostgresFences, Site, SqliteFences,
};
use helix_zfs::zfs_core::{DatasetName, Zfs};
use serde::Deserialize;

use crate::channel;
use crate::failure::{Exit, Failure};
use crate::provider::ProviderArguments;

/// What a capability that is renewed in time lasts at least, from any moment on. A node renews no lease
/// that outlasts it.
const LONGEST_LEASE: Duration = Duration::from_secs(180);

/// The description of a node. Its paths are from the file's folder on.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct NodeFile {
    /// The data that the nodes share, under a name that all give it.
    pub(crate) group: GroupName,
    /// This node.
    pub(crate) node: NodeName,
    /// Where the data is while this is the source.
    pub(crate) data: DatasetName,
    /// Where it is replicated to while it is not.
    pub(crate) target: DatasetName,
    /// The fencing store: an SQLite file, or the address of a PostgreSQL server, which may have a
    /// password in it.
    fences: String,
    /// The folder of the socket that takes commands.
    #[serde(default)]
    control: PathBuf,
    #[serde(default)]
    pub(crate) policy: Policy,
    /// The other nodes.
    #[serde(rename = "peer")]
    pub(crate) peers: Vec<PeerFile>,
    /// The name of the data's key, if it is encrypted.
    key: Option<KeyId>,
    /// Where that is kept.
    keys: Option<ProviderArguments>,
    /// Nothing in the file: its own name.
    #[serde(skip)]
    path: PathBuf,
}

/// Another node.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct PeerFile {
    pub(crate) node: NodeName,
    /// Where the data is while that node is the source.
    pub(crate) data: DatasetName,
    /// Where it listens for us: HOST:PORT, or the path of a Unix socket.
    pub(crate) from: Option<String>,
    /// A program that leads there, instead.
    pub(crate) command: Option<String>,
    /// Where we listen for it, and for nobody else.
    pub(crate) listen: String,
}

/// The name of a key, and where it is kept.
pub(crate) type NamedKey = (KeyId, Box<dyn KeyProvider>);

impl fmt::Debug for NodeFile {
    /// Without the address of the fencing store.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeFile")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl NodeFile {
    /// Reads and checks a file.
    pub(crate) fn load(path: &Path) -> Result<Self, Failure> {
        let shown = path.display().to_string();
        let failed = |error| Failure::io(&shown, &error);
        let text = std::fs::read_to_string(path).map_err(failed)?;
        let path = path.canonicalize().map_err(failed)?;
        let mode = path.metadata().map_err(failed)?.mode();
        let file = Self::parse(&text, &path)
            .map_err(|why| Failure::usage(format!("{shown}: {}", one_line(&why))))?;
        if file.is_server() && mode & 0o077 != 0 {
            let message =
                format!("{shown}: it has the address of a database, and others can read it");
            return Err(
                Failure::new(Exit::Denied, message).advice("let only its owner read it: chmod 600")
            );
        }
        Ok(file)
    }

    fn parse(text: &str, path: &Path) -> Result<Self, String> {
        let mut file: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        let folder = path.parent().unwrap_or(Path::new("/"));
        let in_folder = |address: &mut String| {
            if channel::is_path(address) {
                *address = folder.join(&address).display().to_string();
            }
        };
        if !file.is_server() {
            file.fences = folder.join(&file.fences).display().to_string();
        }
        for peer in &mut file.peers {
            in_folder(&mut peer.listen);
            peer.from.as_mut().map(in_folder);
        }
        if file.control.as_os_str().is_empty() {
            let mut name = path.file_stem().unwrap_or_default().to_owned();
            name.push(".control");
            file.control = PathBuf::from(name);
        }
        file.control = folder.join(&file.control);
        file.keys = file.keys.map(|keys| keys.relative_to(folder));
        file.path = path.to_owned();
        file.check()?;
        Ok(file)
    }

    fn check(&self) -> Result<(), String> {
        if self.data.pool() != self.target.pool() {
            let (data, target) = (&self.data, &self.target);
            return Err(format!("{data} and {target} are not of the same pool"));
        }
        if self.peers.is_empty() {
            return Err(String::from("the group has no other node"));
        }
        let mut names = BTreeSet::from([&self.node]);
        let mut listens = BTreeSet::new();
        for peer in &self.peers {
            let node = &peer.node;
            if !names.insert(node) {
                return Err(format!("there are two nodes {node}"));
            }
            if !listens.insert(&peer.listen) {
                let at = &peer.listen;
                return Err(format!(
                    "{at}: another node comes there, and not only {node}"
                ));
            }
            if peer.from.is_some() == peer.command.is_some() {
                return Err(format!("how is {node} reached? Say `from` or `command`"));
            }
        }
        if self.key.is_some() != self.keys.is_some() {
            return Err(String::from(
                "`key` is the name of the data's key, and [keys] says where it is kept: say both",
            ));
        }
        if self.policy.lease > LONGEST_LEASE {
            return Err(format!(
                "a lease is {} at most",
                humantime::format_duration(LONGEST_LEASE)
            ));
        }
        let replicas = self.peers.len();
        self.policy
            .check(replicas)
            .map_err(|error| error.to_string())
    }

    fn is_server(&self) -> bool {
        ["postgres://", "postgresql://"]
            .iter()
            .any(|scheme| self.fences.starts_with(scheme))
    }

    /// What is done is done with these.
    pub(crate) fn scope(&self) -> Scope {
        Scope::of(&[self.data.clone(), self.target.clone()])
    }

    pub(crate) fn site(&self, zfs: &Zfs) -> Result<Site, Failure> {
        Ok(Site::new(zfs, &self.data, &self.target)?)
    }

    /// The folder of the socket that takes commands.
    pub(crate) fn control(&self) -> &Path {
        &self.control
    }

    /// The fencing store, which is made if it is a file that is not there.
    pub(crate) fn store(&self) -> Result<Arc<dyn FencingStore>, Failure> {
        let failed = |what: &str, error: String| {
            Failure::new(Exit::Failed, format!("{what}: no fencing store: {error}"))
        };
        Ok(match self.is_server() {
            // Its error may quote it.
            true => Arc::new(PostgresFences::new(&self.fences).map_err(|_| {
                Failure::usage(format!("{}: `fences` is no address", self.path.display()))
            })?),
            false => Arc::new(
                SqliteFences::open(&self.fences)
                    .map_err(|error| failed(&self.fences, error.to_string()))?,
            ),
        })
    }

    /// The fence of the group, if it has one. Nothing is made.
    pub(crate) fn fence(&self) -> Result<Option<Fence>, Failure> {
        if !self.is_server() && !Path::new(&self.fences).exists() {
            return Ok(None);
        }
        Ok(self.store()?.read(&self.group)?)
    }

    /// The name of the data's key, and where it is kept.
    pub(crate) fn key(&self) -> Result<Option<NamedKey>, Failure> {
        match (&self.key, &self.keys) {
            (Some(id), Some(keys)) => Ok(Some((id.clone(), keys.provider()?))),
            _ => Ok(None),
        }
    }
}

fn one_line(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    lines.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const FILE: &str = r#"
group = "orders"
node = "a"
data = "tank/orders"
target = "tank/copies/orders"
fences = "fences.db"

[policy]
follow = { on-change = "5s" }
lease = "20s"
automatic = { unreachable-for = "1m" }

[[peer]]
node = "b"
data = "flash/orders"
from = "10.0.0.2:7001"
listen = "sockets/from-b"

[[peer]]
node = "c"
data = "flash/orders"
command = "ssh c nc -U /run/orders/a"
listen = "127.0.0.1:7002"
"#;

    fn parse(text: &str) -> Result<NodeFile, String> {
        NodeFile::parse(text, Path::new("/etc/helixctl/orders-a.toml"))
    }

    #[test]
    fn a_file_is_read() {
        let file = parse(FILE).unwrap();
        assert_eq!(file.fences, "/etc/helixctl/fences.db");
        assert_eq!(file.control(), Path::new("/etc/helixctl/orders-a.control"));
        assert_eq!(file.peers[0].listen, "/etc/helixctl/sockets/from-b");
        assert_eq!(file.peers[1].listen, "127.0.0.1:7002");
        assert_eq!(file.policy.lease, Duration::from_secs(20));
        assert!(file.key().unwrap().is_none());
        let keys = format!("key = \"orders\"{FILE}[keys]\nkey-folder = \"keys\"\n");
        let (id, _) = parse(&keys).unwrap().key().unwrap().unwrap();
        assert_eq!(id.as_str(), "orders");
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said() {
        for (from, to, why) in [
            ("group =", "grup =", "grup"),
            ("node = \"a\"", "node = \"-\"", "no name"),
            ("node = \"a\"", "node = \"b\"", "two nodes b"),
            ("target = \"tank/", "target = \"flash/", "same pool"),
            (
                "data = \"tank/orders\"",
                "data = \"tank//orders\"",
                "tank//orders",
            ),
            ("lease = \"20s\"", "lease = \"8s\"", "too short"),
            ("lease = \"20s\"", "lease = \"1h\"", "3m at most"),
            (
                "lease = \"20s\"",
                "acknowledge = { count = 3 }",
                "3 replicas",
            ),
            ("from = \"10.0.0.2:7001\"", "", "how is b reached"),
            ("command =", "from = \"/c\"\ncommand =", "how is c reached"),
            (
                "127.0.0.1:7002",
                "/etc/helixctl/sockets/from-b",
                "another node",
            ),
            ("group =", "key = \"k\"\ngroup =", "say both"),
        ] {
            assert!(FILE.contains(from), "{from}");
            let error = parse(&FILE.replacen(from, to, 1)).unwrap_err();
            assert!(error.contains(why), "{to}: {error}");
        }
        let alone = FILE.split("[[peer]]").next().unwrap();
        assert!(
            parse(&format!("peer = []{alone}"))
                .unwrap_err()
                .contains("no other node")
        );
    }

    #[test]
    fn a_file_with_a_password_is_for_its_owner_alone() {
        let path = std::env::temp_dir().join(format!("helixctl-node-{}", std::process::id()));
        std::fs::write(&path, FILE.replace("fences.db", "postgres://u:geheim@h/d")).unwrap();
        let mode = |mode| std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        mode(0o640);
        let failure = NodeFile::load(&path).unwrap_err();
        assert_eq!(failure.exit, Exit::Denied);
        assert!(!failure.message.contains("geheim"), "{failure}");
        mode(0o600);
        let file = NodeFile::load(&path).unwrap();
        assert!(!format!("{file:?}").contains("geheim"));
        // Nobody was asked yet.
        file.store().unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(NodeFile::load(&path).unwrap_err().exit, Exit::NotFound);
    }
}
