//! `helixctl tenant`.

use clap::{Args, Subcommand, ValueEnum};
use helix_zfs::zfs_core::key::Encryption;
use helix_zfs::zfs_core::props::Sync;
use helix_zfs::{Tenant as Handle, TenantSpec};
use serde::Serialize;
use serde_json::json;

use crate::answer::{Answer, Rows};
use crate::console::{Console, Intent};
use crate::failure::Failure;
use crate::keys::KeyArguments;
use crate::quantity::{self, show_bytes};

/// `helixctl tenant`.
#[derive(Debug, Subcommand)]
pub(crate) enum Tenant {
    /// The tenants below a dataset: key, space, and the limit that binds.
    List {
        /// The dataset that the tenants are below.
        parent: String,
    },
    /// Creates a tenant's filesystem, with a key of its own.
    Create(Create),
    /// Loads a tenant's key.
    Unlock {
        /// The tenant's filesystem.
        tenant: String,
        #[command(flatten)]
        key: KeyArguments,
    },
    /// Unloads a tenant's key, so that nobody reaches its data.
    Lock {
        /// The tenant's filesystem.
        tenant: String,
    },
}

/// When synchronous writes count as done.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum SyncPolicy {
    /// When the program asks for it.
    Standard,
    /// All of them, when they are on disk.
    Always,
    /// At once. A crash loses the last seconds.
    Disabled,
}

/// `helixctl tenant create`.
#[derive(Debug, Args)]
pub(crate) struct Create {
    /// The dataset that the tenants are below.
    parent: String,
    /// The tenant's name.
    name: String,
    #[command(flatten)]
    key: KeyArguments,
    /// The most bytes that it may use, with its snapshots and clones.
    #[arg(long, value_name = "SIZE", value_parser = quantity::bytes)]
    quota: Option<u64>,
    /// When its synchronous writes count as done.
    #[arg(long, value_enum)]
    sync: Option<SyncPolicy>,
}

#[derive(Debug, Serialize)]
struct TenantJson {
    dataset: String,
    name: String,
    unlocked: bool,
    used: u64,
    available: u64,
    percent: u8,
    limit: String,
}

impl Tenant {
    pub(crate) fn run(self, console: &Console) -> Result<Answer, Failure> {
        let zfs = console.zfs()?;
        match self {
            Self::List { parent } => list(console, &parent),
            Self::Create(create) => create.run(console),
            Self::Unlock { tenant, key } => {
                let dataset = zfs.dataset(&tenant)?;
                dataset.stat()?;
                let key = key.read(&tenant, false)?;
                let intent = Intent::new().change(format!("load the key of {tenant}"));
                if let Some(answer) = console.before(&intent)? {
                    return Ok(answer);
                }
                Handle::from(dataset).unlock(&key)?;
                lock_told(&tenant, true)
            }
            Self::Lock { tenant } => {
                let dataset = zfs.dataset(&tenant)?;
                dataset.stat()?;
                let intent = Intent::new().change(format!("unload the key of {tenant}"));
                if let Some(answer) = console.before(&intent)? {
                    return Ok(answer);
                }
                Handle::from(dataset).lock()?;
                lock_told(&tenant, false)
            }
        }
    }
}

fn lock_told(tenant: &str, unlocked: bool) -> Result<Answer, Failure> {
    let word = if unlocked { "unlocked" } else { "locked" };
    Answer::new(
        &json!({ "dataset": tenant, "unlocked": unlocked }),
        format!("{tenant}: {word}\n"),
    )
}

fn list(console: &Console, parent: &str) -> Result<Answer, Failure> {
    let mut found = Vec::new();
    for tenant in Handle::list(&console.zfs()?.dataset(parent)?)? {
        let headroom = tenant.headroom()?;
        let name = tenant.dataset().name();
        found.push(TenantJson {
            dataset: name.to_string(),
            name: name.base().to_owned(),
            unlocked: tenant.is_unlocked()?,
            used: headroom.used(),
            available: headroom.available(),
            percent: headroom.percent(),
            limit: headroom.limit().to_string(),
        });
    }
    let mut rows = Rows::new(
        &["TENANT", "KEY", "USED>", "AVAILABLE>", "FULL>", "LIMIT"],
        "no tenants",
    );
    for tenant in &found {
        rows.row([
            tenant.dataset.clone(),
            String::from(if tenant.unlocked {
                "unlocked"
            } else {
                "locked"
            }),
            show_bytes(tenant.used),
            show_bytes(tenant.available),
            format!("{}%", tenant.percent),
            tenant.limit.clone(),
        ]);
    }
    Answer::new(&found, rows.text())
}

impl Create {
    fn run(self, console: &Console) -> Result<Answer, Failure> {
        let zfs = console.zfs()?;
        let parent = zfs.dataset(&self.parent)?;
        let name = parent.child(&self.name)?.name().clone();
        if parent.child(&self.name)?.exists()? {
            return Err(Failure::refused(format!("{name} exists already")));
        }
        parent.stat()?;
        if let Some(answer) = console.before(&Intent::new().change(format!("create {name}")))? {
            return Ok(answer);
        }
        let key = self.key.read(name.as_str(), true)?;
        let mut spec = TenantSpec::new(&self.name, Encryption::aes_256_gcm(&key)?);
        if let Some(bytes) = self.quota {
            spec = spec.quota(bytes);
        }
        if let Some(policy) = self.sync {
            spec = spec.sync(match policy {
                SyncPolicy::Standard => Sync::Standard,
                SyncPolicy::Always => Sync::Always,
                SyncPolicy::Disabled => Sync::Disabled,
            });
        }
        let tenant = spec.create(&parent)?;
        let name = tenant.dataset().name();
        Answer::new(
            &json!({ "dataset": name.as_str() }),
            format!("{name}: created\n"),
        )
    }
}
