//! `helixctl tenant`.

use clap::{Args, Subcommand, ValueEnum};
use helix_zfs::gate::{Operation, Scope};
use helix_zfs::scope::{Staging, TenantSnapshot};
use helix_zfs::zfs_core::Zfs;
use helix_zfs::zfs_core::key::Encryption;
use helix_zfs::zfs_core::props::{PropertySet, Source, Sync, UserProps};
use helix_zfs::{Tenant as Handle, TenantSpec};
use serde::Serialize;
use serde_json::json;

use crate::answer::{Answer, Rows};
use crate::console::{Console, Intent};
use crate::failure::Failure;
use crate::keys::KeyArguments;
use crate::progress::Bar;
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
    /// Takes a snapshot of everything that a tenant has, staging included, in one transaction.
    Snapshot {
        /// The tenant's filesystem.
        tenant: String,
        /// The snapshot's name.
        name: String,
    },
    /// A tenant's snapshots, oldest first.
    Snapshots {
        /// The tenant's filesystem.
        tenant: String,
    },
    /// Rolls everything that a tenant has back to a snapshot. What was written since is lost.
    Rollback {
        /// The tenant's filesystem.
        tenant: String,
        /// The snapshot's name.
        name: String,
        #[command(flatten)]
        options: super::guard::Options,
    },
    /// Clones a tenant's snapshot into its own staging area.
    Clone {
        /// The tenant's filesystem.
        tenant: String,
        /// The snapshot's name.
        snapshot: String,
        /// The staging's name.
        staging: String,
    },
    /// A tenant's stagings.
    Stagings {
        /// The tenant's filesystem.
        tenant: String,
    },
    /// Promotes a staging's clones, so that they depend on nothing.
    Promote {
        /// The tenant's filesystem.
        tenant: String,
        /// The staging's name.
        staging: String,
    },
    /// Destroys a staging with all that was written to it.
    Discard {
        /// The tenant's filesystem.
        tenant: String,
        /// The staging's name.
        staging: String,
    },
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
    /// The bytes that it is sure to get.
    #[arg(long, value_name = "SIZE", value_parser = quantity::bytes)]
    reservation: Option<u64>,
    /// The most datasets that it may have below its filesystem.
    #[arg(long, value_name = "NUMBER")]
    filesystem_limit: Option<u64>,
    /// The most snapshots that it may have.
    #[arg(long, value_name = "NUMBER")]
    snapshot_limit: Option<u64>,
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
            Self::Snapshot { tenant, name } => snapshot(console, &handle(&zfs, &tenant)?, &name),
            Self::Snapshots { tenant } => snapshots(&handle(&zfs, &tenant)?),
            Self::Rollback {
                tenant,
                name,
                options,
            } => {
                let rollback = handle(&zfs, &tenant)?.rollback_plan(&name)?;
                super::guard::roll_back(
                    console,
                    &zfs,
                    rollback.plan(),
                    rollback.without(),
                    &options.options(),
                )
            }
            Self::Clone {
                tenant,
                snapshot,
                staging,
            } => clone(console, &handle(&zfs, &tenant)?, &snapshot, &staging),
            Self::Stagings { tenant } => stagings(&handle(&zfs, &tenant)?),
            Self::Promote { tenant, staging } => {
                promote(console, &handle(&zfs, &tenant)?.staging(&staging)?)
            }
            Self::Discard { tenant, staging } => {
                discard(console, &handle(&zfs, &tenant)?.staging(&staging)?)
            }
            Self::Unlock { tenant, key } => {
                let handle = handle(&zfs, &tenant)?;
                let key = key.read(&tenant, false)?;
                let intent = Intent::new().change(format!("load the key of {tenant}"));
                if let Some(answer) = console.before(&intent)? {
                    return Ok(answer);
                }
                console.job(&zfs, Operation::LoadKey, below(&handle), |capability| {
                    handle.unlock(capability, &key)
                })?;
                lock_told(&tenant, true)
            }
            Self::Lock { tenant } => {
                let handle = handle(&zfs, &tenant)?;
                let intent = Intent::new().change(format!("unload the key of {tenant}"));
                if let Some(answer) = console.before(&intent)? {
                    return Ok(answer);
                }
                console.job(&zfs, Operation::UnloadKey, below(&handle), |capability| {
                    handle.lock(capability)
                })?;
                lock_told(&tenant, false)
            }
        }
    }
}

fn below(tenant: &Handle) -> Scope {
    Scope::below(tenant.dataset().name())
}

/// The tenant whose filesystem this is. Other datasets are none, whatever is below them.
fn handle(zfs: &Zfs, name: &str) -> Result<Handle, Failure> {
    let dataset = zfs.dataset(name)?;
    match dataset.properties()?.source(Handle::PROPERTY) {
        Some(Source::Local | Source::Received) => Ok(Handle::from(dataset)),
        _ => Err(Failure::refused(format!("{name} is no tenant"))),
    }
}

#[derive(Debug, Serialize)]
struct SnapshotJson {
    tenant: String,
    name: String,
    txg: u64,
    datasets: Vec<String>,
}

impl SnapshotJson {
    fn of(snapshot: &TenantSnapshot) -> Self {
        let datasets = snapshot.datasets().iter();
        Self {
            tenant: snapshot.tenant().dataset().name().to_string(),
            name: snapshot.name().to_owned(),
            txg: snapshot.txg(),
            datasets: datasets.map(|dataset| dataset.name().to_string()).collect(),
        }
    }
}

fn snapshot(console: &Console, tenant: &Handle, name: &str) -> Result<Answer, Failure> {
    let mut intent = Intent::new();
    for dataset in tenant.datasets()? {
        intent = intent.change(format!("snapshot {}", dataset.name().snapshot(name)?));
    }
    if let Some(answer) = console.before(&intent)? {
        return Ok(answer);
    }
    let zfs = tenant.dataset().zfs();
    let taken = console.job(zfs, Operation::Snapshot, below(tenant), |capability| {
        tenant.snapshot(capability, name, &UserProps::new())
    })?;
    let told = SnapshotJson::of(&taken);
    let text = format!("{}@{name}: {} datasets\n", told.tenant, told.datasets.len());
    Answer::new(&told, text)
}

fn snapshots(tenant: &Handle) -> Result<Answer, Failure> {
    let told: Vec<_> = tenant.snapshots()?.iter().map(SnapshotJson::of).collect();
    let mut rows = Rows::new(&["SNAPSHOT", "DATASETS>", "TXG>"], "no snapshots");
    for snapshot in &told {
        rows.row([
            snapshot.name.clone(),
            snapshot.datasets.len().to_string(),
            snapshot.txg.to_string(),
        ]);
    }
    Answer::new(&told, rows.text())
}

fn clone(console: &Console, tenant: &Handle, from: &str, name: &str) -> Result<Answer, Failure> {
    let staging = tenant.staging(name)?;
    let snapshot = tenant.find_snapshot(from)?;
    let root = staging.root().name();
    let intent = Intent::new().change(format!(
        "clone {}@{from} below {root}",
        tenant.dataset().name()
    ));
    if let Some(answer) = console.before(&intent)? {
        return Ok(answer);
    }
    let bar = Bar::new(console);
    let zfs = tenant.dataset().zfs();
    let made = console.job(zfs, Operation::Clone, below(tenant), |capability| {
        let none = PropertySet::new();
        staging.create(capability, &snapshot, &none, &mut |step| bar.step(&step))
    })?;
    drop(bar);
    let datasets: Vec<String> = made.iter().map(|one| one.name().to_string()).collect();
    let text = format!("{root}: {} clones\n", datasets.len());
    Answer::new(
        &json!({ "staging": root.as_str(), "snapshot": from, "datasets": datasets }),
        text,
    )
}

fn stagings(tenant: &Handle) -> Result<Answer, Failure> {
    let mut told = Vec::new();
    let mut rows = Rows::new(
        &["STAGING", "OF", "DATASETS>", "USED>", "STATE"],
        "no stagings",
    );
    for staging in tenant.stagings()? {
        let status = staging.status()?;
        let state = if status.ready { "ready" } else { "unfinished" };
        rows.row([
            staging.name().to_owned(),
            status.snapshot.clone(),
            status.datasets.len().to_string(),
            show_bytes(status.used),
            state.to_owned(),
        ]);
        told.push(json!({
            "staging": staging.root().name().as_str(),
            "name": staging.name(),
            "snapshot": status.snapshot,
            "ready": status.ready,
            "used": status.used,
            "datasets": status.datasets.iter().map(ToString::to_string).collect::<Vec<_>>(),
        }));
    }
    Answer::new(&told, rows.text())
}

fn promote(console: &Console, staging: &Staging) -> Result<Answer, Failure> {
    let root = staging.root().name();
    staging.status()?;
    let intent = Intent::new().change(format!("promote the clones below {root}"));
    if let Some(answer) = console.before(&intent)? {
        return Ok(answer);
    }
    let tenant = staging.root().tenant();
    let zfs = tenant.dataset().zfs();
    let promoted = console.job(zfs, Operation::Promote, below(tenant), |capability| {
        staging.promote(capability)
    })?;
    let datasets: Vec<String> = promoted.iter().map(|one| one.name().to_string()).collect();
    let text = format!("{root}: {} clones promoted\n", datasets.len());
    Answer::new(
        &json!({ "staging": root.as_str(), "promoted": datasets }),
        text,
    )
}

fn discard(console: &Console, staging: &Staging) -> Result<Answer, Failure> {
    let root = staging.root().name();
    let status = staging.status()?;
    let intent = Intent::new().loses(format!(
        "destroy {root}, with {} datasets and {} of their own",
        status.datasets.len(),
        show_bytes(status.used)
    ));
    if let Some(answer) = console.before(&intent)? {
        return Ok(answer);
    }
    let scope = Scope::below(root);
    let zfs = staging.root().dataset().zfs();
    let gone = console.job(zfs, Operation::Destroy, scope, |capability| {
        staging.destroy(capability)
    })?;
    let datasets: Vec<String> = gone.iter().map(ToString::to_string).collect();
    let text = format!("{root}: destroyed\n");
    Answer::new(
        &json!({ "staging": root.as_str(), "destroyed": datasets }),
        text,
    )
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
        if let Some(bytes) = self.reservation {
            spec = spec.reservation(bytes);
        }
        if let Some(most) = self.filesystem_limit {
            spec = spec.filesystem_limit(most);
        }
        if let Some(most) = self.snapshot_limit {
            spec = spec.snapshot_limit(most);
        }
        if let Some(policy) = self.sync {
            spec = spec.sync(match policy {
                SyncPolicy::Standard => Sync::Standard,
                SyncPolicy::Always => Sync::Always,
                SyncPolicy::Disabled => Sync::Disabled,
            });
        }
        let scope = Scope::below(&name);
        let tenant = console.job(&zfs, Operation::CreateTenant, scope, |capability| {
            spec.create(capability, &parent)
        })?;
        let name = tenant.dataset().name();
        Answer::new(
            &json!({ "dataset": name.as_str() }),
            format!("{name}: created\n"),
        )
    }
}
